"""The released WordLlama models: their names, and where each one's files come from.

Two families were released by the WordLlama project (https://github.com/dleemiller/WordLlama), each in five Matryoshka
dims, dense and trained for sign embeddings. The 256-dim l2_supercat travels inside the ``wordllama`` wheel, and its
first 128 and 64 columns are the smaller models of that family; every other one is a file in its family's Hub
repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from wordllama_st.errors import MissingExtraError, ModelUnavailableError, UnknownModelError, reason

PREFIX = "wordllama-"
DIMS = (64, 128, 256, 512, 1024)
DEFAULT_DIM = 256
DEFAULT_MODEL = f"{PREFIX}l2-supercat-{DEFAULT_DIM}"

_REPOSITORIES = {"l2": "dleemiller/word-llama-l2-supercat", "l3": "dleemiller/wordllama-l3-supercat"}


@dataclass(frozen=True)
class ReleasedModel:
    """One released model.

    Attributes:
        family: ``"l2"`` (tokens of Llama 2) or ``"l3"`` (of Llama 3).
        dim: Length of its vectors.
        binary: Whether it was trained for sign embeddings, to be encoded with ``precision="ubinary"``.
    """

    family: str
    dim: int
    binary: bool = False

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.family}-supercat-{self.dim}{'-binary' if self.binary else ''}"

    @property
    def repo_id(self) -> str:
        return _REPOSITORIES[self.family]

    @property
    def weights_file(self) -> str:
        return f"{self.family}_supercat_{self.dim}{'_binary' if self.binary else ''}.safetensors"

    @property
    def tokenizer_file(self) -> str:
        return f"{self.family}_supercat_tokenizer_config.json"

    @property
    def embedded(self) -> bool:
        """Whether the installed ``wordllama`` wheel has it, so that no network is needed."""
        return self.family == "l2" and self.dim <= DEFAULT_DIM and not self.binary


RELEASED: dict[str, ReleasedModel] = {
    model.name: model
    for model in (
        ReleasedModel(family, dim, binary) for family in _REPOSITORIES for binary in (False, True) for dim in DIMS
    )
}
#: A family's name alone is its 256-dim model.
_ALIASES = {f"{PREFIX}{family}-supercat": f"{PREFIX}{family}-supercat-{DEFAULT_DIM}" for family in _REPOSITORIES}


@dataclass(frozen=True)
class ModelFiles:
    """A released model's files on this machine.

    Attributes:
        model: The model.
        weights: A safetensors file whose ``embedding.weight`` is [V, D], D at least the model's dim: the vectors are
            its first ``model.dim`` columns.
        tokenizer: A tokenizer.json.
        revision: The commit the table comes from, or the version of the wheel, as ``wordllama==0.4.0``.
    """

    model: ReleasedModel
    weights: Path
    tokenizer: Path
    revision: str


def is_released(name: str) -> bool:
    """Whether a name is that of a released model."""
    return name in RELEASED or name in _ALIASES


def released_model(name: str) -> ReleasedModel:
    """Look a name up.

    Raises:
        UnknownModelError: If no such model was released; it lists those that were.
    """
    if not is_released(name):
        raise UnknownModelError(
            f"There is no released model {name!r}, and no directory of that name. The names are "
            f"{PREFIX}l2-supercat-DIM and {PREFIX}l3-supercat-DIM with DIM one of {', '.join(map(str, DIMS))}, each "
            f"also with -binary behind it."
        )
    return RELEASED[_ALIASES.get(name, name)]


def fetch(
    name: str,
    *,
    revision: str | None = None,
    cache_folder: str | None = None,
    token: bool | str | None = None,
    local_files_only: bool = False,
) -> ModelFiles:
    """Find a released model's files: in the installed wheel, in the Hub cache, or on the Hub.

    Args:
        name: A released model's name.
        revision: A branch, tag or commit of its Hub repository. With one, the table comes from there even if the wheel
            has it: a pin is a pin. (The tokenizer of the l2 family is Llama 2's, and always the wheel's.)
        cache_folder: Where huggingface_hub keeps downloads; its own default if None.
        token: For the Hub, as everywhere in huggingface_hub.
        local_files_only: Look at what is on this machine only.

    Raises:
        UnknownModelError: If no such model was released.
        ModelUnavailableError: If its files are not here and cannot be had.
    """
    model = released_model(name)
    if model.embedded and revision is None:
        return ModelFiles(
            model,
            _wheel_file("weights", ReleasedModel(model.family, DEFAULT_DIM).weights_file),
            _wheel_file("tokenizers", model.tokenizer_file),
            f"wordllama=={version('wordllama')}",
        )

    # Importing the Hub client takes a tenth of a second, which the embedded models need not wait for.
    from wordllama_st.storage.hub import download_file, httpx

    def download(filename: str) -> Path:
        try:
            return download_file(
                model.repo_id,
                filename,
                revision=revision,
                cache_dir=cache_folder,
                token=token,
                local_files_only=local_files_only,
            )
        except (OSError, httpx.HTTPError) as error:
            cause = error.__cause__ or error  # what the Hub or the network said, behind "not in the cache"
            raise ModelUnavailableError(
                f"{model.name} needs {filename} of {model.repo_id}{f' at {revision}' if revision else ''}, which is "
                f"not in the local cache and could not be fetched: {reason(cause)} "
                f"Without a network there are {', '.join(name for name, m in RELEASED.items() if m.embedded)}."
            ) from error

    weights = download(model.weights_file)
    in_wheel = model.family == "l2"
    tokenizer = _wheel_file("tokenizers", model.tokenizer_file) if in_wheel else download(model.tokenizer_file)
    # huggingface_hub keeps a snapshot in a directory named by its commit.
    return ModelFiles(model, weights, tokenizer, weights.parent.name)


def _wheel_file(folder: str, filename: str) -> Path:
    spec = find_spec("wordllama")  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("The embedded model is in the wordllama package: pip install wordllama")
    path = Path(spec.submodule_search_locations[0]) / folder / filename
    if not path.is_file():
        raise ModelUnavailableError(f"The installed wordllama package has no {folder}/{filename}; reinstall it.")
    return path

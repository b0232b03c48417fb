"""The models that the WordLlama project (https://github.com/dleemiller/WordLlama) released: names and files.

    wordllama-l2-supercat-DIM    tokens of Llama 2, files in dleemiller/word-llama-l2-supercat
    wordllama-l3-supercat-DIM    tokens of Llama 3, files in dleemiller/wordllama-l3-supercat

DIM is 64, 128, 256, 512 or 1024; a name without it means 256. Names with ``-binary`` behind DIM are models trained for
sign embeddings. The ``wordllama`` wheel has the 256-dim l2 model, whose first 128 and 64 columns are the smaller ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from wordllama_st.errors import MissingExtraError, ModelUnavailableError, UnknownModelError, reason

PREFIX = "wordllama-"
DEFAULT_MODEL = f"{PREFIX}l2-supercat-256"

_DIMS = (64, 128, 256, 512, 1024)
_REPOSITORIES = {"l2": "dleemiller/word-llama-l2-supercat", "l3": "dleemiller/wordllama-l3-supercat"}


@dataclass(frozen=True)
class ReleasedModel:
    """A released model of a family, ``"l2"`` or ``"l3"``, for ``encode(precision="ubinary")`` if it is ``binary``."""

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
        return self.family == "l2" and self.dim <= 256 and not self.binary


RELEASED: dict[str, ReleasedModel] = {
    model.name: model
    for model in (
        ReleasedModel(family, dim, binary) for family in _REPOSITORIES for binary in (False, True) for dim in _DIMS
    )
}
_ALIASES = {f"{PREFIX}{family}-supercat": f"{PREFIX}{family}-supercat-256" for family in _REPOSITORIES}


@dataclass(frozen=True)
class ModelFiles:
    """A released model's files on this machine.

    Attributes:
        model: The model.
        weights: A safetensors file with ``embedding.weight``, [V, D]. The model's table is its first ``model.dim``
            columns.
        tokenizer: A tokenizer.json.
        commit: The commit the table comes from; None if it comes from the wheel.
    """

    model: ReleasedModel
    weights: Path
    tokenizer: Path
    commit: str | None = None

    @property
    def revision(self) -> str:
        """The commit the table comes from, or the version of the wheel, as ``wordllama==0.4.0``."""
        # Finding it takes a tenth of the time from a new process to the first embedding, which does not need it.
        from importlib.metadata import version

        return self.commit or f"wordllama=={version('wordllama')}"


def is_released(name: str) -> bool:
    """Tell whether a name is that of a released model."""
    return name in RELEASED or name in _ALIASES


def released_model(name: str) -> ReleasedModel:
    """Look up a released model; UnknownModelError if there is none of that name."""
    if not is_released(name):
        raise UnknownModelError(
            f"There is no released model {name!r}, and no directory of that name. The names are "
            f"{PREFIX}l2-supercat-DIM and {PREFIX}l3-supercat-DIM with DIM one of {', '.join(map(str, _DIMS))}, each "
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
    """Find a released model's files: in the installed wheel, in the Hub cache or on the Hub.

    Args:
        name: A released model's name.
        revision: Branch, tag or commit of the Hub repository. If given, the table comes from there even if the wheel
            has it. (The tokenizer of the l2 family is always the wheel's.)
        cache_folder: As ``cache_dir`` of huggingface_hub.
        token: As in huggingface_hub.
        local_files_only: Whether to fetch nothing.

    Raises:
        UnknownModelError: If no such model was released.
        ModelUnavailableError: If its files are neither on this machine nor can be fetched.
    """
    model = released_model(name)
    if model.embedded and revision is None:
        weights = _wheel_file("weights", RELEASED[DEFAULT_MODEL].weights_file)
        tokenizer = _wheel_file("tokenizers", model.tokenizer_file)
        return ModelFiles(model, weights, tokenizer)

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
    return ModelFiles(model, weights, tokenizer, weights.parent.name)  # a snapshot's directory is named by its commit


def _wheel_file(folder: str, filename: str) -> Path:
    spec = find_spec("wordllama")  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("The embedded model is in the wordllama package: pip install wordllama")
    path = Path(spec.submodule_search_locations[0]) / folder / filename
    if not path.is_file():
        raise ModelUnavailableError(f"The installed wordllama package has no {folder}/{filename}; reinstall it.")
    return path

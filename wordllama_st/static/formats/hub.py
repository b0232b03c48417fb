"""Static models on the Hugging Face Hub: only the files that a model consists of are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from wordllama_st.errors import ModelLoadError, ModelUnavailableError
from wordllama_st.static.formats import model2vec, sentence_transformers
from wordllama_st.static.formats.dense import SETTINGS_FILE
from wordllama_st.static.formats.files import WEIGHT_FILE, read_json
from wordllama_st.storage.hub import download_file, httpx, translate_hub_error
from wordllama_st.storage.tokenizer import TOKENIZER_FILE


def snapshot(repo_id: str, *, revision: str | None = None, token: bool | str | None = None) -> Path:
    """Fetch a static model into huggingface_hub's cache, and return its directory there.

    Of a repository that holds something else no weights are fetched; the directory then tells what it is.

    Args:
        repo_id: ``"org/model"``.
        revision: Branch, tag or commit; the default branch if None.
        token: As in huggingface_hub.

    Raises:
        ModelUnavailableError: If there is no such repository or revision, or the files are neither in the cache nor
            can be fetched.
        ModelLoadError: If files of a static model are missing, or modules.json or config.json is damaged.
    """
    repository = _Repository(repo_id, revision, token)
    if modules := repository.find(sentence_transformers.MODULES_FILE):
        if router := sentence_transformers.router_file(modules):
            repository.get(router)
        folder = sentence_transformers.embedding_folder(modules)
        if folder is not None:
            repository.find(sentence_transformers.SETTINGS_FILE)
            if repository.find(sentence_transformers.SPACE_FILE):
                repository.find(sentence_transformers.AXES_FILE)
            repository.get((folder / WEIGHT_FILE).as_posix())
            repository.get((folder / TOKENIZER_FILE).as_posix())
            if dense := sentence_transformers.projection_folder(modules):
                repository.get((dense / SETTINGS_FILE).as_posix())
                repository.get((dense / WEIGHT_FILE).as_posix())
        return modules.parent
    path = repository.get(model2vec.CONFIG_FILE)
    config = read_json(path)
    if isinstance(config, dict) and config.get("model_type", "model2vec") == "model2vec":
        repository.get(WEIGHT_FILE)
        repository.get(TOKENIZER_FILE)
    return path.parent


@dataclass
class _Repository:
    """Files of a repository, all of the commit that the first is of."""

    repo_id: str
    revision: str | None
    token: bool | str | None
    commit: str | None = None

    def get(self, filename: str) -> Path:
        """Return a file that the model cannot be without."""
        try:
            path = download_file(self.repo_id, filename, revision=self.commit or self.revision, token=self.token)
        except (EntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, httpx.HTTPError) as error:
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                raise ModelLoadError(
                    f"{self.repo_id} on the Hub has no {filename}, and so holds no static model. (Pickles are not "
                    f"read.)"
                ) from error
            cause = (isinstance(error, LocalEntryNotFoundError) and error.__cause__) or error
            raise translate_hub_error(
                cause,
                filename,
                self.repo_id,
                revision=self.revision,
                found=self.commit is not None,
                missing=ModelUnavailableError,
            ) from error
        self.commit = path.parents[filename.count("/")].name  # a snapshot is a directory named by its commit
        return path

    def find(self, filename: str) -> Path | None:
        """Return a file, or None if the repository has none; offline, also if only the cache has none."""
        # A commit does not change: what it is known to lack need not be asked for again.
        if self.commit is not None and self._known_missing(filename):
            return None
        try:
            return self.get(filename)
        except (ModelLoadError, ModelUnavailableError) as error:
            cause = error.__cause__
            missing = isinstance(cause, EntryNotFoundError)
            if isinstance(cause, LocalEntryNotFoundError):
                # A cache that was filled by another library may lack what that library does not ask for.
                missing = isinstance(cause.__cause__, OfflineModeIsEnabled) or self._known_missing(filename)
            if missing:
                return None
            raise

    def _known_missing(self, filename: str) -> bool:
        """Tell whether the Hub has said before that there is no such file."""
        cached = try_to_load_from_cache(self.repo_id, filename, revision=self.commit or self.revision)
        return cached is not None and not isinstance(cached, str)

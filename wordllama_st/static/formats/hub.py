"""A static model on the Hugging Face Hub: of its repository, the files that it consists of and no others."""

from __future__ import annotations

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
from wordllama_st.static.formats.sentence_transformers import WEIGHT_FILE
from wordllama_st.storage.hub import download_file, httpx, translate_hub_error
from wordllama_st.storage.tokenizer import TOKENIZER_FILE


def snapshot(repo_id: str, *, revision: str | None = None, token: bool | str | None = None) -> Path:
    """The directory of a static model in huggingface_hub's cache, where it is put if it is not there yet.

    Of a repository that holds something else no weights are fetched; the directory then tells what it is.

    Args:
        repo_id: ``"org/model"``.
        revision: Branch, tag or commit; the default branch if None.
        token: As everywhere in huggingface_hub.

    Raises:
        ModelUnavailableError: If there is no such repository or revision, or the files are not here and cannot be had.
        ModelLoadError: If it lacks files that a static model has, or its modules.json or config.json is none.
    """
    repository = _Repository(repo_id, revision, token)
    modules = repository.optional(sentence_transformers.MODULES_FILE)
    if modules is None:
        config = repository.required(model2vec.CONFIG_FILE)
        if model2vec.is_config(config):
            repository.required(WEIGHT_FILE)
            repository.required(TOKENIZER_FILE)
        return config.parent
    folder = sentence_transformers.embedding_folder(modules)
    if folder is not None:
        repository.optional(sentence_transformers.SETTINGS_FILE)
        repository.required((folder / WEIGHT_FILE).as_posix())
        repository.required((folder / TOKENIZER_FILE).as_posix())
    return modules.parent


class _Repository:
    """Files of a repository, all of the commit that the first is of."""

    def __init__(self, repo_id: str, revision: str | None, token: bool | str | None) -> None:
        self.repo_id = repo_id
        self.revision = revision
        self.token = token
        self.commit: str | None = None

    def optional(self, filename: str) -> Path | None:
        """A file, or None if the repository has none; offline, also if only the cache has none."""
        # A commit does not change: what it is known to lack need not be asked for again.
        if self.commit is not None and self._known_missing(filename):
            return None
        try:
            return self._path(filename)
        except LocalEntryNotFoundError as error:
            # A cache that was filled by another library may lack what that library does not ask for.
            if isinstance(error.__cause__, OfflineModeIsEnabled) or self._known_missing(filename):
                return None
            raise self._unavailable(filename, error.__cause__ or error) from error
        except EntryNotFoundError:
            return None

    def required(self, filename: str) -> Path:
        """A file that the model cannot be without."""
        try:
            return self._path(filename)
        except LocalEntryNotFoundError as error:
            raise self._unavailable(filename, error.__cause__ or error) from error
        except EntryNotFoundError as error:
            raise ModelLoadError(
                f"{self.repo_id} on the Hub has no {filename}, and so holds no static model. (Pickles are not read.)"
            ) from error

    def _known_missing(self, filename: str) -> bool:
        """Whether the Hub has said before that there is no such file."""
        cached = try_to_load_from_cache(self.repo_id, filename, revision=self.commit or self.revision)
        return cached is not None and not isinstance(cached, str)

    def _path(self, filename: str) -> Path:
        try:
            path = download_file(self.repo_id, filename, revision=self.commit or self.revision, token=self.token)
        except EntryNotFoundError:
            raise
        except (HfHubHTTPError, HFValidationError, OSError, httpx.HTTPError) as error:
            raise self._unavailable(filename, error) from error
        self.commit = path.parents[filename.count("/")].name  # a snapshot is a directory named by its commit
        return path

    def _unavailable(self, filename: str, error: BaseException) -> Exception:
        return translate_hub_error(
            error,
            filename,
            self.repo_id,
            revision=self.revision,
            found=self.commit is not None,
            missing=ModelUnavailableError,
        )

"""A checkpoint on the Hugging Face Hub, of which only the token table is fetched.

config.json, the tokenizer and the index come through huggingface_hub, into its cache. Of the file with the table two
byte ranges are read: the header, and the table itself. They are kept in huggingface_hub's cache of assets
(``HF_ASSETS_CACHE``), under the commit, so that a second extraction needs no network.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from huggingface_hub import cached_assets_path, errors, try_to_load_from_cache
from huggingface_hub.utils import WeakFileLock, tqdm  # type: ignore[attr-defined]

from wordllama_st.codebook.checkpoint import CONFIG_FILE, SINGLE_FILE, Checkpoint
from wordllama_st.codebook.token_table import ArrayRows
from wordllama_st.disk import naming_full_disk
from wordllama_st.errors import CodebookError, CodebookNotFoundError, ModelUnavailableError
from wordllama_st.storage import safetensors_file as safetensors
from wordllama_st.storage.hub import LIBRARY, download_file, fetch_range, httpx, translate_hub_error
from wordllama_st.storage.staging import move_durably, remove_leftovers, staged_file

_PICKLE_FILES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
#: Bytes asked for first; the headers of most files are within them.
FIRST_BYTES = 64 * 1024


class HubCheckpoint(Checkpoint):
    """A checkpoint in a model repository of the Hub, at one commit: the one its revision stands for now."""

    def __init__(self, repo_id: str, revision: str | None = None, token: bool | str | None = None) -> None:
        self.name = repo_id
        self._revision, self._token = revision, token
        self.path(CONFIG_FILE)  # every checkpoint has one, and it says which commit the revision is

    def path(self, filename: str) -> Path | None:
        known: Any = None
        try:
            known = self._cached(filename)
            if self.commit is None or known is None:  # what is known of a commit does not change
                revision = self.commit or self._revision
                known = str(download_file(self.name, filename, revision=revision, token=self._token))
        except errors.EntryNotFoundError as error:
            if isinstance(error, errors.LocalEntryNotFoundError) and (known is None or isinstance(known, str)):
                raise self._unavailable(filename, error.__cause__ or error) from error
            headers = getattr(getattr(error, "response", None), "headers", {})
            self.commit = self.commit or headers.get("X-Repo-Commit")
            return None
        except (errors.HFValidationError, OSError, httpx.HTTPError) as error:
            raise self._unavailable(filename, error) from error
        if not isinstance(known, str):
            return None
        self.commit = Path(known).parent.name  # a snapshot is a directory named by its commit
        return Path(known)

    def single_file(self) -> str | None:
        for name in (SINGLE_FILE, *_PICKLE_FILES):
            try:
                if name == SINGLE_FILE:
                    self.header(name)
                    return name
                self._fetch(name, 0, 1, io.BytesIO())
                raise self.pickles_only(name)
            except ModelUnavailableError as error:
                if not isinstance(error.__cause__, errors.EntryNotFoundError):
                    raise
        return None

    def header(self, filename: str) -> Mapping[str, safetensors.TensorEntry]:
        where = f"{self.name}/{filename}"
        if isinstance(whole := self._cached(filename), str):
            return safetensors.read_header(Path(whole))
        kept = self._asset(f"{filename}.header.json")
        remove_leftovers(kept.parent)
        if kept.is_file():
            with suppress(ValueError, KeyError, TypeError):  # else it is fetched again
                content = json.loads(kept.read_text(encoding="utf-8"))
                return safetensors.parse_header(content["header"].encode(), content["file_size"], where)
        start = io.BytesIO()
        size = self._fetch(filename, 0, FIRST_BYTES, start)
        end = safetensors.header_end(start.getvalue(), size, where)
        self._fetch(filename, start.tell(), end, start)
        header = start.getvalue()[safetensors.PREFIX_BYTES : end]
        tensors = safetensors.parse_header(header, size, where)
        with staged_file(kept) as path:
            path.write_text(json.dumps({"file_size": size, "header": header.decode()}), encoding="utf-8")
        return tensors

    def table(self, filename: str, key: str, entry: safetensors.TensorEntry) -> ArrayRows:
        if isinstance(whole := self._cached(filename), str):
            return ArrayRows.from_file(Path(whole), key)
        kept = self._asset(f"{filename}.{quote(key, safe='')}.safetensors")
        with naming_full_disk(kept), WeakFileLock(kept.with_name(f"{kept.name}.lock")):
            if not kept.is_file():
                partial = kept.with_name(f"{kept.name}.incomplete")
                self._download(filename, entry, partial)
                move_durably(partial, kept)
        return ArrayRows.from_file(kept, safetensors.TENSOR_NAME)

    def _download(self, filename: str, entry: safetensors.TensorEntry, path: Path) -> None:
        """Fetch a table's bytes into a safetensors file of its own, going on where an earlier try broke off."""
        header = safetensors.tensor_header(safetensors.DTYPES[entry.dtype], entry.shape)
        total = entry.end - entry.start
        with path.open("ab") as file:
            if file.tell() < len(header):
                file.truncate(0)
                file.write(header)
            done = min(file.tell() - len(header), total)
            file.truncate(len(header) + done)
            with tqdm.wrapattr(file, "write", total=total, initial=done, desc=filename) as counted:
                self._fetch(filename, entry.start + done, entry.end, counted)
        ArrayRows.from_file(path, safetensors.TENSOR_NAME)  # checks it

    def _fetch(self, filename: str, start: int, stop: int, file: IO[bytes]) -> int:
        try:
            return fetch_range(self.name, filename, start, stop, file, commit=self.commit, token=self._token)
        except (ConnectionError, httpx.HTTPError) as error:
            raise self._unavailable(filename, error) from error

    def _cached(self, filename: str) -> Any:
        """The path of a file that was downloaded whole, as str; another object if it is known not to exist."""
        return try_to_load_from_cache(self.name, filename, revision=self.commit or self._revision)

    def _asset(self, name: str) -> Path:
        if self.commit is None:
            raise CodebookError(f"The Hub does not tell the commit of {self.name} at {self._revision or 'default'}.")
        return cached_assets_path(LIBRARY, namespace=self.name, subfolder=self.commit) / name

    def _unavailable(self, filename: str, error: BaseException) -> CodebookNotFoundError | ModelUnavailableError:
        return translate_hub_error(
            error, filename, self.name, revision=self._revision, found=self.commit is not None,
            missing=CodebookNotFoundError,
        )  # fmt: skip

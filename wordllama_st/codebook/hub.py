"""A checkpoint on the Hugging Face Hub, of which only the token table is fetched.

config.json, the tokenizer and the index come through huggingface_hub, into its cache. Of the file with the table, which
may be one of a hundred and have gigabytes, two byte ranges are read: the header, and the table itself. They are kept in
huggingface_hub's cache of assets (``HF_ASSETS_CACHE``), under the commit, so that a second extraction needs no network.
"""

from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from huggingface_hub import cached_assets_path, hf_hub_url, hf_raise_for_status, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # exported, but in no list that mypy reads
    WeakFileLock,
    build_hf_headers,
    http_stream_backoff,
    tqdm,
)

from wordllama_st.codebook.checkpoint import CONFIG_FILE, PICKLE_FILES, SINGLE_FILE, pickles_only
from wordllama_st.errors import CodebookError, CodebookNotFoundError, ModelUnavailableError
from wordllama_st.storage.hub import LIBRARY, NO_CONNECTION, download_file, httpx, translate_hub_error
from wordllama_st.storage.safetensors_file import TENSOR_NAME, StoredTensor, stored_tensor, table_layout, tensor_header
from wordllama_st.storage.safetensors_header import PREFIX_BYTES, TensorEntry, header_length, parse_header, read_header
from wordllama_st.storage.staging import staged_file

logger = logging.getLogger(__name__)

#: Bytes asked for first; the headers of most files are within them.
FIRST_BYTES = 64 * 1024
#: Answers in a row that may bring no byte before a download is given up; it can be resumed later.
RETRIES = 5
#: Seconds to wait before the first of them; doubled for each next.
RETRY_WAIT = 1.0


class HubFiles:
    """A checkpoint in a model repository of the Hub, at one commit.

    Args:
        repo_id: ``"org/model"``.
        revision: Branch, tag or commit; the default branch if None.
        token: As everywhere in huggingface_hub.

    Attributes:
        name: The repository.
        commit: The commit that the revision stood for when the first file was found; all others are of the same.
    """

    def __init__(self, repo_id: str, revision: str | None = None, token: bool | str | None = None) -> None:
        self.name = repo_id
        self.commit: str | None = None
        self._revision, self._token = revision, token
        self.path(CONFIG_FILE)  # every checkpoint has one, and it says which commit the revision is

    def path(self, filename: str) -> Path | None:
        known = try_to_load_from_cache(self.name, filename, revision=self.commit or self._revision)
        is_missing = known is not None and not isinstance(known, str)
        if self.commit is not None and known is not None:  # a commit does not change
            return None if is_missing else Path(known)
        try:
            path = download_file(self.name, filename, revision=self.commit or self._revision, token=self._token)
        except LocalEntryNotFoundError as error:
            if is_missing:
                return None
            raise self._unavailable(filename, error.__cause__ or error) from error
        except EntryNotFoundError as error:
            response = getattr(error, "response", None)
            self.commit = self.commit or (None if response is None else response.headers.get("X-Repo-Commit"))
            return None
        except (OSError, httpx.HTTPError) as error:
            raise self._unavailable(filename, error) from error
        self.commit = path.parent.name  # a snapshot is a directory named by its commit
        return path

    def single_file(self) -> str | None:
        if self._has(SINGLE_FILE):
            return SINGLE_FILE
        pickle = next((name for name in PICKLE_FILES if self._has(name)), None)
        if pickle is not None:
            raise pickles_only(self.name, pickle)
        return None

    def header(self, filename: str) -> Mapping[str, TensorEntry]:
        where = f"{self.name}/{filename}"
        if (whole := self._cached(filename)) is not None:
            return read_header(whole)
        kept = self._asset(f"{filename}.header.json")
        if kept.is_file():
            with suppress(ValueError, KeyError, TypeError):  # else it is fetched again
                content = json.loads(kept.read_text(encoding="utf-8"))
                return parse_header(content["header"].encode(), content["file_size"], where)
        start = io.BytesIO()
        size = self._fetch(filename, 0, FIRST_BYTES, start)
        end = PREFIX_BYTES + header_length(start.getvalue()[:PREFIX_BYTES], size, where)
        self._fetch(filename, start.tell(), end, start)
        header = start.getvalue()[PREFIX_BYTES:end]
        tensors = parse_header(header, size, where)
        with staged_file(kept) as path:
            path.write_text(json.dumps({"file_size": size, "header": header.decode()}), encoding="utf-8")
        return tensors

    def tensor(self, filename: str, key: str) -> StoredTensor:
        if (whole := self._cached(filename)) is not None:
            return stored_tensor(whole, key)
        tensors = self.header(filename)
        dtype, shape = table_layout(tensors, key, f"{self.name}/{filename}")
        kept = self._asset(f"{filename}.{quote(key, safe='')}.safetensors")
        with WeakFileLock(kept.with_name(f"{kept.name}.lock")):
            if not kept.is_file():
                partial = kept.with_name(f"{kept.name}.incomplete")
                self._download(filename, tensors[key], tensor_header(TENSOR_NAME, dtype, shape), partial)
                partial.replace(kept)
        return replace(stored_tensor(kept, TENSOR_NAME), name=key)

    def _download(self, filename: str, entry: TensorEntry, header: bytes, path: Path) -> None:
        """Fetch a tensor's bytes into a safetensors file of its own, going on where an earlier try broke off."""
        total = entry.end - entry.start
        with path.open("ab") as file:
            if file.tell() < len(header):
                file.truncate(0)
                file.write(header)
            done = min(file.tell() - len(header), total)
            file.truncate(len(header) + done)
            with tqdm.wrapattr(file, "write", total=total, initial=done, desc=filename) as counted:
                self._fetch(filename, entry.start + done, entry.end, counted)
        stored_tensor(path, TENSOR_NAME)

    def _fetch(self, filename: str, position: int, stop: int, file: IO[bytes]) -> int:
        """Append the bytes of a file from ``position`` to ``stop``, or to its end, going on where a connection breaks.

        Returns:
            The file's size, or ``stop`` if there was nothing to fetch.

        Raises:
            CodebookNotFoundError: If the server knows no such repository or revision.
            ModelUnavailableError: If it refuses or cannot be reached, or several answers in a row bring no byte.
        """
        url = hf_hub_url(self.name, filename, revision=self.commit)
        headers = build_hf_headers(token=self._token, library_name=LIBRARY) | {"Accept-Encoding": "identity"}
        size, first, failures = stop, position, 0
        while position < stop:
            fault: Exception = ConnectionError("The answer ends before the bytes that were asked for.")
            try:
                with http_stream_backoff(
                    "GET", url, headers=headers | {"Range": f"bytes={position}-{stop - 1}"}, timeout=30,
                    max_retries=RETRIES, base_wait_time=RETRY_WAIT, retry_on_exceptions=(),
                ) as response:  # fmt: skip
                    hf_raise_for_status(response)
                    skip, size = self._answered_range(response, filename, position)
                    stop = min(stop, size)
                    for chunk in response.iter_bytes():
                        part = chunk[skip : skip + stop - position]
                        skip = max(0, skip - len(chunk))
                        if part:
                            position, failures = position + file.write(part), 0
                        if position >= stop:
                            return size
            except (HfHubHTTPError, OfflineModeIsEnabled) as error:
                raise self._unavailable(filename, error) from error
            except httpx.HTTPError as error:
                fault = error
            if failures == RETRIES or (position == first and isinstance(fault, NO_CONNECTION)):
                raise self._unavailable(filename, fault) from fault
            time.sleep(RETRY_WAIT * 2**failures)
            failures += 1
        return size

    def _answered_range(self, response: Any, filename: str, start: int) -> tuple[int, int]:
        """How many bytes of the answer come before those asked for, and the file's size."""
        told = response.headers.get("Content-Range", "")
        length = response.headers.get("Content-Length", "")
        if response.status_code == 206:
            answered = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", told)
            if answered is not None and int(answered[1]) == start:
                return 0, int(answered[2])
        elif length.isdigit():
            if start:
                logger.warning(
                    "The server of %s does not serve byte ranges: %s is read from its start, %.1f GB more than needed.",
                    self.name, filename, start / 1e9,
                )  # fmt: skip
            return start, int(length)
        raise ModelUnavailableError(
            f"The server of {self.name} was asked for the bytes of {filename} from {start} on, and answered with "
            f"{told or 'no Content-Range'!r}. Download the model: hf download {self.name}."
        )

    def _has(self, filename: str) -> bool:
        """Whether the repository has a file, without fetching it."""
        if self._cached(filename) is not None or self._asset(f"{filename}.header.json").is_file():
            return True
        try:
            self._fetch(filename, 0, 1, io.BytesIO())
        except ModelUnavailableError as error:
            if isinstance(error.__cause__, EntryNotFoundError):
                return False
            raise
        return True

    def _cached(self, filename: str) -> Path | None:
        """The whole file, if the user has downloaded it before."""
        cached = try_to_load_from_cache(self.name, filename, revision=self.commit)
        return Path(cached) if isinstance(cached, str) else None

    def _asset(self, name: str) -> Path:
        if self.commit is None:
            raise CodebookError(f"The Hub does not tell the commit of {self.name} at {self._revision or 'default'}.")
        return cached_assets_path(LIBRARY, namespace=self.name, subfolder=self.commit) / name

    def _unavailable(self, filename: str, error: BaseException) -> CodebookNotFoundError | ModelUnavailableError:
        return translate_hub_error(
            error,
            filename,
            self.name,
            revision=self._revision,
            found=self.commit is not None,
            missing=CodebookNotFoundError,
        )

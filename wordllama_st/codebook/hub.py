"""A checkpoint on the Hugging Face Hub, of which only the token table is fetched.

config.json, the tokenizer and the index come through huggingface_hub, into its cache. Of the file with the table, which
may be one of a hundred and have gigabytes, two byte ranges are read: the header, and the table itself. They are kept in
huggingface_hub's cache of assets (``HF_ASSETS_CACHE``), under the commit, so that a second extraction needs no network.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from huggingface_hub import cached_assets_path, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils._fixes import WeakFileLock
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_raise_for_status, http_stream_backoff
from huggingface_hub.utils.tqdm import tqdm

from wordllama_st.codebook.checkpoint import CONFIG_FILE, PICKLE_FILES, SINGLE_FILE, pickles_only
from wordllama_st.errors import CodebookError, CodebookNotFoundError, ModelUnavailableError
from wordllama_st.storage.hub_errors import httpx, translate_hub_error
from wordllama_st.storage.safetensors_file import TENSOR_NAME, StoredTensor, stored_tensor, table_layout, tensor_header
from wordllama_st.storage.safetensors_header import PREFIX_BYTES, TensorEntry, header_length, parse_header, read_header
from wordllama_st.storage.staging import staged_file

logger = logging.getLogger(__name__)

LIBRARY = "wordllama-st"
#: Bytes asked for first; the headers of most files are within them.
FIRST_BYTES = 64 * 1024
#: Connections that may break without a byte received before a download is given up; it can be resumed later.
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
        commit: The commit that the revision stood for when the first file was found; all others are of the same.
    """

    def __init__(self, repo_id: str, revision: str | None = None, token: bool | str | None = None) -> None:
        self.repo_id = repo_id
        self.revision = revision
        self.token = token
        self.commit: str | None = None
        self.path(CONFIG_FILE)  # every checkpoint has one, and it says which commit the revision is

    @property
    def name(self) -> str:
        return self.repo_id

    def path(self, filename: str) -> Path | None:
        try:
            if self.commit is not None:
                cached = try_to_load_from_cache(self.repo_id, filename, revision=self.commit)
                if cached is not None:
                    return Path(cached) if isinstance(cached, str) else None  # known not to exist
            path = Path(
                hf_hub_download(
                    self.repo_id,
                    filename,
                    revision=self.commit or self.revision,
                    token=self.token,
                    library_name=LIBRARY,
                )
            )
        except LocalEntryNotFoundError as error:
            known = try_to_load_from_cache(self.repo_id, filename, revision=self.commit or self.revision)
            if known is not None and not isinstance(known, str):
                return None
            raise self._unavailable(filename, error.__cause__ or error) from error
        except EntryNotFoundError as error:
            response = getattr(error, "response", None)
            self.commit = self.commit or (None if response is None else response.headers.get("X-Repo-Commit"))
            return None
        except (HfHubHTTPError, OSError, httpx.HTTPError) as error:
            raise self._unavailable(filename, error) from error
        self.commit = path.parents[filename.count("/")].name  # a snapshot is a directory named by its commit
        return path

    def weight_file(self) -> str | None:
        if self._has(SINGLE_FILE):
            return SINGLE_FILE
        pickle = next((name for name in PICKLE_FILES if self._has(name)), None)
        if pickle is not None:
            raise pickles_only(self.name, pickle)
        return None

    def header(self, filename: str) -> Mapping[str, TensorEntry]:
        where = f"{self.repo_id}/{filename}"
        if (whole := self._cached(filename)) is not None:
            return read_header(whole)
        kept = self._asset(f"{filename}.header.json")
        if kept.is_file():
            with suppress(ValueError, KeyError, TypeError):  # else it is fetched again
                content = json.loads(kept.read_text(encoding="utf-8"))
                return parse_header(content["header"].encode(), content["file_size"], where)
        size, start = self._range_with_size(filename, 0, FIRST_BYTES)
        length = header_length(start[:PREFIX_BYTES], size, where)
        header = start[PREFIX_BYTES : PREFIX_BYTES + length]
        if len(header) < length:
            header += self._range_with_size(filename, PREFIX_BYTES + len(header), PREFIX_BYTES + length)[1]
        tensors = parse_header(header, size, where)
        with staged_file(kept) as path:
            path.write_text(json.dumps({"file_size": size, "header": header.decode()}), encoding="utf-8")
        return tensors

    def tensor(self, filename: str, key: str) -> StoredTensor:
        if (whole := self._cached(filename)) is not None:
            return stored_tensor(whole, key)
        tensors = self.header(filename)
        dtype, shape = table_layout(tensors, key, f"{self.repo_id}/{filename}")
        kept = self._asset(f"{filename}.{quote(key, safe='')}.safetensors")
        with WeakFileLock(kept.with_name(kept.name + ".lock")):
            if not kept.is_file():
                partial = kept.with_name(kept.name + ".incomplete")
                self._download(filename, tensors[key], tensor_header(TENSOR_NAME, dtype, shape), partial)
                partial.replace(kept)
        stored = stored_tensor(kept, TENSOR_NAME)
        return StoredTensor(kept, key, stored.dtype, stored.shape, stored.offset)

    def _download(self, filename: str, entry: TensorEntry, header: bytes, path: Path) -> None:
        """Fetch a tensor's bytes into a safetensors file of its own, going on where an earlier try broke off."""
        if not path.is_file() or path.stat().st_size < len(header):
            path.write_bytes(header)
        total = entry.end - entry.start
        with path.open("r+b") as file, tqdm(total=total, unit="B", unit_scale=True, desc=filename) as bar:
            done = min(file.seek(0, 2) - len(header), total)
            file.seek(len(header) + done)
            file.truncate()
            bar.update(done)
            failures = 0
            while done < total:
                try:
                    for chunk in self._range(filename, entry.start + done, entry.end):
                        done += file.write(chunk)
                        bar.update(len(chunk))
                        failures = 0
                except httpx.HTTPError as error:
                    if failures == RETRIES:
                        raise self._unavailable(filename, error) from error
                    time.sleep(RETRY_WAIT * 2**failures)
                    failures += 1

    def _range_with_size(self, filename: str, start: int, stop: int) -> tuple[int, bytes]:
        """The size of a file, and some of its bytes, or as many of them as it has."""
        sizes: list[int] = []
        for attempt in range(RETRIES + 1):
            try:
                content = b"".join(self._range(filename, start, stop, sizes))
                if not sizes or len(content) < min(stop, sizes[0]) - start:
                    raise httpx.RemoteProtocolError("the answer was cut short")
                return sizes[0], content
            except httpx.HTTPError as error:
                if attempt == RETRIES:
                    raise self._unavailable(filename, error) from error
                time.sleep(RETRY_WAIT * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _range(self, filename: str, start: int, stop: int, sizes: list[int] | None = None) -> Iterator[bytes]:
        """Bytes ``start`` to ``stop`` of a file as they arrive.

        Raises:
            httpx.HTTPError: If the connection breaks; what has arrived is good.
            ModelUnavailableError: If the server refuses.
        """
        url = hf_hub_url(self.repo_id, filename, revision=self.commit)
        headers = build_hf_headers(token=self.token, library_name=LIBRARY)
        headers |= {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        try:
            with http_stream_backoff(
                "GET",
                url,
                headers=headers,
                max_retries=RETRIES,
                base_wait_time=RETRY_WAIT,
                retry_on_exceptions=(),
                timeout=30,
            ) as response:
                hf_raise_for_status(response)
                skip, size = self._answered_range(response, filename, start)
                if sizes is not None:
                    sizes[:] = [size]
                left = stop - start
                for chunk in response.iter_bytes():
                    if skip >= len(chunk):
                        skip -= len(chunk)
                        continue
                    part = chunk[skip : skip + left]
                    skip, left = 0, left - len(part)
                    yield part
                    if left == 0:
                        return
        except (HfHubHTTPError, OfflineModeIsEnabled) as error:
            raise self._unavailable(filename, error) from error

    def _answered_range(self, response: Any, filename: str, start: int) -> tuple[int, int]:
        """How many bytes of the answer come before those asked for, and the file's size."""
        if response.status_code == 206:
            unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
            span, _, size = rest.partition("/")
            if unit != "bytes" or span.partition("-")[0] != str(start) or not size.isdigit():
                raise ModelUnavailableError(
                    f"The server of {self.repo_id} was asked for the bytes of {filename} from {start} on, and answered "
                    f"with {rest or 'no Content-Range'!r}. Download the model: hf download {self.repo_id}."
                )
            return 0, int(size)
        if start:
            logger.warning(
                "The server of %s does not serve byte ranges: %s is read from its start, %.1f GB more than needed.",
                self.repo_id, filename, start / 1e9,
            )  # fmt: skip
        return start, int(response.headers.get("Content-Length", 0))

    def _has(self, filename: str) -> bool:
        """Whether the repository has a file, without fetching it."""
        if self._cached(filename) is not None or (self._asset(f"{filename}.header.json")).is_file():
            return True
        try:
            next(self._range(filename, 0, 1), None)
        except ModelUnavailableError as error:
            if isinstance(error.__cause__, (EntryNotFoundError, OfflineModeIsEnabled)):
                return False
            raise
        except httpx.HTTPError as error:
            raise self._unavailable(filename, error) from error
        return True

    def _cached(self, filename: str) -> Path | None:
        """The whole file, if the user has downloaded it before."""
        cached = try_to_load_from_cache(self.repo_id, filename, revision=self.commit)
        return Path(cached) if isinstance(cached, str) else None

    def _asset(self, name: str) -> Path:
        if self.commit is None:
            raise CodebookError(f"The Hub did not say which commit {self.revision or 'the default'} of {self.name} is.")
        return cached_assets_path(LIBRARY, namespace=self.repo_id, subfolder=self.commit) / name

    def _unavailable(self, filename: str, error: BaseException) -> CodebookNotFoundError | ModelUnavailableError:
        return translate_hub_error(
            error,
            filename,
            self.repo_id,
            revision=self.revision,
            found=self.commit is not None,
            missing=CodebookNotFoundError,
        )

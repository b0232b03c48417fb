"""Download files of the Hugging Face Hub, whole or in part, and translate its errors into one-line messages."""

from __future__ import annotations

import logging
import re
import time
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from huggingface_hub import constants, errors, get_session, hf_hub_download, hf_hub_url, hf_raise_for_status
from huggingface_hub import try_to_load_from_cache as cached_file
from huggingface_hub.utils import build_hf_headers, http_stream_backoff  # type: ignore[attr-defined]

from wordllama_st.errors import CodebookNotFoundError, ModelUnavailableError, reason

logger = logging.getLogger(__name__)

LIBRARY = "wordllama-st"
#: Answers in a row that may bring no byte before a range is given up; it can be resumed later.
RETRIES = 5
#: Seconds to wait before the first of them; doubled for each next.
RETRY_WAIT = 1.0
#: The HTTP client that huggingface_hub uses, and whose errors it lets pass: httpx, or httpx2 from its version 2 on.
httpx: Any = import_module(errors.HfHubHTTPError.__bases__[0].__module__.partition(".")[0])
#: No connection can be made: the name is not resolved, the connection refused, or nobody answers.
NO_CONNECTION: tuple[type[Exception], ...] = (httpx.ConnectError, httpx.ConnectTimeout)


def download_file(
    repo_id: str,
    filename: str,
    *,
    revision: str | None = None,
    token: bool | str | None = None,
    cache_dir: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """Call ``hf_hub_download``, unless the file is not in the cache and there is no network.

    Without a network, ``hf_hub_download`` retries for 23 seconds or more before it gives up.

    Raises:
        LocalEntryNotFoundError: If no connection can be made, which is the error's ``__cause__``; and the other errors
            of ``hf_hub_download``.
    """
    where: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir}
    if not local_files_only and not isinstance(cached_file(repo_id, filename, **where), str):
        _check_connection(constants.ENDPOINT)
    options = where | {"token": token, "local_files_only": local_files_only, "library_name": LIBRARY}
    return Path(hf_hub_download(repo_id, filename, **options))


def check_reachable(repo_id: str) -> None:
    """Raise LocalEntryNotFoundError at once if a model is not in the cache and there is no network."""
    if not any(isinstance(cached_file(repo_id, name), str) for name in ("modules.json", "config.json")):
        _check_connection(constants.ENDPOINT)


@cache  # of its success: one more request in a process
def _check_connection(endpoint: str) -> None:
    try:
        with suppress(errors.OfflineModeIsEnabled):
            get_session().head(endpoint, timeout=constants.HF_HUB_ETAG_TIMEOUT, follow_redirects=False)
    except NO_CONNECTION as error:
        raise errors.LocalEntryNotFoundError(f"No connection to {endpoint} can be made.") from error
    except httpx.HTTPError:
        pass  # The Hub is there. Whatever it has against this request, the download will tell.


def fetch_range(
    repo_id: str, filename: str, start: int, stop: int, file: IO[bytes], *, commit: str | None, token: bool | str | None
) -> int:
    """Append a repository file's bytes from ``start`` to before ``stop``, or its end, going on if a connection breaks.

    Returns:
        The size of the whole file, or ``stop`` if there was nothing to fetch.

    Raises:
        HfHubHTTPError: If the server refuses.
        ConnectionError: If it does not answer the question, or several of its answers in a row bring no byte.
        httpx.HTTPError: If it cannot be reached.
    """
    url = hf_hub_url(repo_id, filename, revision=commit)
    headers = build_hf_headers(token=token, library_name=LIBRARY) | {"Accept-Encoding": "identity"}
    position, size, failures = start, stop, 0
    while position < stop:
        fault: Exception = ConnectionError("The answer ends before the bytes that were asked for.")
        try:
            with http_stream_backoff(
                "GET", url, headers=headers | {"Range": f"bytes={position}-{stop - 1}"}, timeout=30,
                max_retries=RETRIES, base_wait_time=RETRY_WAIT, retry_on_exceptions=(),
            ) as response:  # fmt: skip
                hf_raise_for_status(response)
                skip, size = _answered_range(response, repo_id, filename, position)
                stop = min(stop, size)
                for chunk in response.iter_bytes():
                    part = chunk[skip : skip + stop - position]
                    skip = max(0, skip - len(chunk))
                    if part:
                        position, failures = position + file.write(part), 0
                    if position >= stop:
                        return size
        except errors.HfHubHTTPError:
            raise
        except httpx.HTTPError as error:
            fault = error
        if failures == RETRIES or (position == start and isinstance(fault, NO_CONNECTION)):
            raise fault
        time.sleep(RETRY_WAIT * 2**failures)
        failures += 1
    return size


def _answered_range(response: Any, repo_id: str, filename: str, start: int) -> tuple[int, int]:
    """How many bytes of the answer come before those asked for, and the file's size."""
    told, length = response.headers.get("Content-Range", ""), response.headers.get("Content-Length", "")
    if response.status_code == 206:
        answered = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", told)
        if answered is not None and int(answered[1]) == start:
            return 0, int(answered[2])
    elif length.isdigit():
        if start:
            logger.warning(
                "The server of %s does not serve byte ranges: %s is read from its start, %.1f GB more than needed.",
                repo_id, filename, start / 1e9,
            )  # fmt: skip
        return start, int(length)
    raise ConnectionError(
        f"The server was asked for the bytes from {start} on, and answered with {told or 'no Content-Range'!r}. "
        f"Download the model: hf download {repo_id}."
    )


def translate_hub_error(
    error: BaseException,
    filename: str,
    repo_id: str,
    *,
    revision: str | None,
    found: bool,
    missing: type[CodebookNotFoundError] | type[ModelUnavailableError],
) -> CodebookNotFoundError | ModelUnavailableError:
    """Translate an error of huggingface_hub or of the network into one of this package.

    ``found`` tells that the repository is known to exist: if not, its name may have been meant as a directory.
    ``missing`` is the class of the error for a repository or revision that does not exist.
    """
    if isinstance(error, errors.HFValidationError):
        return missing(f"There is no directory or file {repo_id}, and no model can have such a name.")
    if isinstance(error, errors.GatedRepoError):
        return ModelUnavailableError(
            f"{repo_id} is gated: accept its terms on https://hf.co/{repo_id}, and log in with `hf auth login` or give "
            f"a token. ({reason(error)})"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return missing(
            f"There is no directory {repo_id}, no released model of that name, and no repository on the Hub that is "
            f"public or that the token given may read."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return missing(f"{repo_id} on the Hub has no revision {revision!r}.")
    no_directory = "" if found else f"There is no directory {repo_id}, and on the Hub "
    return ModelUnavailableError(
        f"{no_directory}{filename} of {repo_id}{f' at {revision}' if revision else ''} is not in the local cache and "
        f"could not be fetched: {reason(error).rstrip('.')}. What has arrived is kept, and the next try goes on there."
    )

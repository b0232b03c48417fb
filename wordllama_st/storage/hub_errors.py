"""What to say when a file of the Hub cannot be had."""

from __future__ import annotations

from typing import Any

from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import _http

from wordllama_st.errors import CodebookNotFoundError, ModelUnavailableError, reason

__all__ = ["httpx", "translate_hub_error"]

#: What huggingface_hub talks through, whose errors it lets pass: httpx2 from 2.0 on. Both may be installed.
httpx: Any = next(getattr(_http, name) for name in ("httpx2", "httpx") if hasattr(_http, name))


def translate_hub_error(
    error: BaseException,
    filename: str,
    repo_id: str,
    *,
    revision: str | None,
    found: bool,
    missing: type[CodebookNotFoundError] | type[ModelUnavailableError],
) -> CodebookNotFoundError | ModelUnavailableError:
    """Make an error of this package's of one of huggingface_hub's or of the network's.

    Args:
        error: Theirs.
        filename: The file that was asked for.
        repo_id: Its repository, ``"org/model"``.
        revision: The branch, tag or commit asked for.
        found: Whether the repository is known to exist; if not, the name may have been meant for a directory's.
        missing: The error for a repository or revision that is not there.
    """
    if isinstance(error, HFValidationError):
        return missing(f"There is no directory or file {repo_id}, and no model can have such a name.")
    if isinstance(error, GatedRepoError):
        return ModelUnavailableError(
            f"{repo_id} is gated: accept its terms on https://hf.co/{repo_id}, and log in with `hf auth login` or give "
            f"a token. ({reason(error)})"
        )
    if isinstance(error, RepositoryNotFoundError):
        return missing(
            f"There is no directory {repo_id}, no released model of that name, and no repository on the Hub that is "
            f"public or that the token given may read."
        )
    if isinstance(error, RevisionNotFoundError):
        return missing(f"{repo_id} on the Hub has no revision {revision!r}.")
    no_directory = "" if found else f"There is no directory {repo_id}, and on the Hub "
    return ModelUnavailableError(
        f"{no_directory}{filename} of {repo_id}{f' at {revision}' if revision else ''} is not in the local cache and "
        f"could not be fetched: {reason(error)} What has arrived is kept, and the next try goes on from there."
    )

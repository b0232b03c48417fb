"""Room on disks: one error that names what could not be written, whichever library met it; and temporary files."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from wordllama_st.errors import OutputError, WordLlamaSTError, reason

#: What the names of temporary directories begin with, by which what a killed process left is recognised.
TEMPORARY = "wordllama-st-"

#: The errors of a disk that is full, a quota, and a limit on the size of files.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: How libraries in Rust tell the number of an error; and what NumPy says of a file that takes no more, without one.
_find_number = re.compile(r"\(os error (\d+)\)").search
_is_short_write = re.compile(r"\d+ requested and \d+ written").fullmatch


@contextmanager
def naming_full_disk(path: Path | None = None) -> Iterator[None]:
    """Raise OutputError for whatever a block raises where there is no room for what it writes.

    Args:
        path: What is written; None for files in the directory of temporary files.

    Raises:
        OutputError: The message names the path.
    """
    try:
        yield
    except Exception as error:  # tokenizers raises a bare one
        number = _find_number(str(error))
        found = int(number[1]) if number else getattr(error, "errno", None)
        if isinstance(error, WordLlamaSTError) or not (found in _NO_ROOM or _is_short_write(str(error))):
            raise
        raise OutputError(
            f"{path or tempfile.gettempdir()} cannot be written: {reason(error)}. Make room and run again; what is "
            f"finished stays."
        ) from error


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """Yield a temporary file, which is removed when the block ends, and stays for whoever has it mapped by then.

    Raises:
        OutputError: If there is no room for what is written in the block; the message names the directory.
    """
    with naming_full_disk(), tempfile.TemporaryFile() as file:
        yield file

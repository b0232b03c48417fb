"""Files of a model's directory, which may be somebody else's: nothing outside it is read."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from wordllama_st.errors import WordLlamaSTError


def file_inside(directory: Path, name: str | PurePosixPath, error: type[WordLlamaSTError]) -> Path:
    """Return the path of a file in a directory, whether it is there or not.

    Raises:
        WordLlamaSTError: Of the class ``error``, if a link there leads out of the directory. (In a cache of the Hub all
            files are links to its blobs, which are no way out.)
    """
    path = directory / name
    if os.path.isfile(path):  # which is no error for a name that is too long
        target, home = path.resolve(), directory.resolve()
        blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
        if not target.is_relative_to(home) and not target.is_relative_to(blobs):
            raise error(f"{path} is a link to {target}, outside {directory}. Put the file itself there.")
    return path

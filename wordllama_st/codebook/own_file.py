"""A file on disk by what it is, not by where it lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class OwnFile:
    """A file that holds a codebook's table and nothing else, so that a save may link it.

    Paths are reused: a second model saved into the same directory replaces the first one's file. Two of these are
    equal if they are the same file on disk, wherever it lies.
    """

    path: Path = field(compare=False)
    identity: tuple[int, int, int] | None

    @classmethod
    def at(cls, path: Path) -> OwnFile:
        """The file at a path now; one that is not there is equal to none that is."""
        try:
            status = path.stat()
        except OSError:
            return cls(path.absolute(), None)
        return cls(path.absolute(), (status.st_dev, status.st_ino, status.st_mtime_ns))

    def is_still_there(self) -> bool:
        """Whether the path still leads to this very file."""
        return self.identity is not None and self == OwnFile.at(self.path)

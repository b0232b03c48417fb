"""What is fuzzed: the reader of some files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A reader of files, which are good but for one.

    An input is a byte that tells which of the files is not good, and then what is in it.

    Attributes:
        name: Of the target.
        write: Writes the good files into a folder, by the libraries that such files come from.
        files: The names in it of those to damage.
        read: Reads the folder after the file of a name was damaged. It raises an error of this package's if it refuses
            what it finds, and any other if there is a fault in this package.
    """

    name: str
    write: Callable[[Path], None]
    files: Sequence[str]
    read: Callable[[Path, str], object]

    def file_of(self, data: bytes) -> str:
        """The name of the file that an input is the content of."""
        return self.files[(data[0] if data else 0) % len(self.files)]

"""What is in the directory of a command's outputs, compared with what an undisturbed run leaves there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from commands import Command

#: Names that the package gives to what is not complete yet, and to the parts of a .npy file.
is_leftover = re.compile(r"\.(?P<name>.+)\.(\w{8,}\.partial|parts)").fullmatch


def content(path: Path) -> dict[str, str]:
    """The SHA-256 of a file, or of every file below a directory, by its name there; locks are left out."""
    files = [path] if path.is_file() else (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def leftovers(folder: Path) -> list[Path]:
    """What runs that did not end have left, at any depth."""
    return sorted(path for path in folder.rglob(".*") if is_leftover(path.name))


class Outputs:
    """What is in the directory of a command's outputs, compared with what an undisturbed run leaves there.

    Args:
        command: The command.
        folder: The directory, in which an undisturbed run has just ended.
    """

    def __init__(self, command: Command, folder: Path) -> None:
        self.command, self._folder = command, folder
        self._expected = {name: content(folder / name) for name in self._compared()}

    def _compared(self) -> Iterator[str]:
        """Outputs and caches, whose bits follow from the inputs; checkpoints have times in them."""
        yield from self.command.outputs
        yield from (name for name in self.command.state if name != "checkpoints")

    def there(self) -> list[str]:
        """The outputs that are there."""
        return [name for name in self.command.outputs if (self._folder / name).exists()]

    def are_new(self) -> bool:
        """Whether all outputs are what an undisturbed run leaves."""
        return all(self._bits(name) == self._wanted(self._expected[name]) for name in self.command.outputs)

    def finished_work(self) -> set[tuple[str, int, int]]:
        """Parts and files of caches that are finished: their names, and what another of the name would not share."""
        found = (path for pattern in ("part-*", "vectors-*") for path in self._folder.rglob(pattern))
        return {(str(path), path.stat().st_ino, path.stat().st_mtime_ns) for path in found if path.is_file()}

    def faults_of_end(self, hub: Path) -> list[str]:
        """What is wrong after a run that has ended well."""
        faults = [f"{path} is left" for folder in (self._folder, hub) for path in leftovers(folder)]
        for name in self._compared():
            found, wanted = self._bits(name), self._wanted(self._expected[name])
            if different := sorted(file for file in found.keys() | wanted if found.get(file) != wanted.get(file)):
                faults.append(f"{name} is not that of an undisturbed run: {', '.join(different)} differ")
        return faults

    def faults_of_kill(self, old: Path | None = None) -> list[str]:
        """What is wrong after a kill; in ``old`` are older outputs, where the new ones were to replace such."""
        faults = []
        known = {*self.command.outputs, *self.command.state}
        for path in self._folder.iterdir():
            leftover = is_leftover(path.name)
            if path.name not in known and (leftover is None or leftover["name"] not in known):
                faults.append(f"{path.name} is nothing that could be known")
        for name in self._compared():
            if name not in self.command.outputs or self.command.in_parts:
                faults += self._faults_of_parts(name)
            else:
                faults += self._faults_of(name, None if old is None else content(old / name))
        return faults

    def _faults_of(self, name: str, old: dict[str, str] | None) -> list[str]:
        """An output must be what it was, what it should be, or not there; what is being replaced may lie aside."""
        path = self._folder / name
        if not path.exists():
            aside = self._folder.glob(f".{name}.*.partial/{name}.replaced")
            whole = old is None or any(content(replaced) == old for replaced in aside)
            return [] if whole else [f"{name} is gone, and what was to be replaced is not whole"]
        if content(path) == old or self._bits(name) == self._wanted(self._expected[name]):
            return []
        return [f"{name} is neither what it was nor what it should be"]

    def _faults_of_parts(self, name: str) -> list[str]:
        """Files of a directory that are there and not whole; the record of a run is another until it ends."""
        faults = []
        for file, sha256 in content(self._folder / name).items():
            if any(map(is_leftover, Path(file).parts)):
                continue
            if Path(file).name == "manifest.json":
                json.loads((self._folder / name / file).read_bytes())
            elif sha256 != self._expected[name].get(file):
                faults.append(f"{name}/{file} is not that of an undisturbed run")
        return faults

    def _bits(self, name: str) -> dict[str, str]:
        return self._wanted(content(self._folder / name))

    def _wanted(self, files: dict[str, str]) -> dict[str, str]:
        return {file: "" if file in self.command.varying else sha256 for file, sha256 in files.items()}

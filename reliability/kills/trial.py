"""Trials of one command, whose undisturbed run they are compared with."""

from __future__ import annotations

import random
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import children
from children import Outcome
from commands import Command, check_loads
from outputs import Outputs, leftovers

#: The line of a command that finds its output.
is_refusal = re.compile(r"wordllama-st \w+: error: .* already exists; .*overwrite it on purpose\.").fullmatch


@dataclass
class Tally:
    """What has been counted; the fields are the columns of the table."""

    kills: int = 0
    by_time: int = 0
    by_change: int = 0
    before: int = 0
    after: int = 0
    rounds: int = 0
    resumed: int = 0
    leftovers: int = 0
    full_disk: int = 0
    at_once: int = 0
    failed: int = 0

    @classmethod
    def header(cls) -> str:
        """The names of the columns."""
        return "".join(f"{column.name.replace('_', ' '):>11}" for column in fields(cls))

    def __str__(self) -> str:
        return "".join(f"{getattr(self, column.name):>11}" for column in fields(self))

    def add(self, other: Tally) -> None:
        """Add the counts of another."""
        for column in fields(self):
            setattr(self, column.name, getattr(self, column.name) + getattr(other, column.name))


class Place:
    """The directories of all runs: what they read, what they write, and where libraries keep things.

    All are removed at the end, unless they are to be kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.keep = folder, False
        names = ("inputs", "out", "hub", "temporary", "old")
        self.inputs, self.out, self.hub, self.temporary, self.old = (folder / name for name in names)
        for name in names:
            (folder / name).mkdir()

    def clear(self) -> None:
        """Remove what runs have written."""
        for directory in (self.out, self.hub, self.temporary):
            for path in directory.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()


class Fault(Exception):
    """Something that must not be."""


class Trial:
    """A command, what an undisturbed run of it leaves, and the trials of it.

    Args:
        command: The command.
        place: Where it runs.
        seed: Of all trials.
        compares_fresh: Whether to compare a run in a process that shares nothing with this one, too.

    Attributes:
        tally: What has been counted.
        outputs: What is there, compared with what should be.
        undisturbed: The outcome of an undisturbed run.
        largest: The size of the largest file that it leaves, in bytes; and ``size``, that of all of them.
    """

    def __init__(self, command: Command, place: Place, seed: int, *, compares_fresh: bool) -> None:
        self.command, self.place, self._seed = command, place, seed
        self.tally = Tally()
        self._run_undisturbed()  # and import what it needs, which takes time
        self.undisturbed = self._run_undisturbed()
        self.outputs = Outputs(command, place.out)
        sizes = [path.stat().st_size for path in place.out.rglob("*") if path.is_file()]
        self.largest, self.size = max(sizes), sum(sizes)
        for name in command.outputs:
            children.call(check_loads, place.out / name)
        self._keep_old()
        if compares_fresh:
            self._compare_fresh()

    def _run_undisturbed(self) -> Outcome:
        self.place.clear()
        outcome = children.run(self.command.arguments)
        if outcome.code:
            raise Fault(f"{self.command.name} fails: {outcome.output}")
        children.import_modules(outcome.imported)
        return outcome

    def _compare_fresh(self) -> None:
        """Run the command in a process of its own, with other hashes and random states."""
        self.place.clear()
        code, errors = children.run_fresh(self.command.arguments)
        if code:
            raise Fault(f"{self.command.name} fails in a process of its own: {errors}")
        if faults := self.outputs.faults_of_end(self.place.hub):
            raise Fault(f"a process of its own gives another result: {'; '.join(faults)}")

    def _keep_old(self) -> None:
        """Make older outputs of the new ones: the same, with an empty line in some files."""
        shutil.rmtree(self.place.old)
        shutil.copytree(self.place.out, self.place.old)
        for name in self.command.outputs:
            path = self.place.old / name
            for file in [path] if path.is_file() else path.rglob("*.json"):
                file.write_bytes(file.read_bytes() + b"\n")

    def lay_old(self) -> None:
        """Lay the older outputs where the new ones will be."""
        for name in self.command.outputs:
            source, path = self.place.old / name, self.place.out / name
            shutil.copytree(source, path) if source.is_dir() else shutil.copyfile(source, path)

    def attempt(self, label: str, play: Callable[[Trial, random.Random], None]) -> None:
        """Begin a trial in empty directories; print what is wrong and how to repeat it, and keep what is there."""
        self.place.clear()
        try:
            play(self, random.Random(f"{self._seed} {self.command.name} {label}"))
        except (Fault, OSError, ValueError) as fault:
            self.tally.failed += 1
            kept = self.place.folder / f"failed {self.command.name} {label}".replace(", ", " ").replace(" ", "-")
            shutil.copytree(self.place.out, kept, symlinks=True)
            print(f"FAILED: {self.command.name}, {label}, seed {self._seed}: {fault}\n  see {kept}", file=sys.stderr)

    def check_end(self, arguments: tuple[str, ...], outcome: Outcome) -> None:
        """Check that a run to the end has removed leftovers, and left what an undisturbed run leaves.

        Where there was a result, the run is refused, and the result is kept; but of two outputs, one may be missing.
        """
        there = self.outputs.there()
        if outcome.code and there and is_refusal(outcome.output.splitlines()[-1]):
            if left := leftovers(self.place.out):
                raise Fault(f"it is refused, and {', '.join(map(str, left))} left")
            if len(there) < len(self.command.outputs):
                outcome = children.run((*arguments, "--overwrite"))
            else:
                outcome = Outcome(0, outcome.output, outcome.seconds)
        if outcome.code:
            raise Fault(f"exit code {outcome.code}: {outcome.output}")
        if faults := self.outputs.faults_of_end(self.place.hub):
            raise Fault("; ".join(faults))

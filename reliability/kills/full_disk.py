"""Commands that run out of room: below a limit on the size of files, and on a small disk in memory."""

from __future__ import annotations

import math
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import children
from children import Outcome
from commands import HUB_MODEL, RELEASED
from outputs import leftovers
from trial import Fault, Trial

#: The least that a file is limited to, in bytes; and what a disk is made of.
LEAST, PAGE, TEMPORARY_PAGES = 16, 4096, 8


def play_file_size(trial: Trial, chance: random.Random) -> None:
    """Let no file be larger than a random size."""
    size = int(math.exp(chance.uniform(math.log(LEAST), math.log(trial.largest))))
    outcome = children.run(trial.command.arguments, file_size=size)
    _check(trial, outcome, f"with files of at most {size} bytes")


def play_small_disk(trial: Trial, chance: random.Random) -> None:
    """Let everything that is written be on a disk that is too small."""
    pages = chance.randint(1, max(1, trial.size // PAGE))
    with _disk(trial.place.out, pages * PAGE) as enlarge:
        outcome = children.run(trial.command.arguments)
        enlarge()
        _check(trial, outcome, f"on a disk of {pages * PAGE} bytes")


def play_small_temporary(trial: Trial, chance: random.Random) -> None:
    """Let temporary files be on a disk that is too small."""
    pages = chance.randint(1, TEMPORARY_PAGES)
    with _disk(trial.place.temporary, pages * PAGE):
        outcome = children.run(trial.command.arguments)
    _check(trial, outcome, f"with temporary files on a disk of {pages * PAGE} bytes")


def can_mount() -> bool:
    """Whether this process may mount a disk."""
    return os.name == "posix" and os.geteuid() == 0


@contextmanager
def _disk(path: Path, size: int) -> Iterator[Callable[[], None]]:
    """Mount a disk in memory, and yield what enlarges it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=1g", path], check=True) and None
    finally:
        subprocess.run(["umount", path], check=True)


def _check(trial: Trial, outcome: Outcome, limit: str) -> None:
    """Check the error and what is there, then that the command ends well where there is room."""
    if outcome.code:
        trial.tally.full_disk += 1
        errors = [line for line in outcome.output.splitlines() if line.startswith("wordllama-st ")]
        if outcome.code != 1 or "Traceback" in outcome.output or len(errors) != 1:
            raise Fault(f"{limit}: exit code {outcome.code}, not one line: {outcome.output}")
        if not any(name in errors[0] for name in (str(trial.place.folder), HUB_MODEL, RELEASED)):
            raise Fault(f"{limit}: no file is named: {errors[0]}")
        partial = [path for path in leftovers(trial.place.out) if path.suffix == ".partial"]
        faults = [*trial.outputs.faults_of_kill(), *(f"{path} is left" for path in partial)]
        if len(trial.command.outputs) == 1 and not trial.command.in_parts and trial.outputs.there():
            faults.append("there is an output")
        if faults:
            raise Fault(f"{limit}: {'; '.join(faults)}, after {errors[0]}")
        outcome = children.run(trial.command.arguments)
    try:
        trial.check_end(trial.command.arguments, outcome)
    except Fault as fault:
        raise Fault(f"run again where there was room, after a run {limit}: {fault}") from fault

"""Fuzz the readers of files and texts: whatever is in one, it is read or refused by an error of this package's.

    python reliability/fuzzing/fuzz.py [TARGET ...] [--seconds 600 | --runs 60000] [--jobs 2]
    python reliability/fuzzing/fuzz.py TARGET --input FILE

The seconds are for all targets together, the runs for each (slow ones get a third). Each target has a process of its
own. An input may take ten seconds of processor time and a gigabyte; no other error, no exit of the process, no file
outside the target's folder, no connection, other process or code that a file names is allowed. An input at which that
happens is kept in the folder, and the command that repeats it is printed; the exit status is then 1.

With atheris (pip install atheris; Linux), coverage guides the damage, and the inputs that reach something new stay in
the folder's corpus for the next run. Without it, damage is random.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
from guards import SECONDS
from targets import MODULES, SLOW
from worker import INPUTS, NANOSECONDS, REFUSED, Worker, begin, work

#: Of the runs of other targets.
SHARE_OF_SLOW = 1 / 3
#: Runs of a process at most: atheris does not give back the memory of what it mutates.
RUNS_OF_PROCESS = 5000
#: Where files are written fast, if there is such a place.
IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
_COVERAGE = re.compile(rb"cov: (\d+) .*corp: (\d+)/")


@dataclass(frozen=True)
class Outcome:
    """What came of a target's inputs; ``fault`` is the end of the process's output if it failed."""

    target: str
    inputs: int
    refused: int
    seconds: float
    coverage: str
    corpus: str
    fault: str | None = None

    def followed_by(self, other: Outcome) -> Outcome:
        """What came of the inputs of both, of which the other's were the later ones."""
        inputs, refused, seconds = (
            getattr(self, name) + getattr(other, name) for name in ("inputs", "refused", "seconds")
        )
        return replace(other, inputs=inputs, refused=refused, seconds=seconds)

    def __str__(self) -> str:
        speed = self.inputs / max(self.seconds, 1e-9)
        return (
            f"{self.target:<16}{self.inputs:>10,}{speed:>11,.0f}{self.refused:>10,}{self.coverage:>10}{self.corpus:>8}"
            f"{self.fault is not None:>9}"
        )


HEAD = f"{'target':<16}{'inputs':>10}{'inputs/s':>11}{'refused':>10}{'coverage':>10}{'corpus':>8}{'crashes':>9}"


def fuzz(names: Sequence[str], options: argparse.Namespace) -> list[Outcome]:
    """Fuzz a target, in one process after the other, until an input fails; or several in one, with random damage."""
    if not options.runs or len(names) > 1:
        return fuzz_in_one_process(names, options, options.runs, options.seed)
    runs = max(1, int(options.runs * (SHARE_OF_SLOW if names[0] in SLOW else 1)))
    outcomes: list[Outcome] = []
    for number, start in enumerate(range(0, runs, RUNS_OF_PROCESS)):
        outcomes += fuzz_in_one_process(names, options, min(RUNS_OF_PROCESS, runs - start), options.seed + number)
        if outcomes[-1].fault is not None:
            break
    return [reduce(Outcome.followed_by, outcomes)]


def fuzz_in_one_process(
    names: Sequence[str], options: argparse.Namespace, runs: int | None, seed: int
) -> list[Outcome]:
    """Fuzz targets one after the other in one process, which ends at the first input that fails."""
    folder: Path = options.folder
    for name in names:
        for kept in (f"{name}.input", f"{name}.counts"):
            (folder / kept).unlink(missing_ok=True)
    seconds = options.seconds * options.jobs / len(options.targets)
    limits = ["--runs", str(runs)] if runs else ["--seconds", str(seconds)]
    log = folder / f"{names[0]}.log"
    with tempfile.TemporaryDirectory(dir=IN_MEMORY, ignore_cleanup_errors=True) as scratch, log.open("wb") as output:
        command = [sys.executable, __file__, *names, "--worker", scratch, "--seed", str(seed), *limits]
        command += ["--folder", str(folder), *(["--random"] if options.random else [])]
        run = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, cwd=scratch, check=False)
    said = log.read_bytes()
    found = _COVERAGE.findall(said)
    coverage, corpus = (text.decode() for text in found[-1]) if found else ("-", "-")
    outcomes = []
    for name in names:
        path = folder / f"{name}.counts"
        counts = np.fromfile(path, np.int64) if path.is_file() else np.zeros(3, np.int64)
        inputs, refused, nanoseconds = counts[[INPUTS, REFUSED, NANOSECONDS]].tolist()
        outcomes.append(Outcome(name, inputs, refused, nanoseconds / 1e9, coverage, corpus))
    if run.returncode:
        last = max((n for n, name in enumerate(names) if (folder / f"{name}.input").is_file()), default=0)
        fault = explain(names[last], folder, run.returncode, said.decode(errors="replace"))
        outcomes[last] = replace(outcomes[last], fault=fault)
    return outcomes


def explain(name: str, folder: Path, status: int, said: str) -> str:
    """Keep the input at which a process ended, and say how to repeat it."""
    ended = f"it took more than {SECONDS} s of processor time" if status == -signal.SIGPROF else f"status {status}"
    current = folder / f"{name}.input"
    if not current.is_file():
        return f"{said[-3000:]}\n{name} could not begin: {ended}.\n"
    kept = folder / f"{name}-{hashlib.sha1(current.read_bytes()).hexdigest()[:12]}"
    shutil.copyfile(current, kept)
    command = f"{sys.executable} {__file__} {name} --input {kept}"
    return f"{said[-3000:]}\n{name} failed: {ended}. To repeat it:\n  {command}\n"


def repeat(name: str, path: Path) -> None:
    """Read one input, and say what comes of it; a fault ends the process as it did before."""
    data = path.absolute().read_bytes()
    with tempfile.TemporaryDirectory(dir=IN_MEMORY, ignore_cleanup_errors=True) as scratch:
        begin(Path(scratch))
        print("read" if Worker(name, Path(scratch)).run(data) else "refused")


def main() -> None:
    """Fuzz, or repeat an input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(MODULES)}; all by default")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**31))
    parser.add_argument("--folder", type=Path, default=Path("fuzzing"), help="for failures and corpora (%(default)s)")
    parser.add_argument("--input", type=Path, help="an input to repeat")
    parser.add_argument("--random", action="store_true", help="random damage, even if atheris is installed")
    parser.add_argument("--together", action="store_true", help="all targets in one process, with random damage")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.targets = options.targets or list(MODULES)
    if unknown := set(options.targets) - MODULES.keys():
        parser.error(f"no targets: {', '.join(sorted(unknown))}")
    options.folder = options.folder.absolute()
    options.folder.mkdir(parents=True, exist_ok=True)
    options.random |= options.together
    guided = not options.random and find_spec("atheris") is not None
    if options.input:
        repeat(options.targets[0], options.input)
    elif options.worker:
        begin(options.worker)
        atheris = import_module("atheris") if guided else None
        for name in options.targets:
            limits = {"runs": options.runs, "seconds": options.seconds}
            work(name, options.folder, options.worker, seed=options.seed, atheris=atheris, **limits)
    else:
        how = (
            "guided by coverage (atheris)" if guided else "at random: atheris, by which coverage guides it, is not used"
        )
        print(f"seed {options.seed}, damage {how}\n{HEAD}", flush=True)
        groups = [options.targets] if options.together else [[name] for name in options.targets]
        faults, inputs = [], 0
        with ThreadPoolExecutor(options.jobs) as pool:
            for outcome in chain.from_iterable(pool.map(lambda names: fuzz(names, options), groups)):
                print(outcome, flush=True)
                inputs += outcome.inputs
                faults += [outcome.fault] if outcome.fault else []
        print(f"{inputs:,} inputs, {len(faults)} failures", *faults, sep="\n")
        sys.exit(bool(faults))


if __name__ == "__main__":
    main()

"""Kill commands at random points, fill their disk, and start them twice at once; nothing may be lost by it.

    python reliability/kills/kills.py [--count 500] [--seed N] [--only COMMAND ...] [--round N] [--short]

Half of the kills (SIGKILL) come at a random time of the run, the other half just before a random one of the calls that
change the file system. After each, what has its final name must be whole, and whatever else is there must be known as a
leftover. A round ends with the same command run to its end: it must remove the leftovers, go on from checkpoints, from
caches and from parts, and leave the same bits as an undisturbed run in a process of its own. In some rounds there are
older outputs to overwrite, which must be whole until the new ones are.

Inputs are made here, and a Hub on the loopback has the models that are fetched. Parts have 256 rows, and checkpoints
are written every ten steps.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import children
from at_once import play_same_cache, play_same_output
from commands import make_commands, make_inputs
from full_disk import can_mount, play_file_size, play_small_disk, play_small_temporary
from hub_server import HubServer
from rounds import play_kills
from trial import Place, Tally, Trial

#: Trials of each kind with each command, beside the kills.
OTHERS = 4
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def main() -> int:
    """Print a line for each command and a total; return 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="kills that land, over all commands (default: 500)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: another each time")
    parser.add_argument("--only", nargs="+", metavar="COMMAND", help="extract, train and so on")
    parser.add_argument("--round", type=int, metavar="N", help="this round of kills alone, to repeat it")
    parser.add_argument("--short", action="store_true", help="kills alone, compared with a run in a child as well")
    options = parser.parse_args()
    started, total = time.monotonic(), Tally()
    with _prepared() as place:
        commands = [
            command
            for command in make_commands(place.inputs, place.out)
            if options.only is None or command.arguments[0] in options.only
        ]
        print(f"{f'seed {options.seed}':<16}{Tally.header()}", flush=True)
        for number, command in enumerate(commands):
            trial = Trial(command, place, options.seed, compares_fresh=not options.short)
            if options.round is not None:
                trial.attempt(f"round {options.round}", play_kills)
            else:
                share = options.count // len(commands) + (number < options.count % len(commands))
                _play(trial, share, short=options.short)
            print(f"{command.name:<16}{trial.tally}", flush=True)
            total.add(trial.tally)
        print(f"{'total':<16}{total}\n{time.monotonic() - started:.0f} s")
        if total.failed:
            place.keep = True
    return 1 if total.failed else 0


def _play(trial: Trial, kills: int, *, short: bool) -> None:
    """Play rounds until so many kills have landed, then the other trials."""
    number = 0
    while trial.tally.kills < kills:
        trial.attempt(f"round {number}", play_kills)
        number += 1
    if short:
        return
    plays = {"file size": play_file_size, "two with one output": play_same_output}
    if can_mount():
        plays |= {"small disk": play_small_disk, "small disk for temporary files": play_small_temporary}
    if trial.command.shares_cache:
        plays["two with one cache"] = play_same_cache
    for label, play in plays.items():
        for number in range(OTHERS):
            trial.attempt(f"{label} {number}", play)


@contextmanager
def _prepared() -> Iterator[Place]:
    """Make the inputs and a Hub of them; all is removed at the end, unless there is a failure to look at."""
    folder = Path(tempfile.mkdtemp(prefix="wordllama-st-kills-"))
    place, hub = Place(folder), HubServer({})
    os.environ.update(ENVIRONMENT, HF_HOME=str(place.hub), HF_ENDPOINT=hub.url, TMPDIR=str(place.temporary))
    tempfile.tempdir = None  # is read again
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that disks are unmounted
    children.make_small()
    hub.files.update(make_inputs(place.inputs))
    server = os.fork()
    if server == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # which would tell of clients that are killed
        with hub:
            signal.pause()
    try:
        yield place
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        if not place.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())

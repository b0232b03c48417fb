"""Commands that are killed lose nothing: a few kills at random points, from a new seed each time, which is printed.

``make kill`` makes many of all commands, fills disks, and starts processes in pairs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 12


def test_a_command_that_is_killed_leaves_what_an_undisturbed_one_does(capsys: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).parents[1] / "reliability" / "kills" / "kills.py"
    options = ["--count", str(KILLS), "--short", "--only", "train", "encode"]
    run = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, timeout=300)
    with capsys.disabled():  # else a log would have the seed of the runs that fail only
        print(f"\n{run.stdout.strip()}")
    assert run.returncode == 0, run.stderr[-3_000:]
    total = next(line for line in run.stdout.splitlines() if line.startswith("total"))
    assert int(total.split()[1]) >= KILLS

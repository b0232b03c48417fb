"""Damaged files and odd texts are read or refused: some of each kind, from a new seed each time, which is printed.

``make fuzz`` feeds many more to every reader, guided by coverage.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 10


def test_damaged_inputs_are_read_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).parents[2] / "reliability" / "fuzzing" / "fuzz.py"
    options = ["--random", "--seconds", str(SECONDS), "--folder", tmp_path]
    run = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, timeout=600)
    with capsys.disabled():  # else a log would have the seed of the runs that fail only
        print(f"\n{run.stdout.strip()}")
    assert run.returncode == 0, run.stderr[-3_000:]

"""Whatever is damaged, the outcome is a table or an error of this package's: no crash, no hang, no heap of memory.

A few seconds of it, from a new seed each time, which is printed: the runs of many days add up, and any of them can be
repeated. ``make fuzz`` goes on for longer.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 10


def test_damaged_files_are_read_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).with_name("fuzzing.py")
    run = subprocess.run([sys.executable, script, str(SECONDS)], capture_output=True, text=True, timeout=120)
    with capsys.disabled():  # else a log would have it of the runs that fail only
        print(f"\nfuzzing: {run.stdout.strip()}")
    assert run.returncode == 0, run.stderr[-3_000:]
    rounds = re.search(r"(\d+) rounds", run.stdout)
    assert rounds is not None
    assert int(rounds[1]) > 500
    assert "'read': " in run.stdout
    assert "'refused': " in run.stdout

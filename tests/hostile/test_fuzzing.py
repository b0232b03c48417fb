"""Every reader, fuzzed for some seconds: whatever is damaged, it is read or refused, without a crash, a hang or a heap
of memory.

The damage is random and from a new seed each time, which is printed: the runs of many days add up, and each can be
repeated. ``make fuzz`` goes on for longer, guided by coverage.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 6


def test_damaged_files_are_read_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).parents[2] / "reliability" / "fuzzing" / "fuzz.py"
    command = [sys.executable, script, "--random", "--together", "--seconds", str(SECONDS), "--folder", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    with capsys.disabled():  # else a log would have it of the runs that fail only
        print(f"\n{run.stdout.strip()}")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    rows = re.findall(r"^([a-z-]+) +([\d,]+) +[\d,]+ +([\d,]+) ", run.stdout, re.MULTILINE)
    counts = {name: (int(inputs.replace(",", "")), int(refused.replace(",", ""))) for name, inputs, refused in rows}
    sys.path.insert(0, str(script.parent))
    from targets import MODULES

    assert counts.keys() == MODULES.keys()
    assert all(inputs >= 5 for inputs, _ in counts.values())
    assert sum(inputs for inputs, _ in counts.values()) > 500
    assert sum(refused for _, refused in counts.values()) > 100

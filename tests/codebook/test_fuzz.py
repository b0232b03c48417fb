"""Whatever is damaged, the outcome is a table or an error of this package's: no crash, no hang, no heap of memory.

A few seconds of it, from a new seed each time; ``make fuzz`` goes on for longer.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_damaged_files_are_read_or_refused() -> None:
    script = Path(__file__).with_name("fuzzing.py")
    run = subprocess.run([sys.executable, script, "10"], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-3_000:]
    rounds = re.search(r"(\d+) rounds", run.stdout)
    assert rounds is not None
    assert int(rounds[1]) > 500
    assert "'read': " in run.stdout
    assert "'refused': " in run.stdout

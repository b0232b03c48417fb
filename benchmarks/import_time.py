"""What ``import wordllama_st`` costs beyond numpy's own import, in fresh processes taken in turn.

python benchmarks/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 15
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
STATEMENTS = ("import wordllama_st", "from wordllama_st import Codebook")


def seconds(statement: str) -> float:
    """How long a fresh interpreter, numpy imported, takes to execute a statement."""
    command = [sys.executable, "-c", "import numpy; " + TIMED.format(statement)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Time the statements in turn."""
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for _ in range(RUNS):
        for statement in STATEMENTS:
            times[statement].append(seconds(statement))
    print(f"{f'beyond numpy, {RUNS} fresh processes each':44}{'median':>10}{'least':>10}{'most':>10}")
    for statement, measured in times.items():
        figures = (statistics.median(measured), min(measured), max(measured))
        print(f"{statement:44}" + "".join(f"{1000 * figure:>7.0f} ms" for figure in figures))


if __name__ == "__main__":
    main()

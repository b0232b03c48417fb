"""Kill the encoding of a collection again and again, and compare what the last run leaves with an undisturbed run's.

    python benchmarks/dataset_kills.py [--count 20] [--rows 400000]

Each round begins with an empty directory, kills the process (SIGKILL) at a random time within that of an undisturbed
run, runs the same command to its end, and compares the SHA-256 of every file and the numbers of the rows.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
from dataset import write_rows
from encoding import MODEL, read_texts


def checksums(out: Path) -> dict[str, str]:
    """The SHA-256 of each file of an output directory."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("[!.]*")}


def main() -> None:
    """Print a line for each kill, and fail at the first output that is another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        source, out = folder / "texts.parquet", folder / "out"
        write_rows(source, read_texts(None), options.rows)
        program = "import sys; from wordllama_st.cli.main import main; sys.exit(main())"
        command = [sys.executable, "-c", program, "encode", MODEL, str(source), "--precision", "int8", "--out"]
        started = time.perf_counter()
        subprocess.run([*command, str(folder / "undisturbed")], check=True, capture_output=True)
        duration = time.perf_counter() - started
        expected = checksums(folder / "undisturbed")
        for number in range(options.count):
            process = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL)
            after = chance.uniform(0, duration)
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
            was_killed = process.wait() == -signal.SIGKILL
            there = len(list(out.glob("part-*")))
            subprocess.run([*command, str(out)], check=True, capture_output=True)
            if checksums(out) != expected:
                raise SystemExit(f"Kill {number} after {after:.2f} s: the output is another.")
            parts = sorted(out.glob("part-*"))
            if [n for path in parts for n in pq.read_table(path, columns=["id"]).column(0).to_pylist()] != list(
                range(options.rows)
            ):
                raise SystemExit(f"Kill {number} after {after:.2f} s: rows are missing, doubled or out of order.")
            what = "killed" if was_killed else "finished before it was killed"
            print(f"{number:>4}  {what} after {after:6.2f} s with {there:>3} of {len(parts)} parts; the same bytes")
            shutil.rmtree(out)


if __name__ == "__main__":
    main()

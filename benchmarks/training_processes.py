"""Training in two processes beside one: pairs/s, and the memory of the table, which both map from one file.

The same training by the recipe's own function: one process of one thread with batches of 512 pairs, then two processes
of one thread that share them (torchrun, gloo); in turn, several times, so that the machine's moods meet both. What two
processes reach that have nothing to do with one another, each with half of the pairs, is the most that the machine has
to give.

    python benchmarks/training_processes.py [--dim 1024] [--steps 20] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import truediv
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset
from training_speed import BATCH_SIZE, MATRYOSHKA_DIMS, OURS, OUT_DIM, batches, build

from wordllama_st import Codebook, build_model
from wordllama_st.data.datasets import infer_training_data
from wordllama_st.training.processes import processes
from wordllama_st.training.supervised import train_supervised

ROWS = 2 * BATCH_SIZE
EPOCHS = 3
#: What is shown of the table's mapping, by the kernel's names.
MEMORY = {"Rss": "in memory", "Private_Dirty": "written by this process", "Anonymous": "not backed by the file"}


def contend(folder: Path, rows: int) -> None:
    """Train on the folder's codebook and pairs, and write what this process measured."""
    model = build_model(Codebook.load(folder / "codebook"), dim=OUT_DIM, initialize="random", max_seq_length=256)
    data = infer_training_data(Dataset.from_json(str(folder / "pairs.jsonl")), None, "pairs")
    seconds = train_supervised(
        model, data, dims=MATRYOSHKA_DIMS, epochs=EPOCHS, batch_size=rows, show_progress_bar=False
    )
    # The mapping of the table: what is in memory of it, and what only this process has.
    (table,) = re.findall(r"codebook\.safetensors\n(?:(?:\w+: .*)\n)+", Path("/proc/self/smaps").read_text())
    memory = {key: int(size) * 1024 for key, size in re.findall(r"(\w+): +(\d+) kB", table)}
    result = {"seconds": seconds} | {key: memory[key] for key in MEMORY}
    (folder / f"{processes().process_index}.json").write_text(json.dumps(result))
    processes().destroy_process_group()


def run(count: int, rows: int, folder: Path) -> list[dict[str, Any]]:
    """Let so many processes train together, each with so many rows of a batch, and return what each measured."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    arguments = [__file__, "--folder", str(folder), "--rows", str(rows)]
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return [json.loads((folder / f"{index}.json").read_text()) for index in range(count)]


def apart(folders: list[Path]) -> list[dict[str, Any]]:
    """Let a process train in each folder at the same time."""
    with ThreadPoolExecutor(len(folders)) as pool:
        return [result for (result,) in pool.map(partial(run, 1, ROWS // len(folders)), folders)]


def write_pairs(folder: Path, pairs: list[tuple[str, str]]) -> None:
    """Write the pairs that are trained on in a folder."""
    lines = (json.dumps({"summary": summary, "body": body}) for summary, body in pairs)
    (folder / "pairs.jsonl").write_text("\n".join(lines))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=20, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        contend(options.folder, options.rows)
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        halves = [folder / "0", folder / "1"]
        build(OURS, options.dim)[0].codebook.save(folder / "codebook")
        pairs = [pair for part in batches(2 * options.steps) for pair in zip(*part, strict=True)]
        write_pairs(folder, pairs)
        for number, half in enumerate(halves):
            half.mkdir()
            (half / "codebook").symlink_to(folder / "codebook")
            write_pairs(half, pairs[number::2])
        contenders = {
            "one process": partial(run, 1, ROWS, folder),
            "two processes": partial(run, 2, ROWS // 2, folder),
            "two apart": partial(apart, halves),
        }
        times: dict[str, list[float]] = {label: [] for label in contenders}
        for number in range(1, options.rounds + 1):
            for label, train in contenders.items():
                results = train()
                times[label].append(max(result["seconds"] for result in results))
                if label == "two processes":
                    memory = results
            shown = ", ".join(f"{label} {seconds[-1]:.1f} s" for label, seconds in times.items())
            print(f"round {number}: {shown}", flush=True)
    trained = EPOCHS * (len(pairs) // ROWS) * ROWS
    print(f"D = {options.dim:,} → {OUT_DIM:,}, {trained:,} pairs in batches of {ROWS}, {os.cpu_count()} cores")
    for label, seconds in times.items():
        ratios = sorted(map(truediv, times["one process"], seconds))
        print(
            f"{label:16}{trained / median(seconds):>8,.0f} pairs/s{median(ratios):>8.2f}x "
            f"({ratios[0]:.2f}-{ratios[-1]:.2f}), round by round"
        )
    for index, each in enumerate(memory, 1):
        print(f"table, {index} of 2    " + ", ".join(f"{each[key] / 2**20:.1f} MB {MEMORY[key]}" for key in MEMORY))


if __name__ == "__main__":
    main()

"""Training in two processes beside one: pairs/s, and the memory of the table, which both map from one file.

The same training by the recipe's own function: one process of one thread with batches of 512 pairs, then two processes
of one thread that share them (torchrun, gloo); in turn, several times, so that the machine's moods meet both.

    python benchmarks/training_processes.py [--dim 1024] [--steps 10] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from operator import truediv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset
from training_speed import BATCH_SIZE, MATRYOSHKA_DIMS, OURS, OUT_DIM, batches, build

from wordllama_st import Codebook, build_model
from wordllama_st.data.datasets import infer_training_data
from wordllama_st.training.processes import num_processes, processes
from wordllama_st.training.supervised import train_supervised

ROWS = 2 * BATCH_SIZE


def contend(folder: Path) -> None:
    """Train on the folder's codebook and pairs, and write what this process measured."""
    model = build_model(Codebook.load(folder / "codebook"), dim=OUT_DIM, initialize="random", max_seq_length=256)
    data = infer_training_data(Dataset.from_json(str(folder / "pairs.jsonl")), None, "pairs")
    rows = ROWS // num_processes()
    seconds = train_supervised(model, data, dims=MATRYOSHKA_DIMS, epochs=1, batch_size=rows, show_progress_bar=False)
    # The mapping of the table: what is in memory of it, and what only this process has.
    (table,) = re.findall(r"codebook\.safetensors\n(?:(?:\w+: .*)\n)+", Path("/proc/self/smaps").read_text())
    memory = {key: int(size) * 1024 for key, size in re.findall(r"(\w+): +(\d+) kB", table)}
    result = {
        "seconds": seconds,
        "rss": memory["Rss"],
        "private": memory["Private_Dirty"],
        "anonymous": memory["Anonymous"],
    }
    (folder / f"{processes().process_index}.json").write_text(json.dumps(result))
    processes().destroy_process_group()


def run(folder: Path, count: int) -> list[dict[str, Any]]:
    """Let so many processes train together, and return what each measured."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [*command, __file__, "--folder", str(folder)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    return [json.loads((folder / f"{index}.json").read_text()) for index in range(count)]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        contend(options.folder)
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        build(OURS, options.dim)[0].codebook.save(folder / "codebook")
        pairs = [pair for part in batches(2 * options.steps) for pair in zip(*part, strict=True)]
        lines = (json.dumps({"summary": summary, "body": body}) for summary, body in pairs)
        (folder / "pairs.jsonl").write_text("\n".join(lines))
        rounds = []
        for number in range(1, options.rounds + 1):
            rounds.append((run(folder, 1), run(folder, 2)))
            shown = " and ".join(f"{max(each['seconds'] for each in result):.1f} s" for result in rounds[-1])
            print(f"round {number}: {shown} by one and two processes", flush=True)
    one, two = ([part[number] for part in rounds] for number in (0, 1))
    print(f"D = {options.dim:,} → {OUT_DIM:,}, {len(pairs):,} pairs in batches of {ROWS}, {os.cpu_count()} cores")
    for label, results in (("one process", one), ("two processes", two)):
        rates = sorted(len(pairs) // ROWS * ROWS / max(each["seconds"] for each in result) for result in results)
        print(f"{label:16}{statistics.median(rates):>8,.0f} pairs/s ({rates[0]:,.0f}-{rates[-1]:,.0f})")
    seconds = [[max(each["seconds"] for each in result) for result in results] for results in (one, two)]
    ratios = sorted(map(truediv, *seconds))
    print(f"{'speed-up':16}{statistics.median(ratios):>8.2f}x ({ratios[0]:.2f}-{ratios[-1]:.2f}), round by round")
    for index, each in enumerate(two[-1]):
        shown = ", ".join(f"{each[key] / 2**20:.1f} MB {what}" for key, what in MEMORY.items())
        print(f"table, {index + 1} of 2    {shown}")


MEMORY = {"rss": "in memory", "private": "written by this process", "anonymous": "not backed by the file"}

if __name__ == "__main__":
    main()

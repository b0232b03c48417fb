"""What test_processes.py does in one process and in two: each job that can be shared, on the files of a folder.

torchrun --nproc-per-node 2 several_processes.py FOLDER ROWS
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from wordllama_st import distill, finetune, train
from wordllama_st.cli.main import main

RELEASED = "wordllama-l2-supercat-64"


def run(folder: Path, out: Path, rows: int) -> int:
    """Save the models in ``out``, with batches of so many rows in each process."""
    codebook, pairs, scored = folder / "codebook", folder / "pairs.csv", folder / "scored.csv"
    settings: dict[str, Any] = {"batch_size": rows, "epochs": 1, "show_progress_bar": False}
    train(codebook, [pairs, scored], out / "mixed", dim=16, dims=[16, 8], hold_out=0, **settings)
    finetune(RELEASED, folder / "queries.jsonl", out / "queries", vectors_column="vector", hold_out=0, **settings)
    texts, teacher = [folder / "texts.txt"], folder / "teacher"
    distill(codebook, texts, out / "distilled", teacher=teacher, dim=16, every_row=True, **settings)
    # At last by the command line, which ends the processes' connection.
    command = ["train", codebook, pairs, "--out", out / "trained", "--checkpoint-dir", out / "checkpoints"]
    options = {"--batch-size": rows, "--dim": 16, "--hold-out": 0.2, "--json": out / "report.json"}
    return main([str(word) for word in (*command, *(word for option in options.items() for word in option))])


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))

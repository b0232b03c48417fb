"""Checkpoint directories: each belongs to one run, which resumes from its last complete checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from datasets import Dataset

from wordllama_st.errors import TrainingError
from wordllama_st.storage.staging import check_or_record

RUN_FILE = "run.json"
#: What the Trainer writes after the weights, in this order.
COMPLETE = ("optimizer.pt", "scheduler.pt", "trainer_state.json")


def last_complete_checkpoint(directory: Path) -> Path | None:
    """Return the newest checkpoint that was written completely; a run killed while saving leaves one that was not."""
    complete = [path for path in directory.glob("checkpoint-*") if all((path / name).is_file() for name in COMPLETE)]
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def check_or_record_run(directory: Path, run: dict[str, Any]) -> None:
    """Record what a run trains, or check that a directory's checkpoints are of the same run.

    Raises:
        TrainingError: If the directory's checkpoints are of another run (the message says what differs), or of one
            without a record.
        ModelLoadError: If the record is damaged.
    """
    path = directory / RUN_FILE
    if not path.is_file() and any(directory.glob("checkpoint-*")):
        raise TrainingError(f"{directory} has checkpoints, but no {RUN_FILE} that says of which run; choose another.")
    if different := check_or_record(path, run):
        raise TrainingError(
            f"The checkpoints in {directory} are of a run with another {' and another '.join(different)}. Continue "
            f"that run, or choose another directory."
        )


def dataset_sha256(rows: Dataset) -> str:
    """Return the SHA-256 of a dataset's content."""
    sha256 = hashlib.sha256()
    for batch in rows.iter(batch_size=1000):
        sha256.update(json.dumps(batch, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return sha256.hexdigest()

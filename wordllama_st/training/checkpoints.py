"""Checkpoint directories: each belongs to one run, which resumes from its last complete checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from torch import nn

from wordllama_st.errors import TrainingError
from wordllama_st.storage.safetensors_file import read_header
from wordllama_st.storage.staging import check_or_record, sole_user

RUN_FILE = "run.json"
#: The key of the starting weights in it.
START = "starting weights"
#: Numbers that stand for each parameter's starting weights, and how far, of their norm, the same start may be from
#: them: principal components have other roundings with another number of threads.
SKETCH, SAME_START = 64, 0.01
#: What the Trainer writes after the weights, in this order.
COMPLETE = ("optimizer.pt", "scheduler.pt", "trainer_state.json")


@contextmanager
def sole_run(directory: Path) -> Iterator[None]:
    """Keep other runs out of a directory of checkpoints, which has its record, while the block runs.

    Raises:
        TrainingError: If another process trains there.
    """
    with sole_user(directory / RUN_FILE) as is_alone:
        if not is_alone:
            raise TrainingError(
                f"Another process keeps its checkpoints in {directory} now; wait for it, or choose another directory."
            )
        yield


def last_complete_checkpoint(directory: Path) -> Path | None:
    """Return the newest checkpoint that was written completely; a run killed while saving leaves one that was not."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in directory.glob("checkpoint-*")}
    complete = [path for path, step in steps.items() if step.isdecimal() and _is_complete(path)]
    return max(complete, key=lambda path: int(steps[path]), default=None)


def _is_complete(checkpoint: Path) -> bool:
    """Tell whether all files of a checkpoint are there, none of them cut short."""
    return all((checkpoint / name).is_file() for name in COMPLETE) and all(map(_is_whole, checkpoint.rglob("*.*")))


def _is_whole(path: Path) -> bool:
    """Tell whether a file has its end, if that can be seen without reading what may be gigabytes."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".safetensors":
            read_header(path)
        elif path.suffix in (".pt", ".pth"):
            return is_zipfile(path)  # its directory is a zip file's end
    except (ValueError, OSError, RecursionError, BadZipFile):
        return False
    return True


def check_or_record_run(directory: Path, run: dict[str, Any], model: nn.Module) -> None:
    """Record what a run trains, or check that a directory's checkpoints are of the same run.

    Args:
        directory: Of the checkpoints.
        run: What must be the same.
        model: The model at the run's start.

    Raises:
        TrainingError: If the directory's checkpoints are of another run (the message says what differs), or of one
            without a record.
        ModelLoadError: If the record is damaged.
    """
    path = directory / RUN_FILE
    if not path.is_file() and any(directory.glob("checkpoint-*")):
        raise TrainingError(f"{directory} has checkpoints, but no {RUN_FILE} that says of which run; choose another.")
    start = sketch(model)
    different = check_or_record(path, run, {START: start})
    if not different and not _is_close(dict(json.loads(path.read_text(encoding="utf-8"))).get(START), start):
        different = [f"start ({START})"]
    if different:
        raise TrainingError(
            f"The checkpoints in {directory} are of a run with another {' and another '.join(different)}. Continue "
            f"that run, or choose another directory."
        )


def sketch(model: nn.Module) -> list[list[float]]:
    """Sum up a model's trainable weights in some numbers for each parameter, [P, 64].

    Two models' numbers are about as far from each other as their weights (count sketch; Charikar et al., ICALP 2002).
    """
    generator = torch.Generator().manual_seed(0)
    sums = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            weights = parameter.detach().cpu().float().flatten()
            signs = torch.randint(2, weights.shape, dtype=torch.int8, generator=generator) * 2 - 1
            sums.append(F.pad(weights * signs, (0, -len(weights) % SKETCH)).view(-1, SKETCH).sum(dim=0))
    return [[float(f"{number:.6g}") for number in numbers.tolist()] for numbers in sums]


def _is_close(recorded: Any, start: list[list[float]]) -> bool:
    try:
        before, now = np.array(recorded, np.float64), np.array(start, np.float64)
        distances, norms = np.linalg.norm(before - now, axis=1), np.linalg.norm(now, axis=1)
    except (TypeError, ValueError, OverflowError):  # there is none, or it is of other parameters
        return False
    return bool((distances <= SAME_START * norms).all())


def dataset_sha256(rows: Dataset) -> str:
    """Return the SHA-256 of a dataset's content."""
    sha256 = hashlib.sha256()
    for batch in rows.iter(batch_size=1000):
        sha256.update(json.dumps(batch, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return sha256.hexdigest()

"""Records of runs that were begun: of a dataset's output, and of training."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from target import Target

from wordllama_st.static.dataset.output import Manifest, Part
from wordllama_st.static.dataset.report import SkippedFile
from wordllama_st.training.checkpoints import check_or_record_run, last_complete_checkpoint

MADE_OF = {"inputs": ["a.parquet"], "text_column": "text", "part_rows": 32768}
RUN = {"data": "abc", "seed": 1}


def write_manifest(folder: Path) -> None:
    """The output of a run that skipped a file."""
    (folder / "out").mkdir()
    manifest = Manifest.open(folder / "out", MADE_OF, "a model", overwrite=False)
    manifest.ranges = [[-1.0, 1.0], [0.0, 2.0]]
    manifest.skipped.append(SkippedFile("b.parquet", 7, "cut short"))
    manifest.finish([Part("part-00000.parquet", 5, 1, "abc")])


def read_manifest(folder: Path, name: str) -> None:
    """Take the run up, and begin it anew."""
    content = (folder / name).read_bytes()
    for overwrite in (False, True):
        (folder / name).write_bytes(content)
        Manifest.open(folder / "out", MADE_OF, "a model", overwrite=overwrite)


def write_checkpoints(folder: Path) -> None:
    """A checkpoint as the Trainer writes it, and the record of its run."""
    check_or_record_run(folder, RUN, model())
    checkpoint = folder / "checkpoint-10"
    checkpoint.mkdir()
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.save({"a": torch.ones(3)}, checkpoint / name)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": 10, "log_history": [{"loss": 0.5}]}))


def model() -> torch.nn.Module:
    """The model that is trained."""
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def read_checkpoints(folder: Path, name: str) -> None:
    """Look for the checkpoint to go on from."""
    last_complete_checkpoint(folder)
    check_or_record_run(folder, RUN, model())


TARGETS = [
    Target("manifest", write_manifest, ("out/manifest.json",), read_manifest),
    Target(
        "checkpoints",
        write_checkpoints,
        ("run.json", "checkpoint-10/trainer_state.json", "checkpoint-10/optimizer.pt"),
        read_checkpoints,
    ),
]

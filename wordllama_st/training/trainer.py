"""Running the library's own Trainer, with the settings that suit models of this kind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers
from torch import nn
from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments

from wordllama_st.errors import ArgumentError
from wordllama_st.modules import LLMTokenEmbedding, WeightedPool
from wordllama_st.training.checkpoints import check_or_record_run, dataset_sha256, last_complete_checkpoint
from wordllama_st.training.teacher import fingerprint

#: WeightedPool's parameter, among the names of a model's. A token's weight is met rarely, so its steps are longer.
TOKEN_WEIGHTS = r"\.weights$"
TOKEN_WEIGHT_STEPS = 10


def fit(
    model: SentenceTransformer,
    datasets: Mapping[str, Dataset],
    losses: Mapping[str, nn.Module],
    *,
    epochs: float,
    batch_size: int,
    learning_rate: float,
    seed: int = 42,
    checkpoint_dir: str | Path | None = None,
    save_steps: int = 500,
    show_progress_bar: bool = True,
    run: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> SentenceTransformerTrainer:
    """Train a model in place.

    Args:
        model: What to train.
        datasets: What to train on, by name; each batch comes from one of them.
        losses: One for each.
        epochs: Times to go over the data.
        batch_size: Rows per step.
        learning_rate: The highest, from which it falls to zero in a straight line; token weights take ten times that.
        seed: Fixes the order of the rows.
        checkpoint_dir: Where to keep checkpoints, every ``save_steps``; if it has some, training goes on from the
            last complete one. None keeps none.
        save_steps: Steps between checkpoints.
        show_progress_bar: Whether to show one.
        run: What else tells this run from another one, for ``checkpoint_dir``.
        **arguments: Any other of the library's ``SentenceTransformerTrainingArguments``.

    Returns:
        The trainer, after training.

    Raises:
        ArgumentError: If the checkpoints are another run's, or training diverged.
    """
    checkpoint = None
    if checkpoint_dir is not None:
        check_or_record_run(
            Path(checkpoint_dir),
            {
                "model": [repr(module) for module in model],
                "codebook": _digest_of_table(model),
                "data": {name: dataset_sha256(rows) for name, rows in datasets.items()},
                "batch size": batch_size,
                "learning rate": learning_rate,
                "seed": seed,
                **(run or {}),
            },
        )
        checkpoint = last_complete_checkpoint(Path(checkpoint_dir))
    weighted = any(isinstance(module, WeightedPool) for module in model)
    with TemporaryDirectory() as scratch:
        settings: dict[str, Any] = {
            "num_train_epochs": epochs,
            "per_device_train_batch_size": batch_size,
            "learning_rate": learning_rate,
            "learning_rate_mapping": {TOKEN_WEIGHTS: TOKEN_WEIGHT_STEPS * learning_rate} if weighted else {},
            "lr_scheduler_type": "linear",
            # A text that is in a batch twice would be its own negative.
            "batch_sampler": BatchSamplers.NO_DUPLICATES,
            "seed": seed,
            "disable_tqdm": not show_progress_bar,
            "logging_steps": 10,
            "report_to": "none",
            "dataloader_pin_memory": torch.cuda.is_available(),
            "save_strategy": "no" if checkpoint_dir is None else "steps",
            "save_steps": save_steps,
            "save_total_limit": 2,
        }
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(str(checkpoint_dir or scratch), **(settings | arguments)),
            train_dataset=DatasetDict(datasets),
            loss=dict(losses),
        )
        if show_progress_bar:
            trainer.remove_callback(ProgressCallback)
            trainer.add_callback(TrainingBar)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ArgumentError(f"Training diverged. Try a learning rate well below {learning_rate:g}.")
    return trainer


def _digest_of_table(model: SentenceTransformer) -> str | None:
    """A sha256 of the table that the model is made from: the frozen one, or the one that is trained itself."""
    first = model[0]
    return first.codebook.provenance.sha256 if isinstance(first, LLMTokenEmbedding) else fingerprint(model)


def since(start: float) -> str:
    """The time since a reading of ``time.perf_counter``, for people."""
    return f"{time.perf_counter() - start:.0f} s"


class TrainingBar(ProgressCallback):
    """The Trainer's bar, with the latest loss behind it."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Name the bar."""
        super().on_train_begin(args, state, control, **kwargs)
        if self.training_bar is not None:
            self.training_bar.set_description("Training")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Show the loss."""
        if state.is_world_process_zero and self.training_bar is not None and "loss" in (logs or {}):
            self.training_bar.set_postfix(loss=f"{float(logs['loss']):.3f}")

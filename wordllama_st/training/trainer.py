"""The Trainer of sentence-transformers, with settings that suit projections, token weights and static tables."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from copy import copy
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
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from torch import nn
from transformers import PrinterCallback, ProgressCallback, TrainerControl, TrainerState, TrainingArguments

from wordllama_st.disk import TEMPORARY
from wordllama_st.errors import DatasetError, OutputError, TrainingError, reason
from wordllama_st.modules import LLMTokenEmbedding, WeightedPool
from wordllama_st.training.batches import DistinctBatches
from wordllama_st.training.checkpoints import (
    check_or_record_run,
    dataset_sha256,
    last_complete_checkpoint,
    sole_run,
)
from wordllama_st.training.processes import from_main_process, num_processes, processes
from wordllama_st.training.teacher import fingerprint

logger = logging.getLogger(__name__)

#: Pattern of WeightedPool's parameter. A token occurs in few batches, so the learning rate of its weight is higher.
TOKEN_WEIGHTS = r"\.weights$"
TOKEN_WEIGHT_STEPS = 10


def run_trainer(
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
    show_progress_bar: bool | None = None,
    run: Mapping[str, Any] | None = None,
    data_collator: SentenceTransformerDataCollator | None = None,
    **arguments: Any,
) -> float:
    """Train a model in place, each batch from one of the datasets with its loss; return the seconds.

    In several processes, each takes its part of every batch, so that the batches are those of one process with a
    batch as large as all of theirs. A run may be resumed with another number of processes and the same whole batch.

    Args:
        batch_size: Rows of a step in each process.
        learning_rate: The peak, from which it decays linearly to zero; token weights take ten times that.
        run: What else identifies the run that the checkpoints belong to.
        data_collator: Makes batches of rows; the Trainer's own if None.
        **arguments: Other ``SentenceTransformerTrainingArguments``.

    Raises:
        DatasetError: If a dataset has fewer rows than a batch of several processes.
        TrainingError: If the checkpoints belong to another run, another process writes some there now, or training
            diverged.
        OutputError: If a checkpoint cannot be written.
    """
    if show_progress_bar is None:
        show_progress_bar = logger.isEnabledFor(logging.INFO)
    whole_batch = batch_size * num_processes()
    if num_processes() > 1:
        _check_rows(datasets, whole_batch)
    checkpoint = None
    if checkpoint_dir is not None:
        from_main_process(
            check_or_record_run,
            Path(checkpoint_dir),
            {
                "model": [repr(module) for module in model],
                "codebook": _table_sha256(model),
                "data": {name: dataset_sha256(rows) for name, rows in datasets.items()},
                "batch size": whole_batch,
                "learning rate": learning_rate,
                "seed": seed,
                **(run or {}),
            },
            model,
        )
    weighted = any(isinstance(module, WeightedPool) for module in model)
    with TemporaryDirectory(prefix=TEMPORARY) as scratch, ExitStack() as held:
        if checkpoint_dir is not None:
            from_main_process(lambda: held.enter_context(sole_run(Path(checkpoint_dir))))
            checkpoint = last_complete_checkpoint(Path(checkpoint_dir))
        settings: dict[str, Any] = {
            "num_train_epochs": epochs,
            # By default, each process takes every other batch: texts could be twice among all that are compared, and
            # the processes could be at batches of different datasets. A batch is split instead, in equal parts.
            "per_device_train_batch_size": whole_batch,
            "accelerator_config": {"split_batches": True},
            "ddp_find_unused_parameters": False,
            "dataloader_drop_last": num_processes() > 1,
            "use_cpu": processes().device.type == "cpu",
            "learning_rate": learning_rate,
            "learning_rate_mapping": {TOKEN_WEIGHTS: TOKEN_WEIGHT_STEPS * learning_rate} if weighted else {},
            "lr_scheduler_type": "linear",
            # A text that is twice in a batch would be its own negative.
            "batch_sampler": DistinctBatches,
            "seed": seed,
            "disable_tqdm": not show_progress_bar,
            "logging_steps": 10,
            "report_to": "none",
            "dataloader_pin_memory": torch.cuda.is_available(),
            "save_strategy": "no" if checkpoint_dir is None else "steps",
            "save_steps": save_steps,
            "save_total_limit": 2,
        }
        # Copies, since the Trainer sets a transform on them, by which a second run would see other data. Of several
        # datasets, it reads each row on its own; of one, a batch at a time.
        train_dataset: Any = DatasetDict({name: copy(rows) for name, rows in datasets.items()})
        loss: Any = dict(losses)
        if len(train_dataset) == 1:
            (train_dataset,), (loss,) = train_dataset.values(), loss.values()
        trainer = CheckpointingTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(str(checkpoint_dir or scratch), **(settings | arguments)),
            train_dataset=train_dataset,
            loss=loss,
            data_collator=data_collator,
        )
        # By default the Trainer prints each log, as a line or into its bar. The loss belongs in the bar.
        trainer.remove_callback(ProgressCallback if show_progress_bar else PrinterCallback)
        if show_progress_bar:
            trainer.add_callback(TrainingBar)
        start = time.perf_counter()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        seconds = time.perf_counter() - start
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise TrainingError(f"Training diverged. Try a learning rate well below {learning_rate:g}.")
    return seconds


def _check_rows(datasets: Mapping[str, Dataset], whole_batch: int) -> None:
    """Refuse a dataset that gives not one batch, where a batch that is not full is left out."""
    for name, rows in datasets.items():
        if len(rows) < whole_batch:
            raise DatasetError(
                f"{num_processes()} processes take {whole_batch:,} rows at a time, and {name} has {len(rows):,} to "
                f"train on; choose a batch size of at most {len(rows) // num_processes():,}."
            )


def _table_sha256(model: SentenceTransformer) -> str | None:
    """Return the SHA-256 of a model's frozen table; of a static model, a fingerprint of the whole model."""
    first = model[0]
    return first.codebook.provenance.sha256 if isinstance(first, LLMTokenEmbedding) else fingerprint(model)


class CheckpointingTrainer(SentenceTransformerTrainer):
    """The Trainer of sentence-transformers, with one error for a checkpoint that cannot be written."""

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:  # torch raises RuntimeError where a disk is full, and tokenizers a bare Exception
            raise OutputError(
                f"A checkpoint in {self.args.output_dir} cannot be written: {reason(error)}. Make room and run again; "
                f"complete ones stay."
            ) from error


class TrainingBar(ProgressCallback):
    """The Trainer's progress bar, with the latest loss."""

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

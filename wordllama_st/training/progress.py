"""How far long work is: a training bar that carries the loss, where the library's prints a line for every log."""

from __future__ import annotations

import time
from typing import Any

from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments


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

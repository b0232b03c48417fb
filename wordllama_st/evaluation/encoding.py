"""The texts of some tasks as a model encodes them: each once, at full dim, and how fast."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from statistics import median

from wordllama_st.errors import ArgumentError
from wordllama_st.evaluation.models import ScoredModel
from wordllama_st.evaluation.task import Task
from wordllama_st.evaluation.vectors import Role, TaskVectors
from wordllama_st.static.precision import Precision
from wordllama_st.static.similarity import Vectors

#: Texts whose encoding is timed, how often, and when to leave it at that, in seconds.
SPEED_TEXTS, SPEED_ROUNDS, SPEED_SECONDS = 1000, 5, 20.0
#: Seconds for which a model must have encoded before its time is taken: caches are full then, and threads are there.
_WARM_SECONDS = 0.3


class EncodedTexts:
    """The vectors that a model gives to the texts of some tasks; every dim and precision is taken from these.

    Args:
        model: The model.
        tasks: The tasks.
        show_progress_bar: Whether to show one.
    """

    def __init__(self, model: ScoredModel, tasks: Sequence[Task], show_progress_bar: bool = False) -> None:
        self.model = model
        texts: dict[Role, dict[str, None]] = {}
        for task in tasks:
            for role, own in task.texts().items():
                texts.setdefault(self._role(role), {}).update(dict.fromkeys(own))
        start = time.perf_counter()
        self._vectors: dict[Role, Vectors] = {
            role: model.encode(list(own), role, show_progress_bar) for role, own in texts.items()
        }
        self._seconds = time.perf_counter() - start
        self._rows = {role: {text: row for row, text in enumerate(own)} for role, own in texts.items()}

    def of_task(self, task: Task, dim: int | None = None, precision: Precision = "float32") -> TaskVectors:
        """The vectors of one of the tasks.

        Raises:
            ArgumentError: If the model has fewer dims.
            EvaluationError: As for :class:`TaskVectors`.
        """
        dim = check_dim(self.model, dim)
        texts: dict[Role, Sequence[str]] = {role: list(dict.fromkeys(own)) for role, own in task.texts().items()}
        vectors = {role: self._of(self._role(role), own) for role, own in texts.items()}
        return TaskVectors(
            texts, vectors, dim, precision, f"{self.model.name} ({dim} dims, {precision}) on {task.name}"
        )

    def texts_per_second(self) -> float:
        """How fast the model encodes these texts, warm: the median over some rounds of a fixed sample of them."""
        role = "text" if "text" in self._rows else next(iter(self._rows))
        texts = list(self._rows[role])
        sample = random.Random(0).sample(texts, min(SPEED_TEXTS, len(texts)))
        rounds: list[float] = []
        warmed = self._seconds
        while warmed < _WARM_SECONDS:
            warmed += self._time(sample, role)
        while len(rounds) < SPEED_ROUNDS and sum(rounds) < SPEED_SECONDS:
            rounds.append(self._time(sample, role))
        return len(sample) / median(rounds)

    def _time(self, texts: Sequence[str], role: Role) -> float:
        start = time.perf_counter()
        self.model.encode(texts, role, False)
        return time.perf_counter() - start

    def _role(self, role: Role) -> Role:
        return role if self.model.tells_roles else "text"

    def _of(self, role: Role, texts: Sequence[str]) -> Vectors:
        rows = self._rows[role]
        return self._vectors[role][[rows[text] for text in texts]]


def check_dim(model: ScoredModel, dim: int | None) -> int:
    """The dim to cut to: the model's own if none is given.

    Raises:
        ArgumentError: If the model has fewer.
    """
    if dim is None:
        return model.dim
    if not 1 <= dim <= model.dim:
        raise ArgumentError(f"{model.name}'s vectors have {model.dim} dimensions; they cannot be cut to {dim}.")
    return dim

"""What came of an evaluation: scores, sizes and speeds, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import mean

from wordllama_st.errors import ArgumentError
from wordllama_st.static.precision import Precision

#: Of the JSON; it changes when something there changes its meaning.
SCHEMA = 1
_BITS = {"float32": 32, "int8": 8, "uint8": 8, "binary": 1, "ubinary": 1}


@dataclass(frozen=True)
class ModelResult:
    """A model that was scored.

    Attributes:
        name: What it is called here.
        source: What it was loaded from.
        dim: D, the length of its vectors.
        size: Bytes on disk, None if unknown.
        runtime: What encoded: ``"StaticEncoder"`` or ``"SentenceTransformer"``.
        threads: Threads it encoded with (the tokenizer may take more), None on an accelerator.
        texts_per_second: How many of the tasks' texts it encoded in a second, warm, at full dim.
    """

    name: str
    source: str
    dim: int
    size: int | None
    runtime: str
    threads: int | None
    texts_per_second: float


@dataclass(frozen=True)
class TaskResult:
    """A task that models were scored on: its name, its kind, its main metric (by its key, and in words), its size."""

    name: str
    kind: str
    metric: str
    metric_name: str
    size: str


@dataclass(frozen=True)
class Score:
    """What a model scored on a task at a dim and a precision: its main metric, and all of them, each 1 at the most."""

    model: str
    dim: int
    precision: Precision
    kind: str
    task: str
    score: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Report:
    """Scores of models on tasks.

    Attributes:
        models: The models, in the order given.
        tasks: The tasks, in the order given.
        scores: For each model, dim, precision and task.
        cores: Cores that the machine has for this process.
    """

    models: tuple[ModelResult, ...]
    tasks: tuple[TaskResult, ...]
    scores: tuple[Score, ...]
    cores: int

    def settings(self, model: str | None = None) -> list[tuple[str, int, Precision]]:
        """The (model, dim, precision) that were scored, in order; of one model if one is named."""
        found = dict.fromkeys((score.model, score.dim, score.precision) for score in self.scores)
        return [setting for setting in found if model in (None, setting[0])]

    def of(self, model: str, dim: int, precision: Precision) -> list[Score]:
        """A model's scores at a dim and precision, in the order of the tasks."""
        return [score for score in self.scores if (score.model, score.dim, score.precision) == (model, dim, precision)]

    def mean(
        self, model: str, dim: int | None = None, precision: Precision | None = None, kind: str | None = None
    ) -> float:
        """The mean of a model's main scores over the tasks.

        Args:
            model: Its name.
            dim: At which dim; the largest it was scored at if None.
            precision: In which precision; the first it was scored in if None.
            kind: Over the tasks of this kind only.

        Raises:
            ArgumentError: If there are no such scores.
        """
        settings = self.settings(model)
        if settings:
            dim = max(setting[1] for setting in settings) if dim is None else dim
            precision = settings[0][2] if precision is None else precision
            found = [one.score for one in self.of(model, dim, precision) if kind in (None, one.kind)]
            if found:
                return mean(found)
        raise ArgumentError(f"There are no scores of {model} with dim {dim}, precision {precision} and kind {kind}.")

    def to_text(self) -> str:
        """Three tables: the tasks, the scores x 100, the models."""
        parts = [
            _table([["task", "kind", "score, x 100", "size"], *self._task_rows()], left=(0, 1, 2, 3)),
            _table(self._score_rows(), left=(0, 2)),
            _table([["model", "dims", "on disk", "texts/s", "encoded by"], *self._model_rows()], left=(0, 4)),
        ]
        return "\n\n".join(parts)

    def to_json(self) -> str:
        """All of it as JSON.

        An object with ``schema`` (1), ``wordllama_st`` (the version), ``cores``, and three lists of objects:

        - ``models``: ``name``, ``source``, ``dim``, ``size`` (bytes or null), ``runtime``, ``threads`` (or null),
          ``texts_per_second``.
        - ``tasks``: ``name``, ``kind``, ``metric`` (the key of the main one), ``metric_name``, ``size`` (in words).
        - ``rows``: ``model``, ``dim``, ``precision``, ``kind``, ``task``, ``score`` (the main metric) and ``metrics``
          (all of them by key). Scores are not multiplied by 100.
        """
        report = {
            "schema": SCHEMA,
            "wordllama_st": version("wordllama-st"),
            "cores": self.cores,
            "models": [asdict(model) for model in self.models],
            "tasks": [asdict(task) for task in self.tasks],
            "rows": [asdict(score) for score in self.scores],
        }
        return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)

    def _task_rows(self) -> list[list[str]]:
        return [[task.name, task.kind, task.metric_name, task.size] for task in self.tasks]

    def _score_rows(self) -> list[list[str]]:
        several = len(self.tasks) > 1
        kinds = ["", "", "", "bytes a", *(task.kind for task in self.tasks), *[""] * several]
        names = ["model", "dims", "precision", "vector", *(task.name for task in self.tasks), *["mean"] * several]
        rows = [kinds, names]
        for model, dim, precision in self.settings():
            cells = [f"{100 * score.score:.2f}" for score in self.of(model, dim, precision)]
            cells += [f"{100 * self.mean(model, dim, precision):.2f}"] * several
            rows.append([model, str(dim), precision, f"{vector_bytes(dim, precision):,}", *cells])
        return rows

    def _model_rows(self) -> list[list[str]]:
        return [
            [
                model.name,
                str(model.dim),
                readable_size(model.size),
                f"{model.texts_per_second:,.0f}",
                f"{encoded_by(model)} (of {self.cores} core{'s' * (self.cores != 1)})",
            ]
            for model in self.models
        ]


def vector_bytes(dim: int, precision: Precision) -> int:
    """Bytes that a vector takes."""
    return -(-dim * _BITS[precision] // 8)


def readable_size(size: int | None) -> str:
    """Bytes in megabytes, for people; a dash if they are not known."""
    return "-" if size is None else f"{size / 1e6:,.1f} MB"


def encoded_by(model: ModelResult) -> str:
    """What encoded, and with how many threads."""
    count = model.threads
    return f"{model.runtime}, " + ("on an accelerator" if count is None else f"{count} thread{'s' * (count != 1)}")


def _table(rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Columns aligned to the right, but for those that are named."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if column in left else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)

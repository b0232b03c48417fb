"""The result of an evaluation: scores, sizes and speeds, as objects, text and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import mean

from wordllama_st.errors import ArgumentError
from wordllama_st.evaluation.rankings import Comparison, Ranking, compare, ranking_tables, table
from wordllama_st.static.precision import Precision

#: Version of the JSON, raised when a value in it changes its meaning.
SCHEMA = 1
_BITS = {"float32": 32, "int8": 8, "uint8": 8, "binary": 1, "ubinary": 1}


@dataclass(frozen=True)
class ModelResult:
    """A scored model: its name in the report, what it was loaded from, and how it encoded."""

    name: str
    source: str
    dim: int  #: D, of its embeddings.
    size: int | None  #: Bytes on disk, None if unknown.
    runtime: str  #: What encoded: ``"StaticEncoder"`` or ``"SentenceTransformer"``.
    threads: int | None  #: Those it encoded with (the tokenizer may use more), None on an accelerator.
    texts_per_second: float  #: Speed at which it encoded the tasks' texts, warm, at full dim.

    def describe_size(self) -> str:
        """Write the size in megabytes, or a dash if it is unknown."""
        return "-" if self.size is None else f"{self.size / 1e6:,.1f} MB"

    def describe_runtime(self) -> str:
        """Write the runtime with its number of threads."""
        threads = "on an accelerator" if self.threads is None else _count(self.threads, "thread")
        return f"{self.runtime}, {threads}"


@dataclass(frozen=True)
class TaskResult:
    """A task that models were scored on: its name, kind, main metric (by its key, and in words), and size in words."""

    name: str
    kind: str
    metric: str
    metric_name: str
    size: str


@dataclass(frozen=True)
class Score:
    """A model's score on a task at one dim and precision: the main metric, and all metrics by key, each at most 1."""

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

    ``str(report)`` is tables: the tasks; the scores x 100, unless all tasks are retrieval; the rankings of each
    retrieval task; and the models.
    """

    models: tuple[ModelResult, ...]
    tasks: tuple[TaskResult, ...]
    scores: tuple[Score, ...]  #: One for each model, dim, precision and task.
    cores: int  #: CPU cores available to the process.
    rankings: tuple[Ranking, ...] = ()  #: One for each retrieval task and what ranks its documents.

    @property
    def is_retrieval(self) -> bool:
        """Whether all tasks are retrieval."""
        return all(task.kind == "retrieval" for task in self.tasks)

    def comparisons(self) -> list[Comparison]:
        """Test each two rows of the rankings against each other, the queries of all tasks together."""
        return compare(self.rankings)

    def settings(self, model: str | None = None) -> list[tuple[str, int, Precision]]:
        """List the scored (model, dim, precision), in order; those of one model if it is named."""
        found = dict.fromkeys((score.model, score.dim, score.precision) for score in self.scores)
        return [setting for setting in found if model in (None, setting[0])]

    def of(self, model: str, dim: int, precision: Precision) -> list[Score]:
        """List a model's scores at a dim and precision, in the order of the tasks."""
        return [score for score in self.scores if (score.model, score.dim, score.precision) == (model, dim, precision)]

    def mean(
        self, model: str, dim: int | None = None, precision: Precision | None = None, kind: str | None = None
    ) -> float:
        """Average a model's main scores over the tasks, or those of a kind.

        Without a dim it is the largest that was scored, and without a precision the first that was.

        Raises:
            ArgumentError: If there are no such scores.
        """
        if settings := self.settings(model):
            dim = max(setting[1] for setting in settings) if dim is None else dim
            precision = settings[0][2] if precision is None else precision
            if found := [score.score for score in self.of(model, dim, precision) if kind in (None, score.kind)]:
                return mean(found)
        raise ArgumentError(f"There are no scores of {model} with dim {dim}, precision {precision} and kind {kind}.")

    def score_rows(self, model: str | None = None) -> list[list[str]]:
        """List rows of a table: model, dim, precision, bytes per embedding, scores x 100, and their mean if several."""
        rows = []
        for name, dim, precision in self.settings(model):
            scores = [score.score for score in self.of(name, dim, precision)]
            scores += [mean(scores)] * (len(scores) > 1)
            size = -(-dim * _BITS[precision] // 8)
            rows.append([name, str(dim), precision, f"{size:,}", *(f"{100 * score:.2f}" for score in scores)])
        return rows

    def describe_cores(self) -> str:
        """Write the number of cores."""
        return _count(self.cores, "core")

    def __str__(self) -> str:
        tasks = [["task", "kind", "score, x 100", "size"]]
        tasks += [[task.name, task.kind, task.metric_name, task.size] for task in self.tasks]
        several = len(self.tasks) > 1
        scores = [
            ["", "", "", "bytes a", *(task.kind for task in self.tasks), *[""] * several],
            ["model", "dims", "precision", "vector", *(task.name for task in self.tasks), *["mean"] * several],
            *self.score_rows(),
        ]
        models = [["model", "dims", "on disk", "texts/s", "encoded by"]]
        for model in self.models:
            speed = f"{model.texts_per_second:,.0f}"
            runtime = f"{model.describe_runtime()} (of {self.describe_cores()})"
            models.append([model.name, str(model.dim), model.describe_size(), speed, runtime])
        tables = [table(tasks, left=(0, 1, 2, 3))]
        if not self.is_retrieval:
            tables.append(table(scores, left=(0, 2)))
        return "\n\n".join([*tables, *ranking_tables(self.rankings), table(models, left=(0, 4))])

    def to_json(self) -> str:
        """Write the report as JSON, an object.

        It has ``schema`` (1), ``wordllama_st`` (the version), ``cores``, and lists of objects, whose keys are the
        fields of the classes: ``models`` (:class:`ModelResult`), ``tasks`` (:class:`TaskResult`), ``rows``
        (:class:`Score`), ``rankings`` (:class:`~wordllama_st.evaluation.rankings.Ranking`, with the metrics of each
        query) and ``comparisons`` (:class:`~wordllama_st.evaluation.rankings.Comparison`). Scores are not multiplied
        by 100.
        """
        report = {"schema": SCHEMA, "wordllama_st": version("wordllama-st"), "cores": self.cores}
        report |= {"models": self.models, "tasks": self.tasks, "rows": self.scores}
        report |= {"rankings": self.rankings, "comparisons": self.comparisons()}
        return json.dumps(report, default=asdict, indent=2, ensure_ascii=False, allow_nan=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"

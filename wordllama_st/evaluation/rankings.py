"""Rankings of documents by models and by BM25: their metrics for each query, their times, and tests between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np
from scipy.stats import ttest_rel

from wordllama_st.static.precision import Precision

#: What the tables show, and the metric that is tested.
COLUMNS = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10", "recall@10": "recall@10", "recall@100": "recall@100"}
TESTED = "ndcg@10"


@dataclass(frozen=True)
class Ranking:
    """The documents of a retrieval task, as a model, BM25 or both of them rank them."""

    name: str  #: The model's, ``"BM25"``, or the model's with ``" + BM25"``.
    dim: int | None  #: None for BM25 alone; so is the precision.
    precision: Precision | None
    task: str
    metrics: dict[str, float]  #: The means over the queries, each at most 1.
    queries: dict[str, dict[str, float]]  #: The metrics of each query, by its id; empty for NanoBEIR.
    #: Median time from the text of one query to the scores of all documents, warm, in any precision as float32.
    milliseconds: float | None

    @property
    def row(self) -> tuple[str, int | None, Precision | None]:
        """What ranked them, which is the same in every task."""
        return self.name, self.dim, self.precision

    @property
    def label(self) -> str:
        """That in words."""
        return self.name if self.dim is None else f"{self.name}, {self.dim} dims, {self.precision}"


@dataclass(frozen=True)
class Comparison:
    """Two rows of rankings, by their labels, over the queries of all tasks."""

    first: str
    second: str
    difference: float  #: Mean nDCG@10 of the second less that of the first.
    p_value: float  #: Of a two-sided paired t-test; 1 where no query differs, or there is a single one.


def compare(rankings: Sequence[Ranking]) -> list[Comparison]:
    """Compare each two rows by nDCG@10, query by query, over all tasks together."""
    rows: dict[str, list[float]] = {}
    for ranking in rankings:
        if ranking.queries:
            rows.setdefault(ranking.label, []).extend(metrics[TESTED] for metrics in ranking.queries.values())
    return [
        Comparison(first, second, fmean(rows[second]) - fmean(rows[first]), _p_value(rows[first], rows[second]))
        for first, second in combinations(rows, 2)
    ]


def mean_rankings(rankings: Sequence[Ranking]) -> list[Ranking]:
    """Average each row's metrics and times over its tasks with results of queries."""
    rows: dict[tuple[str, int | None, Precision | None], list[Ranking]] = {}
    for ranking in rankings:
        if ranking.queries:
            rows.setdefault(ranking.row, []).append(ranking)
    found = []
    for row, own in rows.items():
        metrics = {key: fmean(ranking.metrics[key] for ranking in own) for key in own[0].metrics}
        milliseconds = fmean(ranking.milliseconds or 0.0 for ranking in own)
        found.append(Ranking(*row, f"mean of {len(own)} tasks", metrics, {}, milliseconds))
    return found


def ranking_tables(rankings: Sequence[Ranking]) -> list[str]:
    """Write a table for each task, and one of the means if there are several.

    The last of those with results of queries has the tests of each row against the first.
    """
    judged = {ranking.task: len(ranking.queries) for ranking in rankings if ranking.queries}
    averages = mean_rankings(rankings) if len(judged) > 1 else []
    shown = [*rankings, *averages]
    tests = compare(rankings)
    p_values = {test.second: _format_p(test.p_value) for test in tests if test.first == tests[0].first}
    tested = averages[0].task if averages else next(iter(judged), "")
    tables = []
    for task in dict.fromkeys(ranking.task for ranking in shown):
        has_tests = bool(tests) and task == tested
        rows = [[task, "dims", "precision", *COLUMNS.values(), "ms/query", *["p"] * has_tests]]
        for ranking in shown:
            if ranking.task == task:
                scores = [f"{100 * ranking.metrics[key]:.1f}" for key in COLUMNS]
                time = "-" if ranking.milliseconds is None else f"{ranking.milliseconds:.2f}"
                p_value = [p_values.get(ranking.label, "-")] * has_tests
                setting = [str(ranking.dim or "-"), ranking.precision or "-"]
                rows.append([ranking.name, *setting, *scores, time, *p_value])
        text = table(rows, left=(0, 2))
        if has_tests:
            count = f"over {sum(judged.values()):,} queries"
            text += f"\np: two-sided paired t-test of nDCG@10 with {tests[0].first}, {count}"
        tables.append(text)
    return tables


def table(rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Align columns to the right, except those in ``left``."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    formats = [f"{{:{'<' if number in left else '>'}{width}}}" for number, width in enumerate(widths)]
    return "\n".join("  ".join(formats).format(*row).rstrip() for row in rows)


def _p_value(first: Sequence[float], second: Sequence[float]) -> float:
    with np.errstate(all="ignore"):
        p_value = float(ttest_rel(first, second).pvalue) if len(first) > 1 else 1.0
    return p_value if np.isfinite(p_value) else 1.0


def _format_p(p_value: float) -> str:
    return "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"

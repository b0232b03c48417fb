"""Reports of training: what was trained on, what was held out, and scores before and after."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sentence_transformers import SentenceTransformer

from wordllama_st.data.documents import Documents, Pairs, Split


@dataclass(frozen=True)
class ScoreChange:
    """A score on held-out data, of the model before and after training."""

    metric: str
    before: float
    after: float


class Report:
    """Base of the reports: fields, a text and JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    def to_json(self) -> str:
        """Return the fields as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2, default=str)


@dataclass(frozen=True)
class DatasetReport:
    """One of the datasets of a training run: its rows, how many of them were held out, its columns and its loss.

    ``kind`` is ``"pairs"``, ``"triplets"`` or ``"scored pairs"``; ``mined`` is the number of rows with hard negatives,
    or None if none were mined.
    """

    name: str
    kind: str
    rows: int
    held_out: int
    mined: int | None
    columns: tuple[str, ...]
    ignored: tuple[str, ...]
    loss: str

    def __str__(self) -> str:
        ignored = f"; not used: {', '.join(self.ignored)}" if self.ignored else ""
        lines = [f"{self.name}: {self.rows:,} {self.kind} ({', '.join(self.columns)}){ignored}"]
        if self.held_out:
            lines.append(f"Held out for evaluation: {self.held_out:,} rows")
        if self.mined is not None:
            lines.append(f"With hard negatives: {self.mined:,} triplets")
        return "\n".join([*lines, f"Loss: {self.loss}"])


@dataclass(frozen=True)
class TrainingReport(Report):
    """The report of ``train`` and ``finetune``.

    ``scores`` are those on the held-out rows at each Matryoshka dim, ``seconds`` is the duration of training, and
    ``checkpoint`` the one it was resumed from.
    """

    datasets: tuple[DatasetReport, ...]
    scores: tuple[ScoreChange, ...]
    seconds: float
    checkpoint: Path | None = None

    @property
    def rows(self) -> int:
        """How many rows were read in all."""
        return sum(dataset.rows for dataset in self.datasets)

    def __str__(self) -> str:
        lines = [str(dataset) for dataset in self.datasets]
        if self.checkpoint:
            lines.append(f"Resumed from {self.checkpoint}")
        lines.append(f"Trained for {self.seconds:.0f} s")
        width = max((len(score.metric) for score in self.scores), default=0)
        for score in self.scores:
            lines.append(f"{score.metric:<{max(width, 28)}} before {score.before:.4f}   after {score.after:.4f}")
        return "\n".join(lines)


@dataclass(frozen=True)
class DistillationReport(Report):
    """The report of ``distill``.

    ``texts`` were trained on, ``held_out`` were not; ``score`` is the mean cosine similarity to the teacher on those,
    after least squares and after training. The teacher's embeddings took ``teacher_seconds`` to compute, or to read
    and rotate; ``cache`` keeps them.
    """

    texts: int
    held_out: int
    teacher_dim: int
    teacher_seconds: float
    cache: Path | None
    score: ScoreChange
    seconds: float

    def __str__(self) -> str:
        kept = f"; kept in {self.cache}" if self.cache else ""
        return (
            f"Texts       {self.texts + self.held_out:,}, {self.held_out:,} of them held out\n"
            f"Teacher     {self.teacher_dim} dimensions, {self.teacher_seconds:.0f} s{kept}\n"
            f"Start       {self.score.metric} {self.score.before:.3f}\n"
            f"Trained     {self.score.metric} {self.score.after:.3f}, {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class AdaptationReport(Report):
    """The report of ``adapt``.

    ``scores`` are nDCG@10 of retrieval among the held-out pairs, by the relation of a pair's texts, and ``mean`` is
    their mean over all pairs.
    """

    documents: Documents
    pairs: Pairs
    split: Split
    scores: tuple[ScoreChange, ...]
    mean: ScoreChange
    seconds: float

    @property
    def trained_on(self) -> str:
        """What was trained on, in words."""
        return (
            f"{len(self.documents.documents):,} documents: {len(self.split.train):,} pairs formed from their structure"
        )

    @property
    def helped(self) -> bool:
        """Whether retrieval among the held-out pairs is better than before."""
        return self.mean.after > self.mean.before

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values; of documents and pairs, their numbers."""
        return {
            "documents": len(self.documents.documents),
            "skipped": [skipped._asdict() for skipped in self.documents.skipped],
            "pairs": len(self.pairs.pairs),
            "dropped": self.pairs.dropped,
            "train": len(self.split.train),
            "held_out": len(self.split.held_out),
            "held_out_names": self.split.names,
            "scores": [asdict(score) for score in self.scores],
            "mean": asdict(self.mean),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [
            str(self.documents),
            str(self.pairs),
            str(self.split),
            f"Training    {self.seconds:.0f} s\n",
            f"{'held-out retrieval, nDCG@10':<28}{'pairs':>7}{'before':>9}{'after':>8}",
        ]
        pairs = Counter(pair.relation.value for pair in self.split.held_out) | {"mean": len(self.split.held_out)}
        for score in (*self.scores, self.mean):
            change = f"{score.after / score.before - 1:>+8.0%}" if score.before else ""
            lines.append(f"{score.metric:<28}{pairs[score.metric]:>7,}{score.before:>9.3f}{score.after:>8.3f}{change}")
        return "\n".join([*lines, "It helped." if self.helped else "It did not help: keep the model as it was."])


@dataclass(frozen=True)
class RetrievalScore:
    """Means over the pseudo-queries of held-out documents: nDCG@10, and recall@100, of which each has one document."""

    name: str
    ndcg: float
    recall: float


@dataclass(frozen=True)
class IndexReport(Report):
    """The report of ``adapt`` to documents and their vectors.

    ``documents`` are the distinct ones, ``held_out`` of which were not trained on; ``left_out`` were empty or repeated.
    The teacher encoded ``teacher_texts``. ``cosine`` is the mean of the model's embeddings of held-out documents and
    their vectors. ``similarity`` has the Spearman correlations on files of scored pairs.
    """

    documents: int
    held_out: int
    left_out: int
    vector_dim: int
    teacher_texts: int
    teacher_seconds: float
    seconds: float
    cosine: ScoreChange
    retrieval: tuple[RetrievalScore, ...]
    similarity: tuple[ScoreChange, ...] = ()

    def __str__(self) -> str:
        left_out = f"; {self.left_out:,} empty or repeated ones left out" if self.left_out else ""
        texts = f"; the teacher encoded {self.teacher_texts:,} texts in {self.teacher_seconds:.0f} s"
        lines = [
            f"Documents   {self.documents:,}, {self.held_out:,} of them held out{left_out}",
            f"Vectors     {self.vector_dim} dimensions{texts if self.teacher_texts else ''}",
            f"Training    {self.seconds:.0f} s",
            f"Cosine      {self.cosine.before:.3f} before, {self.cosine.after:.3f} after: {self.cosine.metric}",
            "",
        ]
        width = max(len(score.name) for score in self.retrieval)
        lines.append(f"{'pseudo-queries of held-out documents':<{width}}  {'nDCG@10':>8}  {'recall@100':>10}")
        lines += [f"{score.name:<{width}}  {score.ndcg:>8.3f}  {score.recall:>10.3f}" for score in self.retrieval]
        lines += [f"{score.metric}: before {score.before:.4f}   after {score.after:.4f}" for score in self.similarity]
        return "\n".join(lines)


ReportT = TypeVar("ReportT", TrainingReport, DistillationReport, AdaptationReport, IndexReport)


@dataclass(frozen=True)
class Result(Generic[ReportT]):
    """What a recipe returns: a trained model, and the report of its training."""

    model: SentenceTransformer
    report: ReportT

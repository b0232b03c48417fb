"""What models are scored on: similarity, classification and clustering; :mod:`.retrieval` is beside them."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, pstdev
from typing import ClassVar, TypeAlias, cast

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score
from sklearn.model_selection import StratifiedKFold, cross_validate
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from wordllama_st.data.datasets import check_texts
from wordllama_st.errors import DatasetError, EvaluationError
from wordllama_st.evaluation.models import Role, TaskEmbeddings

Label: TypeAlias = str | int

#: Number of folds of a classification, and of random starts of a clustering, whose result depends on the start.
FOLDS, STARTS = 5, 5


@dataclass(frozen=True)
class Task(ABC):
    """Texts, and a score of their embeddings. No two tasks of one kind have the same name."""

    name: str
    kind: ClassVar[str]  #: What the embeddings are used for.
    main_metric: ClassVar[str]  #: The metric reported as the score, by its key in what :meth:`score` returns.
    metric_name: ClassVar[str]  #: That metric in words.

    @property
    @abstractmethod
    def size(self) -> str:
        """The number of rows, in words."""

    @abstractmethod
    def texts(self) -> dict[Role, Sequence[str]]:
        """Return the texts to encode, by role. Repeated texts are encoded once."""

    @abstractmethod
    def score(self, embeddings: TaskEmbeddings) -> dict[str, float]:
        """Compute metrics, each at most 1; larger is better. Raises an EvaluationError if there is no score."""


@dataclass(frozen=True)
class SimilarityTask(Task):
    """Pairs of texts with a score of how similar they are, on any scale.

    Models are scored by sentence-transformers' ``EmbeddingSimilarityEvaluator``: Spearman and Pearson of the cosines.

    Raises:
        DatasetError: If the columns differ in length, a text is empty, a score is not finite, or all are equal.
    """

    first: Sequence[str]
    second: Sequence[str]
    scores: Sequence[float]
    kind, main_metric, metric_name = "similarity", "spearman", "Spearman of cosine"

    def __post_init__(self) -> None:
        check_rows(self.name, {"first": self.first, "second": self.second}, score=self.scores)
        for row, score in enumerate(self.scores, 1):
            if not math.isfinite(score):
                raise DatasetError(f"{self.name}, row {row}: the score is {score}. Fill or drop it.")
        if len(set(self.scores)) == 1:
            score = self.scores[0]
            raise DatasetError(f"{self.name}: every pair has the score {score:g}, which correlates with nothing.")

    @property
    def size(self) -> str:
        return f"{len(self.scores):,} pairs"

    def texts(self) -> dict[Role, Sequence[str]]:
        return {"text": [*self.first, *self.second]}

    def score(self, embeddings: TaskEmbeddings) -> dict[str, float]:
        # The dot product of these embeddings is their cosine.
        columns = list(self.first), list(self.second), list(self.scores)
        evaluator = EmbeddingSimilarityEvaluator(*columns, main_similarity="dot")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about constant input, which is an error below
            found = evaluator(cast(SentenceTransformer, embeddings))
        if not math.isfinite(found["spearman_dot"]):
            raise EvaluationError(f"{embeddings.name}: every pair has the same cosine, which correlates with nothing.")
        return {"spearman": found["spearman_dot"], "pearson": found["pearson_dot"]}


@dataclass(frozen=True)
class LabelledTask(Task):
    """Texts with a label each. The seed is that of a classification's folds, or of a clustering's first start.

    Raises:
        DatasetError: If the columns differ in length, a text is empty, a label is missing, or all are the same.
    """

    samples: Sequence[str]
    labels: Sequence[Label]
    seed: int = 0

    def __post_init__(self) -> None:
        check_rows(self.name, {"text": self.samples}, label=self.labels)
        for row, label in enumerate(self.labels, 1):
            if label is None or label == "" or label != label:
                raise DatasetError(f"{self.name}, row {row}: the label is missing. Fill or drop it.")
        if len(self.counts()) == 1:
            raise DatasetError(f"{self.name}: every text has the label {self.labels[0]!r}. Two labels are needed.")

    def counts(self) -> Counter[str]:
        """Count the texts of each label."""
        return Counter(map(str, self.labels))

    @property
    def size(self) -> str:
        return f"{len(self.labels):,} texts, {len(self.counts()):,} labels"

    def texts(self) -> dict[Role, Sequence[str]]:
        return {"text": self.samples}


@dataclass(frozen=True)
class ClassificationTask(LabelledTask):
    """A linear probe: scikit-learn's logistic regression, trained and tested on the embeddings.

    Models are scored by accuracy and macro-averaged F1, the means over a shuffled, stratified 5-fold cross-validation.
    Embeddings are scaled to unit length, so that their norms do not change the strength of the regularization, which is
    scikit-learn's default. Arguments and errors are those of :class:`LabelledTask`.

    Raises:
        DatasetError: Also if a label has fewer than 5 texts.
    """

    kind, main_metric, metric_name = "classification", "accuracy", "accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if rare := [(count, label) for label, count in self.counts().items() if count < FOLDS]:
            count, label = min(rare, key=lambda one: one[0])
            more = f" ({len(rare)} labels have too few)" if len(rare) > 1 else ""
            raise DatasetError(
                f"{self.name}: the label {label!r} has {count} text{'s' * (count != 1)}; each of {FOLDS} folds needs "
                f"one{more}. Add texts, or leave that label out."
            )

    def score(self, embeddings: TaskEmbeddings) -> dict[str, float]:
        # Products this small gain nothing from more threads, and lose much where cores are busy.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = cross_validate(
                LogisticRegression(max_iter=1000),
                embeddings.unit_embeddings(self.samples),
                np.array([str(label) for label in self.labels]),
                cv=StratifiedKFold(FOLDS, shuffle=True, random_state=self.seed),
                scoring=("accuracy", "f1_macro"),
            )
        return {"accuracy": float(found["test_accuracy"].mean()), "macro_f1": float(found["test_f1_macro"].mean())}


@dataclass(frozen=True)
class ClusteringTask(LabelledTask):
    """k-means clustering of the embeddings, with as many clusters as there are labels.

    Models are scored by the V-measure of clusters and labels (Rosenberg and Hirschberg, EMNLP-CoNLL 2007), the mean
    over five random starts. Arguments and errors are those of :class:`LabelledTask`.
    """

    kind, main_metric, metric_name = "clustering", "v_measure", "V-measure"

    def score(self, embeddings: TaskEmbeddings) -> dict[str, float]:
        points, labels = embeddings.unit_embeddings(self.samples), [str(label) for label in self.labels]
        seeds = range(self.seed, self.seed + STARTS)
        starts = [KMeans(len(self.counts()), n_init=1, random_state=seed) for seed in seeds]
        with warnings.catch_warnings(), threadpool_limits(1):  # as in classification
            warnings.simplefilter("ignore", ConvergenceWarning)  # about fewer different points than clusters
            found = [float(v_measure_score(labels, start.fit_predict(points))) for start in starts]
        return {"v_measure": mean(found), "v_measure_std": pstdev(found)}


def check_rows(name: str, texts: dict[str, Sequence[str]], **others: Sequence[object]) -> None:
    """Refuse columns of different lengths, without rows, or with an empty text."""
    lengths = {column: len(cells) for column, cells in {**texts, **others}.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length} {column}" for column, length in lengths.items())
        raise DatasetError(f"{name} has {counts}; a row has one of each.")
    if not min(lengths.values()):
        raise DatasetError(f"{name} has no rows.")
    for column in texts:
        check_texts(texts, column, name)

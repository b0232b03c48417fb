"""Similarity: are two texts the closer, the more alike people find them?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

from wordllama_st.errors import DatasetError, EvaluationError
from wordllama_st.evaluation.task import Task, check_columns
from wordllama_st.evaluation.vectors import Role, TaskVectors


@dataclass(frozen=True)
class SimilarityTask(Task):
    """Pairs of texts with a score of how alike they are, on any scale.

    The score is Spearman's rank correlation of the given scores with the cosines, by the library's
    ``EmbeddingSimilarityEvaluator``.

    Args:
        name: What to call it.
        first: The first text of each pair.
        second: The second.
        scores: How alike they are.

    Raises:
        DatasetError: If the parts are of different lengths, a text is empty, a score is not finite, or all are equal.
    """

    name: str
    first: Sequence[str]
    second: Sequence[str]
    scores: Sequence[float]

    kind: ClassVar[str] = "similarity"
    main_metric: ClassVar[str] = "spearman"
    metric_name: ClassVar[str] = "Spearman of cosine"

    def __post_init__(self) -> None:
        columns = {"first": self.first, "second": self.second, "score": self.scores}
        check_columns(self, columns, ("first", "second"))
        for index, score in enumerate(self.scores):
            if not math.isfinite(score):
                raise DatasetError(f"{self.name}, row {index + 1}: the score is {score}. Fill or drop it.")
        if len(set(self.scores)) == 1:
            raise DatasetError(
                f"{self.name}: every pair has the score {self.scores[0]:g}. A correlation needs pairs that are more "
                f"alike than others."
            )

    @property
    def size(self) -> str:
        """How many pairs."""
        return f"{len(self.scores):,} pairs"

    def texts(self) -> dict[Role, Sequence[str]]:
        """Both of each pair."""
        return {"text": [*self.first, *self.second]}

    def score(self, vectors: TaskVectors) -> dict[str, float]:
        """Spearman's and Pearson's correlation.

        Raises:
            EvaluationError: If all pairs are equally close.
        """
        # The vectors are such that this is their cosine.
        evaluator = EmbeddingSimilarityEvaluator(
            list(self.first), list(self.second), list(self.scores), main_similarity="dot"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a constant input, which is an error below
            found = evaluator(cast(SentenceTransformer, vectors))
        if not math.isfinite(found["spearman_dot"]):
            raise EvaluationError(
                f"{vectors.name}: every pair of {self.name} has the same cosine, which correlates with nothing."
            )
        return {"spearman": found["spearman_dot"], "pearson": found["pearson_dot"]}

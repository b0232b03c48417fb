"""Classification: can a linear classifier tell the labels apart?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from wordllama_st.errors import DatasetError
from wordllama_st.evaluation.labelled import LabelledTask
from wordllama_st.evaluation.vectors import TaskVectors

FOLDS = 5
_MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class ClassificationTask(LabelledTask):
    """A linear probe: logistic regression on the vectors, trained on four fifths of the texts, tested on the other.

    Every fifth is the other once (stratified 5-fold cross-validation, shuffled by ``seed``), and the score is the mean
    accuracy. The vectors have unit length, so that no model is regularised more than another for the length of its own;
    beyond that, the classifier is as scikit-learn has it by default.

    Args:
        name: What to call it.
        samples: The texts.
        labels: The label of each.
        seed: Fixes the folds.

    Raises:
        DatasetError: As for :class:`LabelledTask`, or if a label has fewer than 5 texts.
    """

    kind: ClassVar[str] = "classification"
    main_metric: ClassVar[str] = "accuracy"
    metric_name: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        rare = [(label, count) for label, count in self.counts().items() if count < FOLDS]
        if rare:
            label, count = min(rare, key=lambda one: one[1])
            more = f" ({len(rare)} labels have too few)" if len(rare) > 1 else ""
            raise DatasetError(
                f"{self.name}: the label {label!r} has {count} text{'s' * (count != 1)}; each of {FOLDS} folds wants "
                f"one{more}. Add texts, or leave that label out."
            )

    def score(self, vectors: TaskVectors) -> dict[str, float]:
        """Accuracy and macro-averaged F1, each the mean over the folds."""
        labels = np.array([str(label) for label in self.labels])
        probe = LogisticRegression(max_iter=_MAX_ITERATIONS)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=self.seed)
        # Products as small as these gain nothing from more threads, and lose many times over where cores are busy.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = cross_validate(
                probe, vectors.units(self.samples), labels, cv=folds, scoring={"a": "accuracy", "f": "f1_macro"}
            )
        return {"accuracy": float(found["test_a"].mean()), "macro_f1": float(found["test_f"].mean())}

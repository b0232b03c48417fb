"""Clustering: do texts of one label lie together?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from statistics import mean, pstdev
from typing import ClassVar

from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import v_measure_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from wordllama_st.evaluation.labelled import LabelledTask
from wordllama_st.evaluation.vectors import TaskVectors

#: k-means starts from points that are drawn by chance, and where it ends depends on them.
STARTS = 5


@dataclass(frozen=True)
class ClusteringTask(LabelledTask):
    """k-means with as many clusters as there are labels.

    The score is the V-measure of clusters and labels (Rosenberg and Hirschberg, EMNLP-CoNLL 2007), the mean over five
    starts.

    Args:
        name: What to call it.
        samples: The texts.
        labels: The label of each.
        seed: That of the first start.

    Raises:
        DatasetError: As for :class:`LabelledTask`.
    """

    kind: ClassVar[str] = "clustering"
    main_metric: ClassVar[str] = "v_measure"
    metric_name: ClassVar[str] = "V-measure"

    def score(self, vectors: TaskVectors) -> dict[str, float]:
        """The mean V-measure, and its standard deviation over the starts."""
        points = vectors.units(self.samples)
        labels = [str(label) for label in self.labels]
        found = []
        with warnings.catch_warnings(), threadpool_limits(1):  # as in classification
            warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer different points than clusters
            for seed in range(self.seed, self.seed + STARTS):
                clusters = KMeans(len(self.counts()), n_init=1, random_state=seed).fit_predict(points)
                found.append(float(v_measure_score(labels, clusters)))
        return {"v_measure": mean(found), "v_measure_std": pstdev(found)}

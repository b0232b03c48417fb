"""Retrieval: is a query closest to the document that answers it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from sentence_transformers import SentenceTransformer
from sentence_transformers.util import dot_score

from wordllama_st.errors import DatasetError
from wordllama_st.evaluation.task import Task, check_columns
from wordllama_st.evaluation.vectors import Role, TaskVectors
from wordllama_st.training.supervised import retrieval_evaluator

#: The most similarities that are held in memory at a time: 256 MB of them.
_SIMILARITIES = 2**26
_METRICS = ("ndcg@10", "recall@10", "mrr@10", "map@100", "accuracy@1")


@dataclass(frozen=True)
class RetrievalTask(Task):
    """Queries, each with one or more documents that answer it; every document is searched for every query.

    Scored by the library's ``InformationRetrievalEvaluator``. Equal documents count as one, and so do equal queries,
    which have the answers of all of them.

    Args:
        name: What to call it.
        queries: The query of each pair.
        documents: The document that answers it.
        others: More documents to search, which answer none of the queries.

    Raises:
        DatasetError: If the pairs are of different lengths, a text is empty, or there is but one document.
    """

    name: str
    queries: Sequence[str]
    documents: Sequence[str]
    others: Sequence[str] = ()

    kind: ClassVar[str] = "retrieval"
    main_metric: ClassVar[str] = "ndcg@10"
    metric_name: ClassVar[str] = "nDCG@10"

    def __post_init__(self) -> None:
        check_columns(self, {"query": self.queries, "document": self.documents}, ("query", "document"))
        if self.others:
            check_columns(self, {"document": self.others}, ("document",))
        if len(self._corpus()) < 2:
            raise DatasetError(f"{self.name} has a single document, which is found whatever is asked.")

    @property
    def size(self) -> str:
        """How many queries and documents."""
        return f"{len(set(self.queries)):,} queries, {len(self._corpus()):,} documents"

    def texts(self) -> dict[Role, Sequence[str]]:
        """The queries, and all documents."""
        return {"query": self.queries, "document": self._corpus()}

    def score(self, vectors: TaskVectors) -> dict[str, float]:
        """nDCG@10, recall@10, MRR@10, MAP@100 and accuracy@1."""
        evaluator = retrieval_evaluator(self.queries, self.documents, name="")
        unanswering = self._corpus()[len(evaluator.corpus) :]
        evaluator.corpus += unanswering
        evaluator.corpus_ids += [f"other-{index}" for index in range(len(unanswering))]
        evaluator.score_functions = {"cosine": dot_score}  # the vectors are such that it is
        evaluator.corpus_chunk_size = max(1000, _SIMILARITIES // len(evaluator.queries))
        found = evaluator(cast(SentenceTransformer, vectors))
        return {metric: float(found[f"cosine_{metric}"]) for metric in _METRICS}

    def _corpus(self) -> list[str]:
        """Every document once, those that answer something first."""
        return list(dict.fromkeys([*self.documents, *self.others]))

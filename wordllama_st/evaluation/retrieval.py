"""Retrieval: queries and documents by id with graded judgements, judged as trec_eval does; and NanoBEIR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TypeAlias, cast

import numpy as np
from pytrec_eval import RelevanceEvaluator
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import NanoBEIREvaluator

from wordllama_st.errors import DatasetError
from wordllama_st.evaluation.models import Role, TaskEmbeddings
from wordllama_st.evaluation.tasks import Task, check_rows
from wordllama_st.static.similarity import Vectors

#: From n queries to the scores of all m documents, float32 [n, m].
Search: TypeAlias = Callable[[Sequence[str]], Vectors]

#: Metric -> trec_eval's name for it.
METRICS = {
    "ndcg@10": "ndcg_cut_10",
    "mrr@10": "recip_rank",  # of the first ten, below
    "recall@10": "recall_10",
    "recall@100": "recall_100",
    "map@100": "map_cut_100",
    "accuracy@1": "success_1",
}
#: trec_eval has a counter for every grade up to the largest.
LARGEST_GRADE = 10_000
#: Documents of a query that are judged: no metric looks further.
DEPTH = 100
#: Scores of documents that are held in memory at a time: 64 MB.
_SCORES = 2**24


@dataclass(frozen=True)
class RetrievalTask(Task):
    """Queries, documents to search, and which documents answer a query, how well.

    Models are scored by pytrec_eval, which is trec_eval: nDCG@10, MRR@10, recall@10, recall@100, MAP@100 and
    accuracy@1, the means over the queries with judgements. Grades are the gains of nDCG, those above 0 are relevant,
    and a query whose grades are all 0 counts as 0, as in BEIR. All documents are ranked, one with the id of the query
    too; equal scores by id, the last id first, as by trec_eval; and the 100 best are judged. Equal documents stay
    several documents; an empty document is a zero vector, whose scores are 0.

    Args:
        queries: The text of each query, by id.
        documents: The text of each document, by id; it may be empty.
        relevance: The grades of documents (qrels), by query id and document id. Queries without any are left out.

    Raises:
        DatasetError: If a query is empty; the grades have an unknown id, one is above 10,000, or none above 0; or no
            two documents differ.
    """

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    relevance: Mapping[str, Mapping[str, int]]
    kind, main_metric, metric_name = "retrieval", "ndcg@10", "nDCG@10"

    def __post_init__(self) -> None:
        answers = {document for grades in self.relevance.values() for document in grades}
        for what, where, known, judged in (
            ("query", "the queries", self.queries, set(self.relevance)),
            ("document", "the corpus", self.documents, answers),
        ):
            if unknown := sorted(judged - known.keys()):
                example = f"; an id there is {next(iter(known))!r}" if known else ", which has none"
                raise DatasetError(
                    f"{self.name}: of the {len(judged):,} {what} ids in the qrels, {len(unknown):,} are not in "
                    f"{where}, {unknown[0]!r} first{example}. Write ids alike on both sides, or drop those qrels."
                )
        for identity in self.relevance:
            if not self.queries[identity].strip():
                raise DatasetError(f"{self.name}: the query {identity!r} is empty. Fill or drop it.")
            if large := [grade for grade in self.relevance[identity].values() if abs(grade) > LARGEST_GRADE]:
                raise DatasetError(
                    f"{self.name}: the query {identity!r} has a document of grade {large[0]}; grades are at most "
                    f"{LARGEST_GRADE:,}."
                )
        if not any(grade > 0 for grades in self.relevance.values() for grade in grades.values()):
            raise DatasetError(f"{self.name}: no query is answered by any document.")
        if (count := len(set(filter(None, self.documents.values())))) < 2:
            has = "a single document, which every query finds" if count else "no document with a text"
            raise DatasetError(f"{self.name} has {has}.")

    @classmethod
    def from_pairs(
        cls, name: str, queries: Sequence[str], documents: Sequence[str], others: Sequence[str] = ()
    ) -> RetrievalTask:
        """Make a task of pairs: each document answers the query in its place, ``others`` answer none.

        Equal documents count as one, and so do equal queries, whose answers are those of all of them. A query's id is
        its text.

        Raises:
            DatasetError: If the columns differ in length, a text is empty, or there is a single document.
        """
        check_rows(name, {"query": queries, "document": documents})
        if others:
            check_rows(name, {"document": others})
        ids = {text: str(index) for index, text in enumerate(dict.fromkeys([*documents, *others]))}
        relevance: dict[str, dict[str, int]] = {}
        for query, document in zip(queries, documents, strict=True):
            relevance.setdefault(query, {})[ids[document]] = 1
        texts = {index: document for document, index in ids.items()}
        return cls(name, {query: query for query in relevance}, texts, relevance)

    @property
    def size(self) -> str:
        return f"{len(self.relevance):,} queries, {len(self.documents):,} documents"

    def texts(self) -> dict[Role, Sequence[str]]:
        queries = [self.queries[identity] for identity in self.relevance]
        return {"query": queries, "document": [text for text in self.documents.values() if text]}

    def score(self, embeddings: TaskEmbeddings) -> dict[str, float]:
        documents = self.document_embeddings(embeddings)
        return mean_metrics(self.judge(lambda queries: embeddings.encode(queries, role="query") @ documents.T))

    def document_embeddings(self, embeddings: TaskEmbeddings) -> Vectors:
        """Look up the embeddings of all documents, float32 [m, dim]; those of empty documents are zero."""
        texts = list(self.documents.values())
        has_text = np.array([bool(text) for text in texts])
        found = embeddings.encode([text for text in texts if text], role="document")
        vectors = np.zeros((len(texts), found.shape[1]), np.float32)
        vectors[has_text] = found
        return vectors

    def judge(self, search: Search) -> dict[str, dict[str, float]]:
        """Rank all documents for each query by their scores, and compute the metrics of each query, by its id.

        A few queries are searched at a time, so that their scores take 64 MB however many there are.
        """
        evaluator = RelevanceEvaluator(self.relevance, set(METRICS.values()))
        ids, order = self._trec_order
        queries, judged = list(self.relevance), {}
        step = max(1, _SCORES // len(ids))
        for start in range(0, len(queries), step):
            chunk = queries[start : start + step]
            scores = search([self.queries[identity] for identity in chunk])
            run = {identity: _best(row[order], ids) for identity, row in zip(chunk, scores, strict=True)}
            for identity, found in evaluator.evaluate(run).items():
                metrics = {metric: float(found[name]) for metric, name in METRICS.items()}
                if metrics["mrr@10"] < 1 / 10:
                    metrics["mrr@10"] = 0.0
                judged[identity] = metrics
        return judged

    @cached_property
    def _trec_order(self) -> tuple[list[str], np.ndarray[tuple[int], np.dtype[np.intp]]]:
        """Sort the ids as trec_eval ranks documents of equal scores; with the place of each in ``documents``."""
        ids = list(self.documents)
        order = sorted(range(len(ids)), key=lambda index: ids[index].encode(), reverse=True)
        return [ids[index] for index in order], np.array(order)


@dataclass(frozen=True)
class NanoBEIRTask(Task):
    """The NanoBEIR collection: small samples of the BEIR collections, on the Hub.

    Models are scored by sentence-transformers' ``NanoBEIREvaluator``, by the means over the collections.
    """

    evaluator: NanoBEIREvaluator
    kind, main_metric, metric_name = "retrieval", "ndcg@10", "nDCG@10"

    @property
    def size(self) -> str:
        parts = self.evaluator.evaluators
        queries, documents = (sum(len(getattr(part, texts)) for part in parts) for texts in ("queries", "corpus"))
        return f"{queries:,} queries, {documents:,} documents in {len(parts)} collections"

    def texts(self) -> dict[Role, Sequence[str]]:
        parts = self.evaluator.evaluators
        return {
            "query": [str(text) for part in parts for text in part.queries],
            "document": [str(text) for part in parts for text in part.corpus],
        }

    def score(self, embeddings: TaskEmbeddings) -> dict[str, float]:
        found = self.evaluator(cast(SentenceTransformer, embeddings))
        return {metric: float(found[f"{self.evaluator.name}_cosine_{metric}"]) for metric in METRICS}


def mean_metrics(judged: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Average each metric over the queries."""
    return {metric: fmean(metrics[metric] for metrics in judged.values()) for metric in METRICS}


def _best(scores: Vectors, ids: Sequence[str]) -> dict[str, float]:
    """Take the documents with the largest scores; of equal scores, those that come first."""
    count = min(DEPTH, len(scores))
    least = np.partition(scores, -count)[-count]
    above = np.flatnonzero(scores > least)
    level = np.flatnonzero(scores == least)[: count - len(above)]
    return {ids[index]: float(scores[index]) for index in (*above, *level)}

"""Search the documents of a retrieval task by a model and by BM25, one after the other and together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from wordllama_st.data.bm25 import BM25, combine_with_bm25
from wordllama_st.evaluation.models import ScoredModel, TaskEmbeddings
from wordllama_st.evaluation.rankings import Ranking
from wordllama_st.evaluation.retrieval import RetrievalTask, Search, mean_metrics
from wordllama_st.static.precision import Precision
from wordllama_st.static.similarity import Vectors

#: Queries that are timed, and seconds after which no further one is.
TIMED_QUERIES, TIMED_SECONDS = 100, 2.0


def rank_by_bm25(task: RetrievalTask, bm25: BM25) -> Ranking:
    """Rank a task's documents by their words."""
    return _rank(task, "BM25", None, None, bm25.scores, bm25.scores)


def rank_by_model(
    task: RetrievalTask,
    model: ScoredModel,
    dim: int,
    precision: Precision,
    embeddings: TaskEmbeddings,
    bm25: BM25 | None = None,
) -> list[Ranking]:
    """Rank a task's documents by a model's embeddings of them, and with BM25 too if an index of them is given."""
    documents = task.document_embeddings(embeddings).T

    def search(queries: Sequence[str]) -> Vectors:
        scores: Vectors = embeddings.encode(queries, role="query") @ documents
        return scores

    def search_anew(queries: Sequence[str]) -> Vectors:  # from the text, as the model is used, which is timed
        return model.encode(queries, "query" if model.has_roles else "text")[:, :dim] @ documents

    found = [_rank(task, model.name, dim, precision, search, search_anew)]
    if bm25 is not None:
        both = [_with_bm25(one, bm25) for one in (search, search_anew)]
        found.append(_rank(task, f"{model.name} + BM25", dim, precision, *both))
    return found


def _with_bm25(search: Search, bm25: BM25) -> Search:
    return lambda queries: combine_with_bm25(search(queries), bm25.scores(queries))


def _rank(
    task: RetrievalTask, name: str, dim: int | None, precision: Precision | None, search: Search, search_anew: Search
) -> Ranking:
    judged = task.judge(search)
    milliseconds = _milliseconds(search_anew, list(task.texts()["query"])[:TIMED_QUERIES])
    return Ranking(name, dim, precision, task.name, mean_metrics(judged), judged, milliseconds)


def _milliseconds(search: Search, queries: Sequence[str]) -> float:
    """Time a search for one query at a time, warm; return the median."""
    search(queries[:1])
    rounds: list[float] = []
    for query in queries:
        start = time.perf_counter()
        search([query])
        rounds.append(time.perf_counter() - start)
        if sum(rounds) > TIMED_SECONDS:
            break
    return 1000 * median(rounds)

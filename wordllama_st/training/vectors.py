"""Training on the vectors of an index's documents, and retrieval of those held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from wordllama_st.data.bm25 import BM25, combine_with_bm25
from wordllama_st.data.datasets import TrainingData
from wordllama_st.data.pseudo_queries import draw_span, make_pseudo_queries
from wordllama_st.data.texts import as_texts
from wordllama_st.training.distillation import sample, train_distillation
from wordllama_st.training.index import Index, unit_chunks
from wordllama_st.training.report import IndexReport, RetrievalScore, ScoreChange
from wordllama_st.training.supervised import default_learning_rate, similarity_scores
from wordllama_st.training.teacher import CachedTeacher
from wordllama_st.training.views import DocumentViews

#: The learning rate, relative to that of other recipes, found by measuring.
LEARNING_RATE_FACTOR = 2.0
#: The weight of similarities in the loss. Of those tried, the largest at which none of three collections loses.
SIMILARITY_WEIGHT = 4.0
#: Documents that are searched together with those held out, at most; and documents of which the embedder encodes
#: sentences and spans as pseudo-queries.
MAX_SEARCHED, MAX_QUESTIONED = 10_000, 10_000


def train_on_index(
    model: SentenceTransformer,
    index: Index,
    vectors: npt.NDArray[Any],
    *,
    embedder: CachedTeacher | None,
    queries: Sequence[str | Path],
    similarity: Sequence[TrainingData],
    epochs: float,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
    show_progress_bar: bool | None,
) -> IndexReport:
    """Train a static model in place to predict the principal components of documents' vectors.

    Args:
        model: The static model, d dimensions.
        index: The documents, with d principal components.
        vectors: The vectors that it was made of.
        embedder: The embedder of these vectors, for pseudo-queries, if there is one.
        queries: Further queries for it.
        similarity: Scored pairs, to report how similarities change.

    Raises:
        TrainingError: If training diverged.
    """
    held_out = HeldOutRetrieval(index, vectors, seed)
    retrieval = [held_out.of_bm25()]
    targets, questions = index.components, []
    if embedder is not None:
        asked = index.documents(sample(index.trained, MAX_QUESTIONED, seed))
        questions = list(dict.fromkeys([*make_pseudo_queries(asked, seed), *as_texts(queries)]))
        targets = np.concatenate([targets, index.project(embedder.encode(questions, "query"))])
        retrieval += held_out.of_embedder("embedder", embedder.encode(held_out.queries, "query"))
    similarities = [similarity_scores(model, similarity)]
    cosines = [held_out.cosine(model)]
    retrieval += held_out.of_static("start", model)
    # A span's own vector, where the embedder gives it, is a better target than its document's.
    views = DocumentViews(
        model.tokenizer, index.documents(), questions, spans=not questions, held_out=index.held_out, seed=seed
    )
    seconds = train_distillation(
        model,
        views,
        targets,
        dims=[index.components.shape[1]],  # an index has vectors of one dim
        similarity_weight=SIMILARITY_WEIGHT,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate or LEARNING_RATE_FACTOR * default_learning_rate(model),
        seed=seed,
        show_progress_bar=show_progress_bar,
    )
    similarities.append(similarity_scores(model, similarity))
    cosines.append(held_out.cosine(model))
    retrieval += held_out.of_static("adapted, both sides", model)
    retrieval += held_out.of_static_queries("adapted queries, documents' vectors", model)
    return IndexReport(
        documents=len(index),
        held_out=len(index.held_out),
        left_out=len(index.texts) - len(index),
        vector_dim=index.dim,
        teacher_texts=0 if embedder is None else embedder.texts,
        teacher_seconds=0.0 if embedder is None else embedder.seconds,
        seconds=seconds,
        cosine=ScoreChange("cosine to the vectors of held-out documents", *cosines),
        retrieval=tuple(retrieval),
        similarity=tuple(ScoreChange(name, before, similarities[1][name]) for name, before in similarities[0].items()),
    )


class HeldOutRetrieval:
    """Retrieval of held-out documents by pseudo-queries, spans of 3 to 8 of their words, among up to 10,000 others.

    A span has the very words of its document, so that BM25 scores higher here than for queries that people write.

    Args:
        index: The index.
        vectors: The vectors [n, D] that it was made of.
        seed: Of the spans and the choice of other documents.
    """

    def __init__(self, index: Index, vectors: npt.NDArray[Any], seed: int) -> None:
        random = Random(seed)
        self.queries = [draw_span(document, random) for document in index.documents(index.held_out)]
        places = np.concatenate([index.held_out, sample(index.trained, MAX_SEARCHED, seed)])
        self._documents = list(index.documents(places))
        self._axes = index.axes
        self._vectors = np.concatenate([unit for _, unit in unit_chunks(vectors, index.numbers[places])]) @ index.axes
        self._bm25 = BM25(self._documents).scores(self.queries)

    def of_bm25(self) -> RetrievalScore:
        """Score BM25."""
        return self._score("BM25", self._bm25)

    def of_static(self, name: str, model: SentenceTransformer) -> list[RetrievalScore]:
        """Score a static model on both sides, alone and with BM25."""
        return self._scores(name, _encode(model, self.queries) @ _encode(model, self._documents).T)

    def of_embedder(self, name: str, queries: npt.NDArray[np.floating[Any]]) -> list[RetrievalScore]:
        """Score the embedder by its embeddings [n, D] of the queries, alone and with BM25."""
        rotated: npt.NDArray[np.float32] = queries.astype(np.float32) @ self._axes
        return self._scores(name, rotated @ self._vectors.T)

    def of_static_queries(self, name: str, model: SentenceTransformer) -> list[RetrievalScore]:
        """Score a static model of the queries, in d principal axes, against the documents' vectors there."""
        queries = _encode(model, self.queries)
        return self._scores(name, queries @ self._vectors[:, : queries.shape[1]].T)

    def cosine(self, model: SentenceTransformer) -> float:
        """Return the mean cosine of a model's embeddings of the held-out documents and their vectors."""
        embeddings = _encode(model, self._documents[: len(self.queries)])
        vectors = self._vectors[: len(embeddings), : embeddings.shape[1]]
        return float((embeddings * vectors).sum(axis=1).mean())

    def _scores(self, name: str, scores: npt.NDArray[np.float32]) -> list[RetrievalScore]:
        return [self._score(name, scores), self._score(f"{name}, with BM25", combine_with_bm25(scores, self._bm25))]

    def _score(self, name: str, scores: npt.NDArray[np.float32]) -> RetrievalScore:
        """Compute the means of nDCG@10 and recall@100; query i is answered by document i alone."""
        right = np.diagonal(scores)[:, None]
        ranks = 1 + (scores > right).sum(axis=1)  # of equal scores, the right one's counts first
        return RetrievalScore(
            name,
            ndcg=float(np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0).mean()),
            recall=float((ranks <= 100).mean()),
        )


def _encode(model: SentenceTransformer, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    vectors: npt.NDArray[np.float32] = model.encode(
        list(texts), batch_size=1024, normalize_embeddings=True, show_progress_bar=False
    )
    return vectors

"""Indexes: documents with the vectors that an embedder has given them, checked, and retrieval of those held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from wordllama_st.data.bm25 import BM25, combine_with_bm25
from wordllama_st.data.pseudo_queries import draw_span
from wordllama_st.errors import ArgumentError, DatasetError
from wordllama_st.training.distillation import CHUNK, MIN_TEXTS, SAMPLE, principal_axes, rotate
from wordllama_st.training.report import RetrievalScore

#: Vectors whose mean has at least this length are all alike: every query finds all documents or none.
ALL_ALIKE = 0.9999
#: Documents that are held out, and others that are searched together with them, at most.
MAX_HELD_OUT, MAX_SEARCHED = 500, 10_000


@dataclass(frozen=True)
class Index:
    """Distinct documents and their vectors.

    Attributes:
        texts: n documents.
        vectors: Their vectors [n, D], of unit length and rotated onto their principal axes, in float16.
        axes: These axes, as the columns of [D, D].
        held_out: Numbers of the documents that are not trained on, in order.
    """

    texts: list[str]
    vectors: npt.NDArray[np.float16]
    axes: npt.NDArray[np.float32]
    held_out: npt.NDArray[np.intp]

    @property
    def dim(self) -> int:
        """D, the dim of the vectors."""
        return len(self.axes)

    @cached_property
    def trained(self) -> npt.NDArray[np.intp]:
        """The numbers of the other documents."""
        return np.delete(np.arange(len(self.vectors)), self.held_out)

    def rotate(self, vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float16]:
        """Rotate other vectors [m, D] of the space onto the same axes."""
        return rotate(vectors, self.axes, np.empty_like(vectors))

    def sample(self, seed: int) -> npt.NDArray[np.intp]:
        """Return the numbers of 100,000 documents to train on, or of all of them."""
        if len(self.trained) <= SAMPLE:
            return self.trained
        return np.sort(np.random.default_rng(seed).choice(self.trained, SAMPLE, replace=False))


def distinct_documents(texts: Sequence[str]) -> npt.NDArray[np.intp]:
    """Return the numbers of the documents that are not empty and repeat none before them.

    Raises:
        DatasetError: If there are fewer than 100.
    """
    numbers: dict[str, int] = {}
    for number, text in enumerate(texts):
        if text and not text.isspace():
            numbers.setdefault(text, number)
    if len(numbers) < MIN_TEXTS:
        raise DatasetError(
            f"There are {len(numbers)} different documents among {len(texts):,}; adaptation needs at least {MIN_TEXTS}."
        )
    return np.fromiter(numbers.values(), np.intp, len(numbers))


def make_index(texts: Sequence[str], vectors: npt.NDArray[Any], hold_out: float, seed: int) -> Index:
    """Check documents and their vectors, leave out empty and repeated documents, and hold a share of the others out.

    Args:
        texts: n documents.
        vectors: Their vectors [n, D], of any length other than zero.
        seed: Of the choice of documents to hold out.

    Raises:
        ArgumentError: If there are not as many vectors as documents, one is zero or not finite, or all are alike.
        DatasetError: If there are fewer than 100 different documents.
    """
    if vectors.ndim != 2 or not vectors.shape[1] or not np.issubdtype(vectors.dtype, np.number):
        raise ArgumentError(f"The vectors are {vectors.dtype} of shape {list(vectors.shape)}, not numbers [n, D].")
    if len(texts) != len(vectors):
        raise ArgumentError(f"There are {len(texts):,} documents and {len(vectors):,} vectors; each needs one.")
    numbers = distinct_documents(texts)
    unit = np.empty((len(numbers), vectors.shape[1]), np.float16)
    total = np.zeros(vectors.shape[1])
    for start in range(0, len(numbers), CHUNK):
        some = np.asarray(vectors[numbers[start : start + CHUNK]], np.float32)
        lengths = np.linalg.norm(some, axis=1, keepdims=True)
        if len(bad := np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))):
            raise ArgumentError(
                f"The vector of document {numbers[start + bad[0]] + 1:,} is zero or not finite; embed it again, or "
                f"leave the document out."
            )
        some /= lengths
        total += some.sum(axis=0)
        unit[start : start + CHUNK] = some
    if np.linalg.norm(total) / len(numbers) > ALL_ALIKE:
        raise ArgumentError("The vectors are all alike, so that nothing can be learned from them.")
    count = min(MAX_HELD_OUT, max(1, round(hold_out * len(numbers))))
    held_out = np.sort(np.random.default_rng(seed).choice(len(numbers), count, replace=False))
    axes = principal_axes(unit, seed)
    return Index([texts[number] for number in numbers], rotate(unit, axes, unit), axes, held_out)


class HeldOutRetrieval:
    """Retrieval of held-out documents by pseudo-queries, spans of 3 to 8 of their words, among up to 10,000 others.

    A span has the very words of its document, so that BM25 scores higher here than for queries that people write.
    """

    def __init__(self, index: Index, seed: int) -> None:
        random = Random(seed)
        self.queries = [draw_span(index.texts[number], random) for number in index.held_out]
        others = index.trained
        if len(others) > MAX_SEARCHED:
            others = np.sort(np.random.default_rng(seed).choice(others, MAX_SEARCHED, replace=False))
        numbers = np.concatenate([index.held_out, others])
        self._documents = [index.texts[number] for number in numbers]
        self._vectors = index.vectors[numbers].astype(np.float32)
        self._bm25 = BM25(self._documents).scores(self.queries)

    def of_bm25(self) -> RetrievalScore:
        """Score BM25."""
        return self._score("BM25", self._bm25)

    def of_static(self, name: str, model: SentenceTransformer) -> list[RetrievalScore]:
        """Score a static model on both sides, alone and with BM25."""
        return self._scores(name, _encode(model, self.queries) @ _encode(model, self._documents).T)

    def of_queries(self, name: str, queries: npt.NDArray[np.floating[Any]]) -> list[RetrievalScore]:
        """Score embeddings [n, d] of the queries, d ≤ D, against the documents' vectors, alone and with BM25."""
        return self._scores(name, queries.astype(np.float32) @ self._vectors[:, : queries.shape[1]].T)

    def of_static_queries(self, name: str, model: SentenceTransformer) -> list[RetrievalScore]:
        """Score a static model of the queries against the documents' vectors, alone and with BM25."""
        return self.of_queries(name, _encode(model, self.queries))

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

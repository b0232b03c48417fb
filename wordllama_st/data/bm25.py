"""Search by words: BM25 over stems, alone and together with a model's scores."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wordllama_st.errors import require

#: Share of the model's score in a combined one.
MODEL_WEIGHT = 0.6


class BM25:
    """An index of documents by the stems of their words, for their BM25 scores (Robertson and Zaragoza, 2009).

    The library bm25s scores, as Lucene does, with k1 of 1.5 and b of 0.75. Words have two characters or more, in lower
    case; English stop words are left out, and the others stemmed by Porter's algorithm (Program 14(3), 1980).

    Raises:
        MissingExtraError: If bm25s or PyStemmer is not installed.
    """

    def __init__(self, documents: Sequence[str]) -> None:
        require("train", "bm25s", "Stemmer")
        import bm25s
        from Stemmer import Stemmer

        logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG when it is imported
        self._tokenize, self._stemmer, self._count = bm25s.tokenize, Stemmer("porter"), len(documents)
        self._index = bm25s.BM25()
        words = self._stems(documents)
        self._has_words = any(words)  # the library builds no index of none
        if self._has_words:
            self._index.index(words, show_progress=False)

    def scores(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Score every document for every query, as float32 [n, m]; 0 for those that share no stem."""
        scores = np.zeros((len(queries), self._count), np.float32)
        if self._has_words:
            for row, stems in zip(scores, self._stems(queries), strict=True):
                row[:] = self._index.get_scores_from_ids(self._index.get_tokens_ids(stems))
        return scores

    def _stems(self, texts: Sequence[str]) -> list[list[str]]:
        options = {"stopwords": "en", "stemmer": self._stemmer, "return_ids": False, "show_progress": False}
        found: list[list[str]] = self._tokenize(list(texts), **options)
        return found


def combine_with_bm25(
    scores: NDArray[np.float32], bm25: NDArray[np.float32], weight: float = MODEL_WEIGHT
) -> NDArray[np.float32]:
    """Combine a model's scores [n, m] of m documents for n queries with those of BM25, [n, m].

    The result is ``weight`` of the model's and the rest of BM25's scores, each scaled for each query so that the least
    is 0 and the largest 1 (Wang, Zhuang and Zuccon, ICTIR 2021, interpolate so). Equal scores are 0.
    """
    return weight * _scaled(scores) + (1 - weight) * _scaled(bm25)


def _scaled(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    least = scores.min(axis=1, keepdims=True)
    spread = scores.max(axis=1, keepdims=True) - least
    scaled: NDArray[np.float32] = (scores - least) / np.where(spread > 0, spread, np.float32(1))
    return scaled

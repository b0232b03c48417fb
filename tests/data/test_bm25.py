"""BM25 finds documents by the stems of their words, whatever the texts, and its scores combine with a model's."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordllama_st.data.bm25 import BM25, combine_with_bm25

DOCUMENTS = [
    "Running llamas eat grass.",
    "The llama runs; it runs!",
    "Rain in the harbour",
    "",
    "Running llamas eat grass.",
]


def test_words_are_found_by_their_stems_and_stop_words_are_not() -> None:
    index = BM25(DOCUMENTS)
    scores = index.scores(["a runner ran", "is it running?", "in the"])
    assert scores.dtype == np.float32
    assert scores.shape == (3, 5)
    assert not scores[[0, 2]].any()  # "runner" has another stem
    assert scores[1, 1] > scores[1, 0] == scores[1, 4] > 0 == scores[1, 2] == scores[1, 3]
    np.testing.assert_array_equal(index.scores(["rain"]), index.scores(["Raining rains"]) / 2)  # each word counts


@pytest.mark.parametrize("documents", [["", ""], ["the of", "and"], ["?!", "a b c"]])
def test_without_words_every_score_is_0(documents: list[str]) -> None:
    assert not BM25(documents).scores(["llamas", ""]).any()


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.lists(st.text(max_size=20), max_size=3))
def test_any_texts_have_scores(documents: list[str], queries: list[str]) -> None:
    scores = BM25(documents).scores(queries)
    assert scores.shape == (len(queries), len(documents))
    assert np.isfinite(scores).all()


def test_nothing_is_printed_or_logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    BM25(DOCUMENTS).scores(["llamas"])
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_combined_scores_weigh_both_in_the_range_of_each_query() -> None:
    scores = np.array([[-0.5, 0.0, 0.5], [0.2, 0.2, 0.2]], np.float32)
    words = np.array([[0, 8, 4], [3, 0, 0]], np.float32)
    expected = [[0.0, 0.3 + 0.4, 0.6 + 0.2], [0.4, 0.0, 0.0]]
    combined = combine_with_bm25(scores, words)
    assert combined.dtype == np.float32
    np.testing.assert_allclose(combined, expected, atol=1e-7)
    np.testing.assert_allclose(combine_with_bm25(scores, words, weight=1)[0], [0, 0.5, 1])

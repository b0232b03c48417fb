"""The contributions of pairs, by token, by word or folded, add up to what the encoder computes; errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from explained import LOGIN, PASSWORD, TEXTS, made, released
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizer_kinds import CORPUS

from wordllama_st import StaticEncoder
from wordllama_st.analysis import Explanation, explain
from wordllama_st.analysis import explanation as explaining
from wordllama_st.errors import ArgumentError, ModelUnavailableError


def told_in_every_way(explanation: Explanation) -> list[Explanation]:
    return [explanation, explanation.by_word(), explanation.by_spelling(), explanation.by_spelling().folded(3)]


@pytest.mark.parametrize("kind", ["llama2", "gpt2", "bert", "t5", "gpt4o", "xlm_roberta, added tokens"])
@pytest.mark.parametrize(
    "options", [{}, {"similarity_fn_name": "dot"}, {"similarity_fn_name": "dot", "normalize": True}]
)
@given(text_a=TEXTS, text_b=TEXTS, dim=st.sampled_from([None, 8]))
@settings(max_examples=15)
def test_contributions_add_up_to_the_similarity_of_every_two_texts(
    kind: str, options: dict[str, object], text_a: str, text_b: str, dim: int | None
) -> None:
    encoder = made(kind, **options)
    assume(encoder.tokenize(text_a) and encoder.tokenize(text_b))
    expected = float(encoder.similarity(*encoder.encode([text_a, text_b], truncate_dim=dim))[0, 0])
    whole = explain(encoder, text_a, text_b, dim=dim)
    assert whole.contributions.shape == (len(encoder.tokenize(text_a)), len(encoder.tokenize(text_b)))
    tolerance = 1e-6 * max(1.0, float(np.abs(whole.contributions).sum()))
    for explanation in told_in_every_way(whole):
        assert explanation.contributions.dtype == np.float64
        assert explanation.contributions.shape == (len(explanation.a.labels), len(explanation.b.labels))
        assert abs(explanation.contributions.sum() - expected) <= tolerance
        assert abs(explanation.score - expected) <= tolerance
        np.testing.assert_allclose(explanation.contributions_a, explanation.contributions.sum(axis=1), atol=1e-12)
        np.testing.assert_allclose(explanation.contributions_b, explanation.contributions.sum(axis=0), atol=1e-12)


@pytest.mark.parametrize(("text_a", "text_b"), [(PASSWORD, LOGIN), ("a", "b"), ("a", "a"), (CORPUS[3], CORPUS[0])])
def test_of_a_released_model_too(text_a: str, text_b: str) -> None:
    encoder = released()
    expected = float(encoder.similarity(*encoder.encode([text_a, text_b]))[0, 0])
    assert explain(encoder, text_a, text_b).contributions.sum() == pytest.approx(expected, abs=1e-6)


def test_of_small_tables_too() -> None:
    for dtype in ("float16", "int8"):
        small = StaticEncoder(made("bert").table, dtype=dtype)  # type: ignore[arg-type]
        expected = float(small.similarity(*small.encode([CORPUS[0], CORPUS[4]]))[0, 0])
        assert explain(small, CORPUS[0], CORPUS[4]).score == pytest.approx(expected, abs=1e-6)


def test_a_words_contributions_are_its_tokens() -> None:
    tokens = explain(released(), "unbelievably sesquipedalian", LOGIN)
    words = tokens.by_word()
    assert words.a.labels == ["unbelievably", "sesquipedalian"]
    assert words.b.labels == ["I", "can't", "log", "in", ",", "I", "forgot", "my", "login", "credentials", "."]
    cut = next(index for index, piece in enumerate(tokens.a.pieces) if piece.start >= len("unbelievably"))
    assert 1 < cut < len(tokens.a.labels) - 1
    np.testing.assert_allclose(words.contributions_a[0], tokens.contributions_a[:cut].sum())
    assert words.by_word() is words


def test_words_written_the_same_are_taken_together_and_the_smallest_folded() -> None:
    words = explain(released(), "red blue red green red", "a red apple").by_word()
    together = words.by_spelling()
    assert together.a.labels == ["red \N{MULTIPLICATION SIGN}3", "blue", "green"]
    np.testing.assert_allclose(together.contributions_a[0], words.contributions_a[[0, 2, 4]].sum())
    folded = together.folded(1)
    assert folded.a.labels == ["red \N{MULTIPLICATION SIGN}3", "2 others"]
    assert (folded.a.folded, folded.b.folded) == (2, 2)
    np.testing.assert_allclose(folded.contributions_a[1], together.contributions_a[1:].sum())
    unchanged = together.folded(3)
    assert unchanged.a.labels == together.a.labels


@pytest.mark.parametrize("chunk", [1, 40, 2**22])
def test_ranked_pairs_are_those_of_the_whole_table(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "_CHUNK", chunk)
    explanation = explain(released(), PASSWORD, LOGIN)
    table = explanation.contributions
    for sign, ranked in ((1, explanation.ranked_pairs(7)), (-1, explanation.ranked_pairs(7, sign=-1))):
        best = np.argsort(-sign * table.ravel(), kind="stable")[:7]
        rows, columns = np.unravel_index(best, table.shape)
        assert [(pair.a, pair.b) for pair in ranked.pairs] == [
            (explanation.a.labels[row], explanation.b.labels[column]) for row, column in zip(rows, columns, strict=True)
        ]
        np.testing.assert_allclose([pair.contribution for pair in ranked.pairs], table.ravel()[best])
        of_sign = table[sign * table > 0]
        assert (ranked.number, ranked.total) == (len(of_sign), pytest.approx(of_sign.sum()))
    assert explanation.ranked_pairs(0).pairs == []
    assert explain(released(), "a", "a").ranked_pairs(3, sign=-1) == ([], 0, 0.0)


def test_prompts_are_part_of_the_texts() -> None:
    table = replace(made("llama2").table, prompts={"query": "query: ", "passage": "passage: "})
    encoder = StaticEncoder(table)
    explanation = explain(encoder, "a llama", "an alpaca", prompt_name_a="query", prompt_name_b="passage")
    expected = encoder.similarity(
        encoder.encode("a llama", prompt_name="query"), encoder.encode("an alpaca", prompt_name="passage")
    )
    assert explanation.score == pytest.approx(float(expected[0, 0]), abs=1e-6)
    assert explanation.by_word().a.labels == ["query", ":", "a", "llama"]
    by_default = StaticEncoder(replace(table, default_prompt_name="query"))
    assert explain(by_default, "a llama", "an alpaca").b.text == "query: an alpaca"


def test_a_text_without_tokens_or_without_a_vector_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"The first text, '', has no tokens"):
        explain(released(), "", "a")
    with pytest.raises(ArgumentError, match=r"The second text, ' \\n', has no tokens"):
        explain(made("bert"), "a", " \n")
    table = made("bert").table
    weight = table.weight.copy()
    first, second = (table.tokenizer.token_to_id(letter) for letter in "ab")
    weight[second] = -weight[first]
    with pytest.raises(
        ArgumentError, match="The second text, 'a b', has token embeddings that sum to zero, which has no"
    ):
        explain(StaticEncoder(replace(table, weight=weight)), "a", "a b")
    by_dot = StaticEncoder(replace(table, weight=weight, similarity_fn_name="dot"))
    assert explain(by_dot, "a", "a b").score == 0
    assert "nothing" not in explain(by_dot, "a b", "a b").to_html()
    weight[first, 0] = np.nan
    with pytest.raises(ArgumentError, match="The first text, 'a', has token embeddings that are not finite"):
        explain(StaticEncoder(replace(table, weight=weight)), "a", "b")


@pytest.mark.parametrize("name", ["euclidean", "manhattan"])
def test_a_distance_is_no_sum(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"{name} distance.*explained is cosine and dot"):
        explain(made("bert", similarity_fn_name=name), "a", "b")


def test_what_the_encoder_refuses_is_refused_with_its_words() -> None:
    with pytest.raises(ArgumentError, match="have 256 dimensions; they cannot be cut to 300"):
        explain(released(), "a", "b", dim=300)
    with pytest.raises(ArgumentError, match="Text 1 has half of a surrogate pair"):
        explain(released(), "a", "\udc00")
    with pytest.raises(ArgumentError, match="Text 0 is NoneType, not str"):
        explain(released(), None, "b")  # type: ignore[arg-type]
    with pytest.raises(ModelUnavailableError):
        explain("./nowhere", "a", "b")

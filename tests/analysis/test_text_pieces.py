"""Every token and word of every text is shown, as the text has it."""

from __future__ import annotations

import numpy as np
import pytest
from explained import TEXTS, made
from hypothesis import given, settings
from tokenizer_kinds import KINDS

from wordllama_st.analysis.text_pieces import token_pieces, visible, word_pieces


@pytest.mark.parametrize(
    ("kind", "text", "tokens", "words"),
    [
        ("llama2", "a  fox 😀", "a ␣ fo x ␣ 😀_1/4 😀_2/4 😀_3/4 😀_4/4", "a fox 😀"),
        ("gpt2", "a  fox 😀地", "a ␣ fox 😀 地_1/2 地_2/2", "a fox 😀 地"),
        ("gpt2_prefixed", "fox\n\n½", "fox ↵ ↵ ½_1/2 ½_2/2", "fox ½"),
        ("starcoder", "½", "1 ½_2/5 ½_3/5 ½_4/5 2", "½"),
        ("gpt4o", "e\u0301", "e\u0301_1/2 e\u0301_2/2", "e\u0301"),
        ("qwen2", "e\u0301", "e\u0301", "e\u0301"),
        ("bert", "The naïve ½", "The naïve ½_[UNK]", "The naïve ½"),
        ("t5", "Hello", "␣ H e l lo", "Hello"),
        ("unigram_lower", "Hello", "␣ He l lo", "Hello"),
        ("llama2", "dog's 天地\x1b[0m", "dog ' s ␣ 天 地 U+001B [ 0 m", "dog's 天 地 U+001B[ 0m"),
        ("llama2", " ", "␣", "␣"),
    ],
)
def test_tokens_and_words_are_shown_as_the_text_has_them(kind: str, text: str, tokens: str, words: str) -> None:
    pieces = token_pieces(KINDS[kind](), text)
    assert [piece.label.replace(" ", "_") for piece in pieces] == tokens.split(" ")
    assert [piece.label for piece in word_pieces(text, pieces)[0]] == words.split(" ")


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(text=TEXTS)
@settings(max_examples=10)
def test_every_token_and_word_of_every_text_can_be_seen(kind: str, text: str) -> None:
    tokens = token_pieces(KINDS[kind](), text)
    assert len(tokens) == len(made(kind).tokenize(text))
    words, places = word_pieces(text, tokens) if tokens else ([], np.array([]))
    assert sorted(set(places.tolist())) == list(range(len(words)))
    for piece in (*tokens, *words):
        assert 0 <= piece.start <= piece.end <= len(text)
        shown = piece.label.replace("\u200c", "").replace("\u200d", "")
        assert shown.isprintable()
        assert shown.strip()
    for token, place in zip(tokens, places.tolist(), strict=True):
        assert words[place].start <= token.start <= token.end <= words[place].end


def test_signs_stand_for_what_cannot_be_seen() -> None:
    assert visible("\t a\tb ") == "a⇥b"
    assert visible(" \n\u3000") == "␣↵U+3000"
    assert visible("\u202eevil") == "U+202Eevil"  # would turn the line around
    assert visible("👩\u200d🔬") == "👩\u200d🔬"
    assert visible("\u0301") == "◌\u0301"

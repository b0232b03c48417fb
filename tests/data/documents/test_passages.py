"""Passages hold all of a text in its order, and are neither too short nor too long; names are split into words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wordllama_st.data.documents.passages import (
    MAX_CHARACTERS,
    MIN_CHARACTERS,
    is_language,
    make_passages,
    one_line,
    paragraphs,
    readable,
    with_words,
    words,
)

WORD = st.text("abcdeéДש.!?,\"')-", min_size=1, max_size=30)
#: Texts of some thousand characters too, which hypothesis does not come up with by itself.
LONG_TEXT = st.lists(st.lists(WORD, max_size=60).map(" ".join), max_size=8).map("\n\n".join)


@given(text=st.text() | LONG_TEXT | st.text("これは文です。", max_size=4000))
@settings(max_examples=150)
def test_passages_joined_hold_every_text_in_order(text: str) -> None:
    passages = make_passages(paragraphs(text))
    assert "".join("".join(passages).split()) == "".join(text.split())
    assert all(passage == one_line(passage) != "" for passage in passages)
    assert all(len(passage) <= MAX_CHARACTERS + 2 * MIN_CHARACTERS for passage in passages)
    assert len(passages) < 2 or all(len(passage) >= MIN_CHARACTERS for passage in passages)


@given(text=LONG_TEXT)
@settings(max_examples=100)
def test_no_word_is_divided(text: str) -> None:
    assert " ".join(make_passages(paragraphs(text))).split() == text.split()


def test_long_paragraphs_are_cut_at_ends_of_sentences_and_short_ones_joined() -> None:
    sentence = "A sentence of some length ends here, and nowhere else before it does."
    passages = make_passages(["For example:", " ".join([sentence] * 30), "Short."])
    assert len(passages) == 3
    assert passages[0].startswith("For example: A sentence")
    assert all(passage.endswith("before it does.") for passage in passages[:-1])
    assert passages[-1].endswith("before it does. Short.")
    assert make_passages(["For example:", "one", "two"]) == ["For example: one two"]


def test_what_utf8_cannot_hold_is_replaced() -> None:
    assert make_passages(["a lone \ud800 surrogate"]) == ["a lone ? surrogate"]


def test_words_are_those_of_any_script() -> None:
    assert words("The HTTP-Server's Zähler") == ["the", "http", "server", "s", "zähler"]
    assert words("検索する") == ["検", "索", "す", "る"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A plain sentence, with 3 numbers (1, 2).", True),
        ("検索する文です。", True),
        ("1.0 2.0 3.0 | 4.0 5.0", False),
        ("+-----+-----+ a +-----+", False),
        ("The key is " + "Zm9v" * 100, False),
        ("", False),
    ],
)
def test_tables_of_numbers_and_encoded_data_are_no_language(text: str, expected: bool) -> None:
    assert is_language(text) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("read_csv", "read csv"),
        ("HTTPServer", "HTTP Server"),
        ("DataFrame.to_SQL", "Data Frame to SQL"),
        ("_private__name", "private name"),
        ("sort", "sort"),
        ("überGröße", "über Größe"),
        ("getting-started", "getting started"),
    ],
)
def test_names_are_split_into_words(name: str, expected: str) -> None:
    assert readable(name) == expected


def test_the_name_itself_stays_beside_its_words() -> None:
    assert with_words("read_csv") == "read_csv read csv"
    assert with_words("sort") == "sort"

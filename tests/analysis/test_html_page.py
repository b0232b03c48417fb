"""The page of an explanation: its printed cells add up, it is accessible, and whatever texts are in it are data."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from explained import LOGIN, PASSWORD, TEXTS, made, released
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from wordllama_st import StaticEncoder
from wordllama_st.analysis import explain
from wordllama_st.analysis.explanation import MOST_SHOWN
from wordllama_st.static.table import StaticTable

MINUS = "\N{MINUS SIGN}"


class Page(HTMLParser):
    """What of a page is text, and the table in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.shown = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] != "style":
            self.shown += data
        if self.rows and self.rows[-1] and "</table" not in data:
            self.rows[-1][-1] += data.rstrip("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.rows.append([])  # what follows is in no cell

    def numbers(self) -> np.ndarray:
        """The table with its sums, as printed."""
        rows = [row[1:] for row in self.rows[1:] if row]
        return np.array([[float(cell.replace(MINUS, "-")) for cell in row] for row in rows])


def assert_adds_up(page: str, score: float, factor: int = 100) -> np.ndarray:
    """The printed cells add up to the printed sums, as far as rounding each by itself allows."""
    step = float(re.search(r"rounded by itself, to ([\d.]+):", page).group(1))  # type: ignore[union-attr]
    numbers = Page(page).numbers()
    cells, half = numbers[:-1, :-1], step / 2 * (1 + 1e-9)
    assert (abs(cells.sum(axis=1) - numbers[:-1, -1]) <= half * (cells.shape[1] + 1)).all()
    assert (abs(cells.sum(axis=0) - numbers[-1, :-1]) <= half * (cells.shape[0] + 1)).all()
    total = numbers[-1, -1]
    assert abs(total - factor * score) <= half
    assert abs(cells.sum() - total) <= half * (cells.size + 1)
    said = re.search(r"as printed, the ([\d,]+) cells\s+add up to (\S+), unrounded to (\S+)\.", page)
    assert said is not None
    assert int(said[1].replace(",", "")) == cells.size
    assert float(said[2].replace(MINUS, "-")) == pytest.approx(cells.sum(), abs=step / 10)
    assert float(said[3].replace(MINUS, "-")) == total
    return cells


@given(text_a=TEXTS, text_b=TEXTS, options=st.sampled_from([{}, {"similarity_fn_name": "dot"}]))
@settings(max_examples=30)
def test_the_printed_cells_add_up_to_the_printed_score(text_a: str, text_b: str, options: dict[str, object]) -> None:
    explanation = explain(made("llama2", **options), text_a, text_b)
    assert_adds_up(explanation.to_html(), explanation.score, 1 if options else 100)


def test_a_page_is_a_table_that_is_read_by_eye_by_keyboard_and_aloud() -> None:
    explanation = explain(released(), PASSWORD, LOGIN)
    page = Page(explanation.to_html())
    head, *rows = (row for row in page.rows if row)
    assert head == ["first \\ second", *explanation.b.labels, "sum"]
    assert [row[0] for row in rows] == [*explanation.a.labels, "sum"]
    strongest = explanation.ranked_pairs(1).pairs[0]
    assert page.numbers()[:-1, :-1].max() == pytest.approx(100 * strongest.contribution, abs=5e-3)
    scopes = [attributes.get("scope") for tag, attributes in page.elements if tag == "th"]
    assert scopes == ["col"] * len(head) + ["row"] * len(rows)
    captions = [attributes["id"] for tag, attributes in page.elements if tag == "caption"]
    (region,) = (attributes for _, attributes in page.elements if attributes.get("role") == "region")
    assert [region["aria-labelledby"]] == captions
    assert region["tabindex"] == "0"
    (coloured,) = (a for t, a in page.elements if t == "td" and a.get("title") == "password · login")
    assert coloured["class"] == "p"
    assert coloured["style"] == "--s:1.00"
    (against,) = (a for t, a in page.elements if t == "td" and a.get("title") == "? · login")
    assert against["class"] == "n"


def test_texts_are_data_and_nothing_is_fetched() -> None:
    text = "</p><script>alert('x')</script> & \"quoted\" <img src=https://example.com/x onerror=alert(1)>"
    page = replace(explain(released(), text, f"{text} twice"), model="<b>model</b>").to_html()
    parsed = Page(page)
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "img", "b", "link", "iframe"})
    assert text in parsed.shown
    assert not any(name.startswith("on") or name in ("src", "href") for _, a in parsed.elements for name in a)
    assert "url(" not in page
    assert "@import" not in page
    (policy,) = (a["content"] for t, a in parsed.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_a_models_tokens_and_what_it_has_no_token_for_are_data() -> None:
    known, unknown = (f"{quote}><img/src=x>" for quote in "\"'")
    tokenizer = Tokenizer(models.WordLevel({known: 0, "plain": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    weight = np.array([[1.0, 0.2], [0.5, 1.0], [0.0, 0.0]], np.float32)  # what is unknown has no colour
    text = f"{unknown} {known} {unknown} plain {unknown}"
    page = Page(explain(StaticEncoder(StaticTable(weight, tokenizer)), text, text).to_html())
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "img"})
    assert text in page.shown
    titles = {attributes.get("title") for _, attributes in page.elements}
    assert {known, f"{unknown} [UNK]", f"{known} · {unknown} [UNK]"} <= titles


@given(text=st.text(min_size=1).filter(str.strip))
@settings(max_examples=50)
def test_a_page_has_every_text_as_it_was_written(text: str) -> None:
    text = text.replace("\r", " ")  # which HTML itself takes for a line feed
    shown = Page(explain(made("gpt2"), text, "another").to_html()).shown
    assert text in shown


def test_long_texts_make_small_pages_that_still_add_up() -> None:
    generator = np.random.default_rng(0)
    vocabulary = [f"{'bcdfglmnprst'[i % 12]}{'aeiou'[i % 5]}{'klmnrstx'[i % 8]}{i % 97}" for i in range(2000)]
    texts = [" ".join(generator.choice(vocabulary, 4000)) for _ in range(2)]
    explanation = explain(released(), *texts)
    assert min(len(explanation.a.labels), len(explanation.b.labels)) > 10_000
    page = explanation.to_html()
    assert len(page) < 2_000_000
    assert assert_adds_up(page, explanation.score).shape == (MOST_SHOWN + 1, MOST_SHOWN + 1)
    folded = len(explanation.by_spelling().a.labels) - MOST_SHOWN
    assert f"the {folded:,} whose sums are closest to zero are one row" in " ".join(page.split())

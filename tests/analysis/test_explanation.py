"""A similarity taken apart adds up to the similarity, however it is told, and is told legibly.

Protects: that contributions, by token, by word or folded, add up to what the encoder computes; what tokens and words
are shown as; the page, whose printed cells add up and whose texts are data; the command; errors.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizer_kinds import CORPUS, KINDS

from wordllama_st import StaticEncoder
from wordllama_st.analysis import explanation as explaining
from wordllama_st.analysis.explanation import Explanation, explain
from wordllama_st.analysis.heat_map import MOST_ROWS, heat_map
from wordllama_st.analysis.text_pieces import token_pieces, visible, word_pieces
from wordllama_st.cli import explain as explain_command
from wordllama_st.errors import ArgumentError, ModelUnavailableError, OutputExistsError
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.tokenizer import num_token_ids

MINUS = "\N{MINUS SIGN}"
EMBEDDED = "wordllama-l2-supercat-256"
PASSWORD, LOGIN = "How do I reset my password?", "I can't log in, I forgot my login credentials."
TEXTS = st.text(min_size=1) | st.lists(st.sampled_from(CORPUS), min_size=1, max_size=4).map(" ".join)


@cache
def made(kind: str, **options: object) -> StaticEncoder:
    tokenizer = KINDS[kind]()
    weight = np.random.default_rng(0).standard_normal((num_token_ids(tokenizer), 32)).astype(np.float32)
    return StaticEncoder(StaticTable(weight, tokenizer, **options))  # type: ignore[arg-type]


@cache
def released() -> StaticEncoder:
    return StaticEncoder.from_pretrained(EMBEDDED)


def told_in_every_way(explanation: Explanation) -> list[Explanation]:
    return [explanation, explanation.by_word(), explanation.by_spelling(), explanation.by_spelling().folded(3)]


# What is added up


@pytest.mark.parametrize("kind", ["llama2", "gpt2", "bert", "t5", "gpt4o", "xlm_roberta, added tokens"])
@pytest.mark.parametrize(
    "options", [{}, {"similarity_fn_name": "dot"}, {"similarity_fn_name": "dot", "normalize": True}]
)
@given(text_a=TEXTS, text_b=TEXTS, truncate_dim=st.sampled_from([None, 8]))
@settings(max_examples=15, deadline=None)
def test_contributions_add_up_to_the_similarity_of_every_two_texts(
    kind: str, options: dict[str, object], text_a: str, text_b: str, truncate_dim: int | None
) -> None:
    encoder = made(kind, **options)
    assume(encoder.tokenize(text_a) and encoder.tokenize(text_b))
    expected = float(encoder.similarity(*encoder.encode([text_a, text_b], truncate_dim=truncate_dim))[0, 0])
    whole = explain(encoder, text_a, text_b, truncate_dim=truncate_dim)
    assert whole.contributions.shape == (len(encoder.tokenize(text_a)), len(encoder.tokenize(text_b)))
    tolerance = 1e-6 * max(1.0, float(np.abs(whole.contributions).sum()))
    for explanation in told_in_every_way(whole):
        assert explanation.contributions.dtype == np.float64
        assert explanation.contributions.shape == (len(explanation.tokens_a), len(explanation.tokens_b))
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
    assert words.tokens_a == ["unbelievably", "sesquipedalian"]
    assert words.tokens_b == ["I", "can't", "log", "in", ",", "I", "forgot", "my", "login", "credentials", "."]
    cut = next(index for index, piece in enumerate(tokens.a.pieces) if piece.start >= len("unbelievably"))
    assert 1 < cut < len(tokens.tokens_a) - 1
    np.testing.assert_allclose(words.contributions_a[0], tokens.contributions_a[:cut].sum())
    assert words.by_word() is words


def test_words_written_the_same_are_taken_together_and_the_smallest_folded() -> None:
    words = explain(released(), "red blue red green red", "a red apple").by_word()
    together = words.by_spelling()
    assert together.tokens_a == ["red \N{MULTIPLICATION SIGN}3", "blue", "green"]
    np.testing.assert_allclose(together.contributions_a[0], words.contributions_a[[0, 2, 4]].sum())
    folded = together.folded(1)
    assert folded.tokens_a == ["red \N{MULTIPLICATION SIGN}3", "2 others"]
    assert (folded.a.folded, folded.b.folded) == (2, 2)
    np.testing.assert_allclose(folded.contributions_a[1], together.contributions_a[1:].sum())
    unchanged = together.folded(3)
    assert unchanged.tokens_a == together.tokens_a


@pytest.mark.parametrize("chunk", [1, 40, 2**22])
def test_ranked_pairs_are_those_of_the_whole_table(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "_CHUNK", chunk)
    explanation = explain(released(), PASSWORD, LOGIN)
    table = explanation.contributions
    for sign, ranked in ((1, explanation.strongest_pairs(7)), (-1, explanation.opposed_pairs(7))):
        best = np.argsort(-sign * table.ravel(), kind="stable")[:7]
        rows, columns = np.unravel_index(best, table.shape)
        assert [(pair.a, pair.b) for pair in ranked.pairs] == [
            (explanation.tokens_a[row], explanation.tokens_b[column]) for row, column in zip(rows, columns, strict=True)
        ]
        np.testing.assert_allclose([pair.contribution for pair in ranked.pairs], table.ravel()[best])
        of_sign = table[sign * table > 0]
        assert (ranked.number, ranked.total) == (len(of_sign), pytest.approx(of_sign.sum()))
    assert explanation.strongest_pairs(0).pairs == []
    assert explain(released(), "a", "a").opposed_pairs(3) == ([], 0, 0.0)


def test_prompts_are_part_of_the_texts() -> None:
    table = replace(made("llama2").table, prompts={"query": "query: ", "passage": "passage: "})
    encoder = StaticEncoder(table)
    explanation = explain(encoder, "a llama", "an alpaca", prompt_name_a="query", prompt_name_b="passage")
    expected = encoder.similarity(
        encoder.encode("a llama", prompt_name="query"), encoder.encode("an alpaca", prompt_name="passage")
    )
    assert explanation.score == pytest.approx(float(expected[0, 0]), abs=1e-6)
    assert explanation.by_word().tokens_a == ["query", ":", "a", "llama"]
    by_default = StaticEncoder(replace(table, default_prompt_name="query"))
    assert explain(by_default, "a llama", "an alpaca").b.text == "query: an alpaca"


# What tokens and words look like


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
@settings(max_examples=10, deadline=None)
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


# The page


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
@settings(max_examples=30, deadline=None)
def test_the_printed_cells_add_up_to_the_printed_score(text_a: str, text_b: str, options: dict[str, object]) -> None:
    explanation = explain(made("llama2", **options), text_a, text_b)
    assert_adds_up(heat_map(explanation, "a model"), explanation.score, 1 if options else 100)


def test_a_page_is_a_table_that_is_read_by_eye_by_keyboard_and_aloud() -> None:
    explanation = explain(released(), PASSWORD, LOGIN)
    page = Page(heat_map(explanation, EMBEDDED))
    head, *rows = (row for row in page.rows if row)
    assert head == ["first \\ second", *explanation.tokens_b, "sum"]
    assert [row[0] for row in rows] == [*explanation.tokens_a, "sum"]
    strongest = explanation.strongest_pairs(1).pairs[0]
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
    page = heat_map(explain(released(), text, f"{text} twice"), "<b>model</b>")
    parsed = Page(page)
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "img", "b", "link", "iframe"})
    assert text in parsed.shown
    assert not any(name.startswith("on") or name in ("src", "href") for _, a in parsed.elements for name in a)
    assert "url(" not in page
    assert "@import" not in page
    (policy,) = (a["content"] for t, a in parsed.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


@given(text=st.text(min_size=1).filter(str.strip))
@settings(max_examples=50, deadline=None)
def test_a_page_has_every_text_as_it_was_written(text: str) -> None:
    text = text.replace("\r", " ")  # which HTML itself takes for a line feed
    shown = Page(heat_map(explain(made("gpt2"), text, "another"), "a model")).shown
    assert text in shown


def test_long_texts_make_small_pages_that_still_add_up() -> None:
    generator = np.random.default_rng(0)
    vocabulary = [f"{'bcdfglmnprst'[i % 12]}{'aeiou'[i % 5]}{'klmnrstx'[i % 8]}{i % 97}" for i in range(2000)]
    texts = [" ".join(generator.choice(vocabulary, 4000)) for _ in range(2)]
    explanation = explain(released(), *texts)
    assert min(len(explanation.tokens_a), len(explanation.tokens_b)) > 10_000
    page = heat_map(explanation, EMBEDDED)
    assert len(page) < 2_000_000
    assert assert_adds_up(page, explanation.score).shape == (MOST_ROWS + 1, MOST_ROWS + 1)
    folded = len(explanation.by_spelling().tokens_a) - MOST_ROWS
    assert f"the {folded:,} whose sums are closest to zero are one row" in " ".join(page.split())


# The command


def run(*arguments: str) -> str:
    parser = argparse.ArgumentParser()
    explain_command.add_arguments(parser)
    lines: list[str] = []
    explain_command.run(parser.parse_args(arguments), lines.append)
    return "\n".join(lines)


def test_the_command_tells_the_strongest_pairs_and_every_token() -> None:
    printed = run(EMBEDDED, PASSWORD, LOGIN, "--top", "2")
    assert printed.startswith("cosine similarity 0.5061\n")
    assert "+50.61 is the sum over 91 pairs of tokens, in hundredths of the cosine." in printed
    similar, apart, sums = (part.splitlines() for part in printed.split("\n\n")[2:5])
    assert similar[1].split() == ["password", "login", "+11.50", "22.7", "%"]
    assert similar[2].split()[:2] == ["reset", "forgot"]
    assert similar[3].strip().startswith("47 pairs more, together")
    assert apart[1].split()[:3] == ["?", "login", "-1.06"]
    for half in (similar[1:], apart[1:]):
        assert len(half) == 3
    listed = sum(float(line.split()[-3]) for line in similar[1:] + apart[1:])
    assert listed == pytest.approx(50.61, abs=0.03)
    assert sums[2].split() == ["How", "+2.99", "5.9", "%", "I", "+0.92", "1.8", "%"]
    assert sums[9].split()[:3] == ["all", "together", "+50.61"]
    assert "by itself, to 0.01" in printed


def test_by_word_at_another_dim() -> None:
    printed = run(EMBEDDED, "unbelievably sesquipedalian", LOGIN, "--words", "--dim", "64")
    expected = explain(released(), "unbelievably sesquipedalian", LOGIN, truncate_dim=64).by_word()
    assert f"cosine similarity {expected.score:.4f}" in printed
    assert "22 pairs of words" in printed
    assert re.search(r"\n  unbelievably +[+-]", printed)


def columns(line: str) -> int:
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) or c == "\u200d" else 1 + (unicodedata.east_asian_width(c) in "WF") for c in line
    )


def test_lines_are_aligned_and_none_is_wider_than_a_hundred_columns() -> None:
    wide = "天地玄黄,宇宙洪荒。 いろはにほへと e\u0301le\u0300ve " + "x" * 90 + " 天" * 60
    printed = run(EMBEDDED, wide, "The universe & the earth 天地 👩\u200d🔬", "--words")
    lines = printed.splitlines()
    assert max(map(columns, lines)) <= 100
    pairs = lines[lines.index("What makes them similar") + 1 :]
    pairs = pairs[: pairs.index("")]
    assert len({columns(line) for line in pairs}) == 1
    assert "…" in printed


def test_a_score_near_zero_has_no_shares() -> None:
    table = made("bert").table
    weight = table.weight.copy()
    first, second = (table.tokenizer.token_to_id(letter) for letter in "ab")
    weight[first], weight[second] = np.eye(32)[:2]
    third = table.tokenizer.token_to_id("c")
    weight[third] = np.eye(32)[0] - np.eye(32)[1] * 0.999
    explanation = explain(StaticEncoder(replace(table, weight=weight)), "a b", "c")
    assert 0 < explanation.score < 0.001
    printed = "\n".join(explain_command.told(explanation, 5))
    assert "no shares" in printed
    assert "%" not in printed


def test_files_are_written_whole_and_not_replaced_unasked(tmp_path: Path) -> None:
    page, data = tmp_path / "new" / "page.html", tmp_path / "new" / "data.json"
    printed = run(EMBEDDED, PASSWORD, LOGIN, "--html", str(page), "--json", str(data))
    assert printed.splitlines()[-2:] == [str(page), str(data)]
    explanation = explain(released(), PASSWORD, LOGIN)
    assert page.read_text(encoding="utf-8") == heat_map(explanation, EMBEDDED)
    written = json.loads(data.read_text(encoding="utf-8"))
    assert (written["model"], written["similarity"], written["dim"], written["unit"]) == (
        EMBEDDED,
        "cosine",
        256,
        "token",
    )
    np.testing.assert_array_equal(written["contributions"], explanation.contributions)
    assert np.sum(written["contributions"]) == pytest.approx(written["score"])
    assert [piece["label"] for piece in written["a"]["pieces"]] == explanation.tokens_a
    assert sum(piece["contribution"] for piece in written["b"]["pieces"]) == pytest.approx(written["score"])
    assert written["b"]["text"] == LOGIN

    for option, path in (("--html", page), ("--json", data), ("--html", tmp_path)):
        with pytest.raises(OutputExistsError, match=f"{path.name} already exists"):
            run(EMBEDDED, "a", "b", option, str(path))
    with pytest.raises(ArgumentError, match="cannot both be"):
        run(EMBEDDED, "a", "b", "--html", str(tmp_path / "x"), "--json", str(tmp_path / "x"))
    with pytest.raises(ArgumentError, match="no tokens"):
        run(EMBEDDED, "", "b", "--html", str(page), "--overwrite")
    assert page.read_text(encoding="utf-8") == heat_map(explanation, EMBEDDED)
    run(EMBEDDED, "a", "b", "--html", str(page), "--overwrite")
    assert f"<strong>{MINUS}0.1200</strong>" in page.read_text(encoding="utf-8")
    assert sorted(path.name for path in page.parent.iterdir()) == ["data.json", "page.html"]


def test_prompt_names_on_the_command_line(tmp_path: Path) -> None:
    table = replace(made("llama2").table, prompts={"query": "query: ", "passage": "passage: "})
    StaticEncoder(table).save_pretrained(tmp_path / "model")
    model = str(tmp_path / "model")
    both = run(model, "a llama", "an alpaca", "--prompt-name", "query")
    assert "A  query: a llama\n  B  query: an alpaca\n" in both
    each = run(model, "a llama", "an alpaca", "--prompt-name", "query", "--prompt-name", "passage")
    assert "A  query: a llama\n  B  passage: an alpaca\n" in each
    with pytest.raises(ArgumentError, match="3 prompt names"):
        run(model, "a", "b", *["--prompt-name", "query"] * 3)
    with pytest.raises(ArgumentError, match="no prompt 'answer'; it has 'query', 'passage'"):
        run(model, "a", "b", "--prompt-name", "answer")


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, argparse; from wordllama_st import explain_command as c\n"
        f"p = argparse.ArgumentParser(); c.add_arguments(p); c.run(p.parse_args([{EMBEDDED!r}, 'a', 'b']), str)\n"
        "print([name for name in ('torch', 'sentence_transformers', 'transformers') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"


# What has no explanation


def test_a_text_without_tokens_or_without_a_vector_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"The first text, '', has no tokens"):
        explain(released(), "", "a")
    with pytest.raises(ArgumentError, match=r"The second text, ' \\n', has no tokens"):
        explain(made("bert"), "a", " \n")
    table = made("bert").table
    weight = table.weight.copy()
    first, second = (table.tokenizer.token_to_id(letter) for letter in "ab")
    weight[second] = -weight[first]
    with pytest.raises(ArgumentError, match=r"second text's tokens, 'a b', add up to zero, and the zero vector has no"):
        explain(StaticEncoder(replace(table, weight=weight)), "a", "a b")
    by_dot = StaticEncoder(replace(table, weight=weight, similarity_fn_name="dot"))
    assert explain(by_dot, "a", "a b").score == 0
    assert "nothing" not in heat_map(explain(by_dot, "a b", "a b"), "a model")
    weight[first, 0] = np.nan
    with pytest.raises(ArgumentError, match="the first text, 'a', have vectors that are not finite"):
        explain(StaticEncoder(replace(table, weight=weight)), "a", "b")


@pytest.mark.parametrize("name", ["euclidean", "manhattan"])
def test_a_distance_is_no_sum(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"{name} distance.*explained is cosine and dot"):
        explain(made("bert", similarity_fn_name=name), "a", "b")


def test_what_the_encoder_refuses_is_refused_with_its_words() -> None:
    with pytest.raises(ArgumentError, match="have 256 dimensions; they cannot be cut to 300"):
        explain(released(), "a", "b", truncate_dim=300)
    with pytest.raises(ArgumentError, match="Text 1 has half of a surrogate pair"):
        explain(released(), "a", "\udc00")
    with pytest.raises(ArgumentError, match="Text 0 is NoneType, not str"):
        explain(released(), None, "b")  # type: ignore[arg-type]
    with pytest.raises(ModelUnavailableError):
        run("./nowhere", "a", "b")

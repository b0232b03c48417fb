"""``wordllama-st explain``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import unicodedata
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from explained import EMBEDDED, LOGIN, PASSWORD, made, released

from wordllama_st import StaticEncoder
from wordllama_st.analysis import explain
from wordllama_st.cli import explain as explain_command
from wordllama_st.errors import ArgumentError, OutputExistsError

MINUS = "\N{MINUS SIGN}"


def run(*arguments: str) -> str:
    parser = argparse.ArgumentParser()
    explain_command.add_command(parser.add_subparsers())
    options = parser.parse_args(["explain", *arguments])
    with redirect_stdout(StringIO()) as printed:
        options.run(options)
    return printed.getvalue()


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
    assert run(EMBEDDED, PASSWORD, LOGIN) == f"{explain(EMBEDDED, PASSWORD, LOGIN)}\n"


def test_by_word_at_another_dim() -> None:
    printed = run(EMBEDDED, "unbelievably sesquipedalian", LOGIN, "--words", "--dim", "64")
    expected = explain(released(), "unbelievably sesquipedalian", LOGIN, dim=64).by_word()
    assert f"cosine similarity {expected.score:.4f}" in printed
    assert "22 pairs of words" in printed
    assert re.search(r"\n  unbelievably +[+-]", printed)


def columns(line: str) -> int:
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
    printed = explanation.to_text(top=5)
    assert "no shares" in printed
    assert "%" not in printed


def test_files_are_written_whole_and_not_replaced_unasked(tmp_path: Path) -> None:
    page, data = tmp_path / "new" / "page.html", tmp_path / "new" / "data.json"
    printed = run(EMBEDDED, PASSWORD, LOGIN, "--html", str(page), "--json", str(data))
    assert printed.splitlines()[-2:] == [str(page), str(data)]
    explanation = explain(EMBEDDED, PASSWORD, LOGIN)
    assert page.read_text(encoding="utf-8") == explanation.to_html()
    written = json.loads(data.read_text(encoding="utf-8"))
    assert (written["model"], written["similarity"], written["dim"], written["unit"]) == (
        EMBEDDED,
        "cosine",
        256,
        "token",
    )
    np.testing.assert_array_equal(written["contributions"], explanation.contributions)
    assert np.sum(written["contributions"]) == pytest.approx(written["score"])
    assert [piece["label"] for piece in written["a"]["pieces"]] == explanation.a.labels
    assert sum(piece["contribution"] for piece in written["b"]["pieces"]) == pytest.approx(written["score"])
    assert written["b"]["text"] == LOGIN

    for option, path in (("--html", page), ("--json", data), ("--html", tmp_path)):
        with pytest.raises(OutputExistsError, match=f"{path.name} already exists"):
            run(EMBEDDED, "a", "b", option, str(path))
    with pytest.raises(ArgumentError, match="cannot both be"):
        run(EMBEDDED, "a", "b", "--html", str(tmp_path / "x"), "--json", str(tmp_path / "x"))
    with pytest.raises(ArgumentError, match="no tokens"):
        run(EMBEDDED, "", "b", "--html", str(page), "--overwrite")
    assert page.read_text(encoding="utf-8") == explanation.to_html()
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
        "import sys; from wordllama_st.cli.main import main\n"
        "print('wordllama_st.analysis' in sys.modules)\n"
        f"main(['explain', {EMBEDDED!r}, 'a', 'b'])\n"
        "print([name for name in ('torch', 'sentence_transformers', 'transformers') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("False\n")
    assert ran.stdout.endswith("\n[]\n")

"""The ``evaluate`` command: what it prints and writes, and what it refuses before any work."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from evaluation_tasks import LABELLED, SCORED, SMALL, write

from wordllama_st.cli.evaluate import add_command
from wordllama_st.errors import ArgumentError, OutputExistsError, WordLlamaSTError
from wordllama_st.static.formats import sentence_transformers as stock_format
from wordllama_st.static.formats.load import read_static_model


def command(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    options = parser.parse_args(["evaluate", *arguments])
    options.run(options)


def test_the_command_scores_draws_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stock_format.write(read_static_model(SMALL), "static", card="# static\n")
    write(Path("pairs.tsv"), ["a", "b", "score"], SCORED)
    write(Path("news.csv"), None, [(animal, text) for text, animal in LABELLED[:40] + LABELLED[-40:]])
    command(
        "ours=static", SMALL, "--similarity", "pairs.tsv", "--clustering", "news.csv:2,1", "--dims", "full", "16",
        "--precisions", "float32", "int8", "--json", "out/scores.json", "--plot", "dims.png",
        "--speed-plot", "speed.svg", "--card",
    )  # fmt: skip
    assert capsys.readouterr().out.endswith("out/scores.json\ndims.png\nspeed.svg\nstatic/README.md\n")
    rows = json.loads(Path("out/scores.json").read_text())["rows"]
    assert {(row["model"], row["dim"]) for row in rows} == {("ours", 64), ("ours", 16), (SMALL, 64), (SMALL, 16)}
    assert [row["score"] for row in rows if row["model"] == "ours"] == [
        pytest.approx(row["score"], abs=1e-4) for row in rows if row["model"] == SMALL
    ]
    assert "pairs: similarity" in Path("static/README.md").read_text()
    with pytest.raises(OutputExistsError, match=r"dims\.png already exists"):
        command(SMALL, "--similarity", "pairs.tsv", "--plot", "dims.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SMALL,), "at least one task"),
        ((SMALL, "--card"), "none of these models is in one"),
        ((SMALL, "--card", "other"), "other is none of the models in local directories: there are none"),
        ((f"a={SMALL}", "--card", "a"), "a is none of the models in local directories"),
        ((f"a={SMALL}", "a=x"), "Two models are called a"),
        ((SMALL, "--plot", "x.txt"), "ends in"),
        ((SMALL, "--similarity", "nowhere.csv"), "There is no file nowhere.csv"),
    ],
)
def test_the_command_refuses_before_any_work(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WordLlamaSTError, match=message):
        command(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_card_of_an_installed_package_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages" / "some_model"
    installed.mkdir(parents=True)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path / "site-packages"))
    with pytest.raises(ArgumentError, match="belongs to an installed package"):
        command(f"theirs={installed}", "--card")

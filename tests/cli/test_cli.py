"""The commands, as a user runs them: what they print, what they leave on disk, how they fail."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from texts import made_up_pairs

from wordllama_st import Codebook, StaticEncoder, build_model, model_from_pretrained
from wordllama_st.cli.main import main

EMBEDDED = "wordllama-l2-supercat-256"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pairs_csv(directory: Path) -> str:
    with open("pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *made_up_pairs(200)])
    return "pairs.csv"


def test_a_csv_becomes_an_embedder_that_the_stock_class_loads(
    pairs_csv: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", EMBEDDED, "--out", "codebook"]) == 0
    assert Codebook.load("codebook").provenance.source == EMBEDDED
    assert main(["train", "codebook", pairs_csv, "--out", "model", "--epochs", "2", "--batch-size", "32"]) == 0
    printed = capsys.readouterr().out
    assert "200 pairs (question, answer)" in printed
    assert "MultipleNegativesRankingLoss, in-batch negatives; Matryoshka dims 256, 128, 64" in printed
    assert "Held out for evaluation: 20 rows" in printed
    assert main(["bake", "model", "--out", "static", "--dims", "256", "64"]) == 0

    texts = ["A few words.", ""]
    trained = model_from_pretrained("model").encode(texts)
    static = SentenceTransformer("static-64").encode(texts)
    assert static == pytest.approx(trained[:, :64], abs=1e-5)
    assert "held out 64" in (directory / "static-64" / "README.md").read_text()


def test_training_goes_on_from_a_trained_model_and_from_a_checkpoint(
    pairs_csv: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", EMBEDDED, pairs_csv, "--dim", "32", "--epochs", "1", "--batch-size", "32", "--hold-out", "0"]
    assert main([*train, "--out", "first", "--checkpoint-dir", "checkpoints"]) == 0
    assert list((directory / "checkpoints").glob("checkpoint-*"))
    # The checkpoint is at the end of training already: going on from it changes nothing.
    assert main([*train, "--out", "again", "--checkpoint-dir", "checkpoints"]) == 0
    texts = ["A few words."]
    assert model_from_pretrained("again").encode(texts) == pytest.approx(model_from_pretrained("first").encode(texts))
    assert main(["train", "first", pairs_csv, "--out", "further", "--epochs", "1", "--hold-out", "0"]) == 0
    assert not np.allclose(model_from_pretrained("further").encode(texts), model_from_pretrained("first").encode(texts))


def test_a_static_model_is_trained_further_from_where_it_stands(pairs_csv: str, directory: Path) -> None:
    name = "wordllama-l2-supercat-64"
    assert main(["pull", name]) == 0  # from now on the name is this directory
    assert main(["train", name, pairs_csv, "--out", "model", "--dim", "64", "--epochs", "1", "--hold-out", "0"]) == 0
    codebook = model_from_pretrained("model")[0].codebook
    assert codebook.provenance.source == name
    assert codebook.embedding_dim == 64
    untrained = build_model(Codebook.from_pretrained(name), 64, "identity").encode("a few words")
    static = SentenceTransformer(name).encode("a few words")
    assert np.dot(untrained, static) == pytest.approx(np.linalg.norm(untrained) * np.linalg.norm(static))


def test_scored_pairs_are_trained_by_their_order(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"a": first, "b": second, "score": index % 5} for index, (first, second) in enumerate(made_up_pairs(60))]
    Path("scored.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["train", EMBEDDED, "scored.jsonl", "--out", "model", "--epochs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "60 scored pairs (a, b, score)" in printed
    assert "Loss: CoSENTLoss" in printed
    assert "Spearman correlation, 64 dims" in printed


def test_pull_writes_a_directory_that_the_stock_class_loads(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", "wordllama-l2-supercat-64"]) == 0
    assert SentenceTransformer("wordllama-l2-supercat-64").encode("hello").shape == (64,)
    assert main(["pull", "wordllama-l2-supercat-64"]) == 1  # it would replace what the first call wrote
    assert "already exists" in capsys.readouterr().err


def test_checkpoints_of_another_run_are_not_gone_on_from_nor_one_cut_short(
    pairs_csv: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", EMBEDDED, pairs_csv, "--dim", "32", "--epochs", "1", "--batch-size", "64", "--hold-out", "0"]
    assert main([*train, "--out", "first", "--checkpoint-dir", "checkpoints"]) == 0
    assert main([*train, "--seed", "7", "--out", "other", "--checkpoint-dir", "checkpoints"]) == 1
    assert "are of a run with another seed" in capsys.readouterr().err
    (directory / "unrecorded" / "checkpoint-4").mkdir(parents=True)
    assert main([*train, "--out", "other", "--checkpoint-dir", "unrecorded"]) == 1
    assert "no run.json that says of which run" in capsys.readouterr().err
    (directory / "checkpoints" / "checkpoint-99").mkdir()  # as a kill in mid-save leaves it
    assert main([*train, "--out", "again", "--checkpoint-dir", "checkpoints"]) == 0
    assert "Resumed from checkpoints/checkpoint-4" in capsys.readouterr().out


def test_a_trained_model_is_not_rebuilt(pairs_csv: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", EMBEDDED, pairs_csv, "--out", "model", "--epochs", "1", "--hold-out", "0"]) == 0
    assert main(["train", "model", pairs_csv, "--out", "further", "--dim", "64"]) == 1
    assert "--dim is for building a new one" in capsys.readouterr().err


def test_overwriting_replaces_models_only_and_never_what_they_are_made_from(
    pairs_csv: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "thesis").mkdir()
    (directory / "thesis" / "chapter.txt").write_text("years of work")
    assert main(["pull", "wordllama-l2-supercat-64", "--out", "thesis", "--overwrite"]) == 1
    assert (directory / "thesis" / "chapter.txt").read_text() == "years of work"
    assert main(["extract", EMBEDDED, "--out", "codebook"]) == 0
    assert main(["extract", EMBEDDED, "--out", "codebook", "--overwrite"]) == 0
    assert main(["extract", "codebook", "--out", "codebook", "--overwrite"]) == 1
    assert "is, or holds, what it would be made from" in capsys.readouterr().err
    assert main(["train", "codebook", pairs_csv, "--out", "codebook", "--overwrite"]) == 1
    assert "is, or holds, what it would be made from" in capsys.readouterr().err
    assert Codebook.load("codebook").provenance.source == EMBEDDED


def test_a_damaged_model_is_an_error_that_names_its_part(
    pairs_csv: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", EMBEDDED, pairs_csv, "--out", "model", "--epochs", "1", "--hold-out", "0"]) == 0
    weights = directory / "model" / "2_Projection" / "model.safetensors"
    for damage in (lambda: weights.write_bytes(weights.read_bytes()[:1000]), weights.unlink):
        damage()
        assert main(["bake", "model", "--out", "static"]) == 1
        assert "model/2_Projection does not hold a Projection" in capsys.readouterr().err
    assert not (directory / "static").exists()


def test_lines_are_encoded_into_a_numpy_file(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("texts.txt").write_text("a llama\n\nan alpaca\u2028of two lines\n", encoding="utf-8")
    assert main(["encode", EMBEDDED, "texts.txt", "--out", "vectors.npy", "--dim", "64", "--normalize"]) == 0
    assert "vectors.npy: [3, 64] float32" in capsys.readouterr().out
    vectors = np.load("vectors.npy")
    expected = StaticEncoder.from_pretrained(EMBEDDED).encode(
        ["a llama", "", "an alpaca\u2028of two lines"], truncate_dim=64, normalize_embeddings=True
    )
    np.testing.assert_array_equal(vectors, expected)

    assert main(["encode", EMBEDDED, "texts.txt", "--out", "vectors.npy"]) == 1
    assert "vectors.npy already exists" in capsys.readouterr().err
    Path("latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    assert main(["encode", EMBEDDED, "latin.txt", "--out", "vectors.npy", "--overwrite"]) == 1
    assert "latin.txt is not UTF-8 at byte 3" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load("vectors.npy"), vectors)

    Path("table.jsonl").write_text('{"id": 1, "text": "a llama"}\n{"id": 2, "text": ""}\n', encoding="utf-8")
    assert main(["encode", EMBEDDED, "table.jsonl", "--out", "table.npy"]) == 0
    np.testing.assert_array_equal(np.load("table.npy"), StaticEncoder.from_pretrained(EMBEDDED).encode(["a llama", ""]))

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo")))
    assert main(["encode", EMBEDDED, "--out", "stdin.npy", "--precision", "ubinary"]) == 0
    assert np.load("stdin.npy").shape == (2, 32)


def test_models_lists_every_released_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 21
    assert "wordllama-l3-supercat-1024-binary" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "nowhere", "--out", "x"], "There is no directory nowhere"),
        (["train", "nowhere", "pairs.csv", "--out", "x"], "There is no directory nowhere"),
        (["train", EMBEDDED, "none.csv", "--out", "x"], "There is no file none.csv"),
        (["train", EMBEDDED, "pairs.csv", "--out", "x", "--dims", "512"], "cannot be trained at 512"),
        (["train", EMBEDDED, "pairs.csv", "--out", "pairs.csv"], "pairs.csv is a file"),
        (["train", EMBEDDED, "pairs.csv", "--out", "x", "--hold-out", "0.995"], "leaves too few to train on"),
        (["bake", "nowhere", "--out", "x"], "there is no modules.json"),
        (["pull", "wordllama-l9", "--out", "x"], "There is no released model 'wordllama-l9'"),
        (["encode", "./nowhere", "pairs.csv", "--out", "x"], "nowhere"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_leaves_nothing_behind(
    arguments: list[str], message: str, pairs_csv: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith(f"wordllama-st {arguments[0]}: error: ")
    assert message in line
    assert [path.name for path in directory.iterdir()] == ["pairs.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["bake", "m", "--out", "x", "--dim", "0"],
        ["frobnicate"],
        ["train", "c", "d", "-o", "x", "--epochs", "nan"],
    ],
)
def test_wrong_usage_exits_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2

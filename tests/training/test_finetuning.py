"""Static models trained further, and the commands of the recipes, as a user runs them.

What they protect: a released model's file is never written to; tokens that the data does not have keep their vectors to
the bit; staying close does; and each command's output is a model that the stock class loads.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from texts import made_up_pairs

from wordllama_st import StaticEncoder, build_model
from wordllama_st.cli.main import main
from wordllama_st.codebook import Codebook
from wordllama_st.data.datasets import Kind, TrainingData
from wordllama_st.errors import ArgumentError, DatasetError
from wordllama_st.training.hard_negatives import add_hard_negatives
from wordllama_st.training.static_model import embedding_weight, save_static_model, static_model_from_pretrained
from wordllama_st.training.supervised import default_learning_rate, train_supervised

MODEL = "wordllama-l2-supercat-64"


@pytest.fixture
def pairs() -> TrainingData:
    anchors, positives = zip(*made_up_pairs(200), strict=True)
    rows = Dataset.from_dict({"anchor": list(anchors), "positive": list(positives)})
    return TrainingData(rows, Kind.PAIRS, "pairs")


@pytest.fixture
def pairs_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    with open("pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *made_up_pairs(200)])
    return "pairs.csv"


def moved(model: SentenceTransformer, start: torch.Tensor) -> torch.Tensor:
    return (embedding_weight(model).detach() - start).norm(dim=1)


def test_only_what_the_data_has_moves_and_the_less_the_closer_it_is_held(pairs: TrainingData) -> None:
    distances = []
    for strength in (0.0, 100.0):
        model = static_model_from_pretrained(MODEL)
        start = embedding_weight(model).detach().clone()
        train_supervised(model, pairs, epochs=2, stay_close=strength, show_progress_bar=False)
        texts = [*pairs.rows["anchor"], *pairs.rows["positive"]]
        used = {token for text in texts for token in model.tokenizer.encode(text, add_special_tokens=False).ids}
        distance = moved(model, start)
        unused = [token for token in range(len(start)) if token not in used]
        assert (distance[unused] == 0).all()
        assert (distance[sorted(used)] > 0).all()
        distances.append(float(distance.sum()))
    assert distances[1] < 0.7 * distances[0]
    # What was loaded is a copy: the released file on disk, and whoever maps it, has what it had.
    assert (embedding_weight(static_model_from_pretrained(MODEL)).detach() == start).all()


def test_the_length_of_steps_follows_the_scale_of_the_table(codebook: Codebook) -> None:
    """A table and its double are the same model, and should be trained alike."""
    model = static_model_from_pretrained(MODEL)
    rate = default_learning_rate(model)
    with torch.no_grad():
        embedding_weight(model).mul_(2)
    assert default_learning_rate(model) == pytest.approx(2 * rate)
    assert default_learning_rate(build_model(codebook, dim=8)) < rate


def test_staying_close_is_for_rows(codebook: Codebook, pairs: TrainingData) -> None:
    with pytest.raises(ArgumentError, match="static models"):
        train_supervised(build_model(codebook, dim=8), pairs, stay_close=1.0)
    with pytest.raises(ArgumentError, match="bake the model"):
        save_static_model(build_model(codebook, dim=8), "anywhere", [])


def test_hard_negatives_are_others_positives(pairs: TrainingData) -> None:
    mined = add_hard_negatives(static_model_from_pretrained(MODEL), pairs, 2)
    assert mined.kind is Kind.TRIPLETS
    answers = dict(zip(pairs.rows["anchor"], pairs.rows["positive"], strict=True))
    negatives = [column for column in mined.rows.column_names if column.startswith("negative")]
    assert len(negatives) == 2
    for row in mined.rows:
        assert all(row[column] in answers.values() and row[column] != answers[row["anchor"]] for column in negatives)
    with pytest.raises(ArgumentError, match="triplets"):
        add_hard_negatives(static_model_from_pretrained(MODEL), mined, 1)
    with pytest.raises((DatasetError, ValueError)):
        add_hard_negatives(
            static_model_from_pretrained(MODEL), TrainingData(pairs.rows.select([0, 1]), Kind.PAIRS, "two"), 5
        )


def test_finetune_writes_a_static_model(pairs_csv: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["finetune", MODEL, pairs_csv, "--out", "tuned", "--epochs", "1", "--mine-negatives", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "in-batch and given negatives" in printed
    assert "recall@10, 64 dims" in printed
    stock = SentenceTransformer("tuned").encode(["a text"])
    assert StaticEncoder.from_pretrained("tuned").encode(["a text"]) == pytest.approx(stock, abs=1e-5)
    assert f"{MODEL}, every row of its table" in Path("tuned/README.md").read_text()


def test_several_datasets_and_signs_are_trained_together(pairs_csv: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open("scored.tsv", "w", encoding="utf-8") as file:
        file.write("score\tsentence1\tsentence2\n")
        file.writelines(
            f"{number % 5}\t{first}\t{second}\n" for number, (first, second) in enumerate(made_up_pairs(60))
        )
    arguments = ["finetune", MODEL, pairs_csv, "scored.tsv", "--out", "tuned", "--epochs", "1", "--binary"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "pairs: recall@10, 64 dims" in printed
    assert "scored: Spearman correlation, 64 dims" in printed
    assert SentenceTransformer("tuned").encode(["a text"], precision="ubinary").shape == (1, 8)
    assert main(["finetune", MODEL, pairs_csv, pairs_csv, "--out", "twice"]) == 1
    assert "named twice" in capsys.readouterr().err


def test_adapt_learns_a_folder_and_says_whether_it_helped(pairs_csv: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("documents")
    folder.mkdir()
    for number in range(12):
        told = made_up_pairs(8, seed=number)
        parts = [f"## The story of {first}\n\n{second} {first} {second[::-1]}\n" for first, second in told]
        (folder / f"{number}.md").write_text(f"# Book {number}\n\n" + "\n".join(parts), encoding="utf-8")
    assert main(["adapt", MODEL, "documents", "--out", "adapted", "--epochs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "12 markdown" in printed.lower()
    assert "title → section" in printed
    assert "helped" in printed or "did not help" in printed
    assert SentenceTransformer("adapted").encode("a text").shape == (64,)
    Path("empty").mkdir()
    assert main(["adapt", MODEL, "empty", "--out", "other"]) == 1
    assert "wordllama-st adapt: error: " in capsys.readouterr().err
    assert not Path("other").exists()


@pytest.mark.parametrize("every_row", [[], ["--every-row"], ["--every-row", "--binary"]])
def test_distill_makes_a_static_model_and_keeps_the_teachers_vectors(
    every_row: list[str], pairs_csv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", "wordllama-l2-supercat-128", "--out", "teacher"]) == 0
    arguments = ["distill", MODEL, pairs_csv, "--teacher", "teacher", "--dim", "32", "--out", "student", *every_row]
    assert main([*arguments, "--batch-size", "64", "--epochs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "kept in student-teacher" in printed
    assert printed.index("Start") < printed.index("Trained")
    assert SentenceTransformer("student").encode("a text").shape == (32,)
    assert "Distilled from teacher" in Path("student/README.md").read_text()
    assert main([*arguments, "--epochs", "1"]) == 1
    assert "already exists" in capsys.readouterr().err


def test_a_table_is_compressed_as_it_is(pairs_csv: str) -> None:
    assert main(["compress", MODEL, "--dim", "32", "--out", "guessed-32"]) == 0
    assert main(["compress", MODEL, "--dim", "16", "--out", "guessed-16"]) == 0
    assert main(["compress", MODEL, "--dim", "32", "--out", "counted", "--corpus", pairs_csv]) == 0
    guessed, counted = (SentenceTransformer(name).encode(" the") for name in ("guessed-32", "counted"))
    assert guessed.shape == counted.shape == (32,)
    assert not np.allclose(guessed, counted)
    assert SentenceTransformer("guessed-16").encode(" the") == pytest.approx(guessed[:16], abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["distill", MODEL, "latin.txt", "--teacher", "t", "--out", "o"], "latin.txt is not UTF-8 at byte 3"),
        (["distill", MODEL, "blank.txt", "--teacher", "t", "--out", "o"], "blank.txt has no text in it"),
        (["distill", MODEL, "missing.txt", "--teacher", "t", "--out", "o"], "There is no missing.txt"),
        (["distill", MODEL, "few.txt", "--teacher", "t", "--out", "o"], "There are 2 different texts"),
        (["distill", MODEL, "pairs.csv", "--teacher", "t", "--out", "o"], "The teacher t cannot be loaded"),
        (["finetune", "few.txt", "pairs.csv", "--out", "o"], "few.txt is no static model"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, pairs_csv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    Path("blank.txt").write_text("\n \n")
    Path("few.txt").write_text("one text\nanother text\n\none text\n")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert not Path("o").exists()

"""Recipes, as a Python user calls them; and their commands, which must offer the same with the same defaults."""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from texts import made_up_pairs

import wordllama_st
from wordllama_st import Codebook, bake, bake_dims, static_model_from_pretrained
from wordllama_st.cli.main import _parser
from wordllama_st.errors import ArgumentError, ModelLoadError, OutputExistsError

MODEL = "wordllama-l2-supercat-64"
PAIRS = made_up_pairs(120)
TEXTS = [text for pair in PAIRS for text in pair]

#: Command -> the functions that it calls.
RECIPES = {
    "train": [wordllama_st.train],
    "finetune": [wordllama_st.finetune],
    "distill": [wordllama_st.distill],
    "teacher": [wordllama_st.embed_with_teacher],
    "adapt": [wordllama_st.adapt],
    "compress": [wordllama_st.compress],
    "bake": [bake, bake_dims],
}
#: What a command has and a function has not.
COMMAND_ONLY = {"json", "help"}


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_command_has_the_options_and_defaults_of_its_recipe(name: str) -> None:
    options = {action.dest: action for action in commands()[name]._actions if action.dest not in COMMAND_ONLY}
    parameters = {key: p for recipe in RECIPES[name] for key, p in inspect.signature(recipe).parameters.items()}
    assert set(options) == set(parameters) - {"show_progress_bar"}
    for key, parameter in parameters.items():
        if key in options and not options[key].required and parameter.default is not inspect.Parameter.empty:
            assert options[key].default == parameter.default, key


def test_evaluate_has_the_defaults_of_its_command() -> None:
    parameters = inspect.signature(wordllama_st.evaluate).parameters
    options = {action.dest: action.default for action in commands()["evaluate"]._actions}
    shared = set(options) & set(parameters) - {"models"}
    assert shared == {"bm25", "dims", "precisions"}
    assert {key: options[key] for key in shared} == {key: parameters[key].default for key in shared}


@pytest.fixture
def pairs() -> Dataset:
    return Dataset.from_dict({"question": [first for first, _ in PAIRS], "answer": [second for _, second in PAIRS]})


def test_train_takes_objects_and_returns_a_model_with_its_report(codebook: Codebook, pairs: Dataset) -> None:
    result = wordllama_st.train(codebook, pairs, dim=16, epochs=2, batch_size=16, learning_rate=1e-2)
    (dataset,) = result.report.datasets
    assert (dataset.kind, dataset.rows, dataset.held_out) == ("pairs", 120, 12)
    assert dataset.columns == ("question", "answer")
    recall = result.report.scores[0]
    assert recall.metric == "recall@10, 16 dims"
    assert recall.after >= recall.before
    assert result.report.seconds > 0
    assert json.loads(result.report.to_json())["datasets"][0]["held_out"] == 12
    further = wordllama_st.train(result.model, pairs, epochs=1, hold_out=0)
    assert further.model is result.model
    assert further.report.scores == ()
    with pytest.raises(ArgumentError, match="--dim is for building a new one"):
        wordllama_st.train(result.model, pairs, dim=8)


def test_finetune_saves_what_it_returns(pairs: Dataset, tmp_path: Path) -> None:
    result = wordllama_st.finetune(MODEL, pairs, tmp_path / "tuned", epochs=1)
    saved = SentenceTransformer(str(tmp_path / "tuned")).encode(TEXTS[:5])
    np.testing.assert_allclose(result.model.encode(TEXTS[:5]), saved, atol=1e-6)
    assert "held to its start with strength 30" in (tmp_path / "tuned" / "README.md").read_text()
    with pytest.raises(OutputExistsError, match="already exists"):
        wordllama_st.finetune(MODEL, pairs, tmp_path / "tuned")
    with pytest.raises(OutputExistsError, match="is, or holds, what it would be made from"):
        wordllama_st.finetune(tmp_path / "tuned", pairs, tmp_path / "tuned", overwrite=True)
    with pytest.raises(ModelLoadError, match="not a static table"):
        wordllama_st.finetune(wordllama_st.build_model(Codebook.from_pretrained(MODEL), 16), pairs)


def test_distill_takes_texts_and_files_and_a_teacher_in_memory(codebook: Codebook, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS[:100]))
    teacher = static_model_from_pretrained(MODEL)
    texts = [tmp_path / "texts.txt", *TEXTS]
    result = wordllama_st.distill(codebook, texts, teacher=teacher, dim=16, every_row=True, epochs=4, batch_size=32)
    distinct = len(set(TEXTS))
    assert (result.report.texts, result.report.held_out) == (distinct - round(0.02 * distinct), round(0.02 * distinct))
    assert result.report.teacher_dim == 64
    assert result.report.cache is None
    assert result.report.score.after > result.report.score.before
    assert result.model.encode("a text").shape == (16,)


def test_compress_takes_a_corpus_in_memory(codebook: Codebook) -> None:
    guessed = wordllama_st.compress(codebook, dim=8)
    counted = wordllama_st.compress(codebook, dim=8, corpus=TEXTS)
    assert guessed.encode("a text").shape == counted.encode("a text").shape == (8,)
    assert not np.allclose(guessed.encode("a text"), counted.encode("a text"))
    assert bake(wordllama_st.build_model(codebook, 8, token_weights="rank")).encode("a text") == pytest.approx(
        guessed.encode("a text")
    )


def test_recipes_print_nothing(codebook: Codebook, pairs: Dataset, capfd: pytest.CaptureFixture[str]) -> None:
    result = wordllama_st.train(codebook, pairs, dim=8, epochs=1)
    assert capfd.readouterr().out == ""
    assert "Trained for" in str(result.report)

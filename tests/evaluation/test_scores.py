"""Scores are those of sentence-transformers' evaluators and scikit-learn, of the embeddings that a search compares.

Protects: that truncating and quantizing kept embeddings gives what encoding anew would; errors that say why there is no
score, instead of a NaN.
"""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_tasks import PAIRS, SCORED, SMALL, labelled, retrieval, similarity, stock
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

from wordllama_st import StaticEncoder, evaluate
from wordllama_st.errors import ArgumentError, DatasetError, EvaluationError
from wordllama_st.evaluation import (
    ClassificationTask,
    ClusteringTask,
    RetrievalTask,
    SimilarityTask,
    Task,
    similarity_score,
)
from wordllama_st.evaluation.models import open_model
from wordllama_st.evaluation.run import EncodedTexts
from wordllama_st.modules.stock import static_modules
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.formats.sentence_transformers import write
from wordllama_st.training.supervised import retrieval_evaluator


@pytest.mark.parametrize("dim", [64, 24, 3])
@pytest.mark.parametrize("precision", ["float32", "int8", "uint8"])
def test_similarity_is_that_of_the_librarys_evaluator_encoding_anew(dim: int, precision: Any) -> None:
    task = similarity()
    evaluator = EmbeddingSimilarityEvaluator(
        *map(list, zip(*SCORED, strict=True)),
        main_similarity="cosine",
        precision=None if precision == "float32" else precision,
        truncate_dim=dim,
    )
    expected = evaluator(stock())["spearman_cosine"]
    found = similarity_score(StaticEncoder.from_pretrained(SMALL), task, dim, precision)
    # The largest value of a dimension is on the border of two buckets, where torch and NumPy round to either.
    assert found == pytest.approx(expected, abs=1e-6 if precision == "float32" else 5e-3)
    (score,) = evaluate(SMALL, [task], dims=[dim], precisions=[precision]).scores
    assert score.score == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize("precision", ["binary", "ubinary"])
@pytest.mark.parametrize("dim", [64, 21])
def test_binary_similarity_goes_by_the_hamming_distance(precision: Any, dim: int) -> None:
    model = stock()
    first, second, scores = zip(*SCORED, strict=True)
    bits = [
        np.unpackbits(model.encode(list(texts), precision="ubinary", truncate_dim=dim), axis=1, count=dim)
        for texts in (first, second)
    ]
    expected = spearmanr(scores, -(bits[0] != bits[1]).sum(axis=1)).statistic
    assert similarity_score(model, similarity(), dim, precision) == pytest.approx(expected)


def test_retrieval_is_that_of_the_librarys_evaluator_and_other_documents_make_it_harder() -> None:
    queries, documents = zip(*PAIRS, strict=True)
    evaluator = retrieval_evaluator(queries, documents, name="", truncate_dim=8)
    found = evaluator(stock())
    (score,) = evaluate(SMALL, [RetrievalTask.from_pairs("facts", queries, documents)], dims=[8]).scores
    assert score.metrics["ndcg@10"] == score.score == pytest.approx(found["cosine_ndcg@10"])
    assert score.metrics["recall@10"] == pytest.approx(found["cosine_recall@10"])
    assert score.metrics["mrr@10"] == pytest.approx(found["cosine_mrr@10"])
    alone, among = (
        evaluate(SMALL, [RetrievalTask.from_pairs("facts", queries[:40], documents[:40], others)], dims=[4])
        .scores[0]
        .score
        for others in ((), (*documents[40:], *documents[:40]))
    )
    assert among < alone


def test_a_query_is_not_a_document_to_a_model_with_prompts(tmp_path: Path) -> None:
    prompts = {"query": "where is the answer to this: ", "document": ""}
    queries, documents = zip(*PAIRS, strict=True)
    with_prompts = stock(prompts=prompts)
    expected = retrieval_evaluator(queries, documents, name="", truncate_dim=8)(with_prompts)["cosine_ndcg@10"]
    plain = retrieval_evaluator(queries, documents, name="", truncate_dim=8)(stock())["cosine_ndcg@10"]
    assert expected != plain
    write(replace(read_static_model(SMALL), prompts=prompts), tmp_path / "prompted", card="# prompted\n")
    for source in (with_prompts, str(tmp_path / "prompted")):
        report = evaluate(source, [RetrievalTask.from_pairs("facts", queries, documents)], dims=[8])
        assert report.scores[0].score == pytest.approx(expected)
        assert report.models[0].runtime == "SentenceTransformer"


def test_labels_that_the_words_tell_are_found_and_those_that_nothing_tells_are_not() -> None:
    tasks = [labelled(ClassificationTask), labelled(ClusteringTask)]
    told = evaluate(SMALL, tasks)
    assert told.scores[0].metrics["accuracy"] > 0.9
    assert told.scores[0].metrics["macro_f1"] > 0.9
    shuffled = [
        kind("shuffled", task.samples, [str(index % 3) for index in range(len(task.labels))])
        for kind, task in zip((ClassificationTask, ClusteringTask), tasks, strict=True)
    ]
    untold = evaluate(SMALL, shuffled)
    assert untold.scores[0].score < 0.6
    assert untold.scores[1].score < min(0.1, told.scores[1].score)
    assert evaluate([SMALL], tasks, precisions=["float32", "float32"]).scores == told.scores  # seeded, and each once


def test_each_text_is_encoded_once_whatever_is_made_of_its_vector() -> None:
    class Counting(StaticEncoder):
        encoded: Counter[str]

        def encode(self, sentences: Any, **options: Any) -> Any:
            self.encoded.update(sentences)
            return super().encode(sentences, **options)

    encoder = Counting(read_static_model(SMALL))
    encoder.encoded = Counter()
    tasks: list[Task] = [similarity(), retrieval(), labelled(ClassificationTask)]
    encoded = EncodedTexts(open_model(encoder), tasks)
    for task in tasks:
        for dim in (64, 16):
            for precision in ("float32", "int8", "ubinary"):
                task.score(encoded.of_task(task, dim, precision))  # type: ignore[arg-type]
    assert set(encoder.encoded.values()) == {1}
    assert set(encoder.encoded) == {text for task in tasks for texts in task.texts().values() for text in texts}


@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=5, max_size=5), min_size=3, max_size=9), st.data())
@settings(max_examples=60)
def test_any_vectors_have_a_score_or_an_error_that_says_why_not(rows: list[list[float]], data: st.DataObject) -> None:
    task = SimilarityTask(
        "any", [f"a{i}" for i in range(len(rows))], [f"b{i}" for i in range(len(rows))], range(len(rows))
    )
    vectors = np.array([*rows, *reversed(rows)], np.float32)
    precision = data.draw(st.sampled_from(["float32", "int8", "uint8", "binary", "ubinary"]))
    dim = data.draw(st.integers(1, 5))
    try:
        score = similarity_score(lambda texts: vectors[: len(texts)], task, dim, precision)
    except EvaluationError as error:
        assert re.search("the same (vector|cosine)", str(error))  # noqa: PT017  # or else a score, as below
    else:
        assert -1.000001 <= score <= 1.000001


def test_a_missing_score_is_an_error_from_python_too() -> None:
    with pytest.raises(DatasetError, match="row 2: the score is nan"):
        SimilarityTask("pairs", ["a", "b"], ["c", "d"], [1, math.nan])
    with pytest.raises(DatasetError, match="2 first, 1 second, 2 score"):
        SimilarityTask("pairs", ["a", "b"], ["c"], [1, 2])


@pytest.mark.parametrize("task", [similarity(), retrieval(), labelled(ClassificationTask), labelled(ClusteringTask)])
def test_a_model_whose_vectors_are_all_the_same_has_no_score(task: Task) -> None:
    table = read_static_model(SMALL)
    constant = SentenceTransformer(modules=static_modules(table), device="cpu")
    constant[0].embedding.weight.data[:] = 1
    with pytest.raises(EvaluationError, match=f"dull .* on {task.name}: all texts have the same vector"):
        evaluate({"dull": constant}, [task])


def test_a_model_whose_vectors_are_not_finite_has_no_score() -> None:
    with pytest.raises(EvaluationError, match="vectors of 1 of"):
        similarity_score(
            lambda texts: np.array(
                [[struct.unpack("f", b"\0\0\x80\x7f")[0], 1]] + [[1, i] for i in range(len(texts) - 1)]
            ),
            similarity(),
        )


@pytest.mark.parametrize(
    ("models", "tasks", "options", "message"),
    [
        ([SMALL], [similarity()], {"dims": [65]}, f"{SMALL}'s embeddings have 64 dimensions, fewer than 65"),
        ([SMALL], [similarity()], {"dims": [64, 65]}, "No model has 65 dimensions"),
        ([SMALL], [similarity()], {"dims": [0]}, "cannot be truncated to 0"),
        ([SMALL], [similarity()], {"dims": []}, "at least one dim"),
        ([SMALL], [similarity()], {"precisions": ["int4"]}, "int4"),
        ([SMALL], [similarity()], {"precisions": []}, "at least one precision"),
        ([SMALL], [], {}, "at least one task"),
        ([], [similarity()], {}, "at least one model"),
        ([SMALL, SMALL], [similarity()], {}, "is given twice"),
        ([SMALL], [similarity(), similarity()], {}, "Two similarity tasks have the name same"),
    ],
)
def test_what_has_no_meaning_is_refused(models: Any, tasks: Any, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        evaluate(models, tasks, **options)

"""Evaluation: the scores are the library's and scikit-learn's, of the vectors that a search would compare.

Protects: that cutting and quantising kept vectors gives what encoding anew would; that files are read as they are
meant, above all unquoted .tsv files; every kind of model; the report, the pictures and the card; errors that say what
is wrong with the data, instead of a NaN.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import EvalResult, ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from texts import ANIMALS, made_up_pairs
from tokenizers import Tokenizer

from wordllama_st import Codebook, StaticEncoder, bake, build_model
from wordllama_st.cli.evaluate import add_arguments, run
from wordllama_st.errors import (
    ArgumentError,
    DatasetError,
    EvaluationError,
    ModelLoadError,
    OutputExistsError,
    WordLlamaSTError,
)
from wordllama_st.evaluation import (
    ClassificationTask,
    ClusteringTask,
    Report,
    RetrievalTask,
    SimilarityTask,
    Task,
    evaluate,
    read_classification,
    read_clustering,
    read_retrieval,
    read_similarity,
    similarity_score,
)
from wordllama_st.evaluation.card import write_card
from wordllama_st.evaluation.encoding import EncodedTexts
from wordllama_st.evaluation.models import open_model
from wordllama_st.evaluation.plots import plot_dims, plot_speed
from wordllama_st.modules.stock import static_modules
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.formats.sentence_transformers import save
from wordllama_st.training.supervised import retrieval_evaluator

SMALL = "wordllama-l2-supercat-64"
PAIRS = made_up_pairs(60)
#: Pairs that tell the same, pairs that do not, and what lies between.
SCORED = [(*pair, 5.0) for pair in PAIRS[:20]] + [
    (PAIRS[i][0], PAIRS[i + shift][1], float(i % 3)) for i in range(20) for shift in (20, 33)
]
LABELLED = [(text, animal) for animal in ANIMALS[:3] for pair in made_up_pairs(900) for text in pair if animal in text]


@pytest.fixture(autouse=True)
def no_warming_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks at the speeds."""
    monkeypatch.setattr("wordllama_st.evaluation.encoding._WARM_SECONDS", 0)


def similarity(name: str = "same") -> SimilarityTask:
    first, second, scores = zip(*SCORED, strict=True)
    return SimilarityTask(name, first, second, scores)


def retrieval(name: str = "facts") -> RetrievalTask:
    queries, documents = zip(*PAIRS, strict=True)
    return RetrievalTask(name, queries[:40], documents[:40], documents[40:])


def labelled(kind: type[Any], each: int = 20, name: str = "animals") -> Any:
    rows = [row for animal in ANIMALS[:3] for row in [row for row in LABELLED if row[1] == animal][:each]]
    return kind(name, *zip(*rows, strict=True))


def stock(name: str = SMALL, **options: Any) -> SentenceTransformer:
    return SentenceTransformer(modules=static_modules(read_static_model(name)), device="cpu", **options)


def write(path: Path, header: Iterable[str] | None, rows: Iterable[Iterable[object]], **options: Any) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",", **options)
        writer.writerows([*([header] if header else []), *rows])
    return str(path)


# The scores


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
    (score,) = evaluate(SMALL, [RetrievalTask("facts", queries, documents)], dims=[8]).scores
    assert score.metrics["ndcg@10"] == score.score == pytest.approx(found["cosine_ndcg@10"])
    assert score.metrics["recall@10"] == pytest.approx(found["cosine_recall@10"])
    assert score.metrics["mrr@10"] == pytest.approx(found["cosine_mrr@10"])
    alone, among = (
        evaluate(SMALL, [RetrievalTask("facts", queries[:40], documents[:40], others)], dims=[4]).scores[0].score
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
    save(read_static_model(SMALL), tmp_path / "prompted", card="# prompted\n", settings={"prompts": prompts})
    for source in (with_prompts, str(tmp_path / "prompted")):
        report = evaluate(source, [RetrievalTask("facts", queries, documents)], dims=[8])
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
    assert evaluate(SMALL, tasks).scores == told.scores  # seeded


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
@settings(max_examples=60, deadline=None)
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


# Models


def test_every_kind_of_model_stands_in_one_table(tmp_path: Path, codebook: Codebook) -> None:
    trained = build_model(codebook, dim=16)
    trained.append(Normalize())
    trained.save_pretrained(str(tmp_path / "trained"))
    bake(trained, tmp_path / "baked")
    sources = {
        "trained": tmp_path / "trained",
        "baked": str(tmp_path / "baked"),
        "in memory": trained,
        "encoder": StaticEncoder.from_pretrained(tmp_path / "baked"),
        "released": SMALL,
    }
    report = evaluate(sources, [similarity()], dims=[None, 8])
    assert [(model.name, model.dim) for model in report.models] == [
        ("trained", 16), ("baked", 16), ("in memory", 16), ("encoder", 16), ("released", 64),
    ]  # fmt: skip
    for dim in (16, 8):
        for name in ("baked", "in memory", "encoder"):
            assert report.mean(name, dim) == pytest.approx(report.mean("trained", dim), abs=1e-3)
    by_name = {model.name: model for model in report.models}
    assert by_name["trained"].runtime == by_name["in memory"].runtime == "SentenceTransformer"
    assert by_name["baked"].runtime == by_name["released"].runtime == "StaticEncoder"
    files = [path for path in (tmp_path / "baked").rglob("*") if path.is_file()]
    assert by_name["baked"].size == sum(path.stat().st_size for path in files)
    assert by_name["in memory"].size is None
    assert all(model.texts_per_second > 0 for model in report.models)


def test_a_transformer_is_scored_too(tmp_path: Path, tokenizer: Tokenizer) -> None:
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), **size)).save_pretrained(tmp_path / "bert")
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="!", unk_token="!")
    wrapped.save_pretrained(tmp_path / "bert")
    model = SentenceTransformer(modules=[Transformer(str(tmp_path / "bert")), Pooling(16)], device="cpu")
    model.save_pretrained(str(tmp_path / "model"))
    (score,) = evaluate(tmp_path / "model", [similarity()]).scores
    evaluator = EmbeddingSimilarityEvaluator(*map(list, zip(*SCORED, strict=True)), main_similarity="cosine")
    assert score.score == pytest.approx(evaluator(model)["spearman_cosine"], abs=1e-3)


def test_a_damaged_model_is_an_error_of_its_own_kind(tmp_path: Path) -> None:
    save(read_static_model(SMALL), tmp_path / "static", card="# static\n")
    weights = tmp_path / "static" / "0_StaticEmbedding" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelLoadError, match=r"model\.safetensors"):
        evaluate(tmp_path / "static", [similarity()])
    (tmp_path / "other").mkdir()
    with pytest.raises(ModelLoadError, match="is no static model"):
        evaluate(tmp_path / "other", [similarity()])
    (tmp_path / "other" / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "nothing"}')
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        evaluate(tmp_path / "other", [similarity()])


def test_a_function_can_be_scored_from_a_training_loop() -> None:
    model = stock()
    task = similarity()
    expected = similarity_score(model, task, 32)
    assert similarity_score(lambda texts: model.encode(texts, convert_to_tensor=True), task, 32) == expected
    with pytest.raises(ArgumentError, match="cannot be cut to 65"):
        similarity_score(model.encode, task, 65)
    with pytest.raises(ArgumentError, match="texts were encoded as"):
        similarity_score(lambda texts: np.zeros(3), task)


# Files


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_similarity_files_are_read_whatever_their_format(suffix: str, tmp_path: Path) -> None:
    from datasets import Dataset

    rows = [
        {"id": "x", "a": 'He said "no", twice', "b": "None", "score": 3},
        {"id": "y", "a": "c", "b": "é", "score": 1},
    ]
    path = tmp_path / f"pairs{suffix}"
    dataset = Dataset.from_list(rows)
    {
        ".csv": dataset.to_csv,
        ".tsv": lambda path: dataset.to_csv(path, sep="\t"),
        ".jsonl": dataset.to_json,
        ".parquet": dataset.to_parquet,
    }[suffix](path)
    task = read_similarity(str(path))
    assert (task.name, list(task.first), list(task.second), list(task.scores)) == (
        "pairs", ['He said "no", twice', "c"], ["None", "é"], [3, 1],
    )  # fmt: skip
    assert list(read_similarity(f"{path}:b,a,score").first) == ["None", "é"]


def test_an_unquoted_tsv_loses_no_rows_to_a_quote(tmp_path: Path) -> None:
    path = tmp_path / "sts.tsv"
    path.write_text(
        'score\tsentence1\tsentence2\n1.5\t"Never," he said\tA\n3\t"open\tB\n2\tclose"\tC\n5\t"all of it"\tD\n'
    )
    task = read_similarity(str(path))
    assert list(task.first) == ['"Never," he said', '"open', 'close"', '"all of it"']
    assert list(task.scores) == [1.5, 3, 2, 5]


def test_a_quoted_tsv_may_have_tabs_and_line_breaks_in_its_fields(tmp_path: Path) -> None:
    rows = [["a\tb", "two\nlines", "1"], ["c", 'd "e"', "2"]]
    path = Path(write(tmp_path / "quoted.tsv", ["x", "y", "score"], rows))
    task = read_similarity(str(path))
    assert [task.first, task.second] == [["a\tb", "c"], ["two\nlines", 'd "e"']]


def test_labelled_files_with_and_without_a_header(tmp_path: Path) -> None:
    rows = [(index % 2 + 1, f"title {index}", f"text, {index}") for index in range(12)]
    bare = write(tmp_path / "news.csv", None, rows, quoting=csv.QUOTE_ALL)
    for source in (f"{bare}:2,3,1", write(tmp_path / "named.csv", ["label", "title", "text"], rows)):
        for read in (read_classification, read_clustering):
            task = read(source)
            assert task.samples[0] == "title 0 text, 0"
            assert list(task.labels) == [1, 2] * 6
            assert task.size == "12 texts, 2 labels"
    words = [(f"t{index}", "id", "yes", index % 2) for index in range(12)]
    task = read_classification(write(tmp_path / "words.csv", ["text", "id", "label_text", "label"], words))
    assert task.samples[0] == "t0"  # neither the id nor the answer in words is read


def beir(directory: Path, qrels: str, split: str = "test") -> Path:
    (directory / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = [{"_id": f"d{i}", "title": "Fact" * (i % 2), "text": PAIRS[i][1]} for i in range(5)]
    queries = [{"_id": f"q{i}", "text": PAIRS[i][0], "metadata": {"k": [i]}} for i in range(3)]
    for name, entries in (("corpus", corpus), ("queries", queries)):
        (directory / f"{name}.jsonl").write_text("\n".join(map(json.dumps, entries)) + "\n")
    (directory / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    return directory


def test_retrieval_from_pairs_and_from_beir(tmp_path: Path) -> None:
    task = read_retrieval(write(tmp_path / "faq.csv", ["question", "answer"], PAIRS))
    assert task.size == "60 queries, 60 documents"
    directory = beir(tmp_path / "beir", "q0\td0\t2\nq1\td1\t1\nq1\td2\t1\nq2\td2\t0\n")
    task = read_retrieval(str(directory))
    assert (task.name, task.size) == ("beir", "2 queries, 5 documents")
    assert task.documents[1] == f"Fact {PAIRS[1][1]}"
    beir(directory, "q0\td0\t1\n", "dev")
    assert read_retrieval(f"{directory}:dev").size == "1 queries, 5 documents"
    assert 0 < evaluate(SMALL, [task]).scores[0].score <= 1


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("q0\td9\t1\n", r"test\.tsv, line 2: there is no document 'd9' in corpus\.jsonl"),
        ("q9\td0\t1\n", r"test\.tsv, line 2: there is no query 'q9' in queries\.jsonl"),
        ("q0\td0\n", "line 2 is not a query id, a document id and a score"),
        ("q0\td0\t0\n", "no query is answered"),
    ],
)
def test_qrels_that_fit_nothing_say_so(qrels: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        read_retrieval(str(beir(tmp_path / "beir", qrels)))


def test_a_beir_directory_with_a_part_missing_says_which(tmp_path: Path) -> None:
    directory = beir(tmp_path / "beir", "q0\td0\t1\n")
    with pytest.raises(DatasetError, match=r"has no qrels/dev\.tsv; it has test"):
        read_retrieval(f"{directory}:dev")
    (directory / "corpus.jsonl").write_text('{"_id": "d0"}\n')
    with pytest.raises(DatasetError, match=r"corpus\.jsonl, line 1 is no object with an _id and a text"):
        read_retrieval(str(directory))
    (directory / "corpus.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"There is no file .*corpus\.jsonl"):
        read_retrieval(str(directory))


@pytest.mark.parametrize(
    ("read", "columns", "content", "message"),
    [
        (read_similarity, "", b"", "is empty"),
        (read_similarity, "", b"a,b,score\n", "has no rows"),
        (read_similarity, "", b"a,b,score\ncaf\xe9,y,1\nx,y,2\n", "not UTF-8 at byte 13"),
        (read_similarity, "", b"a,b,score\nx,y,1\nz,u,1\n", "every pair has the score 1"),
        (read_similarity, "", b"a,b,score\nx,y,1\nz,u,\n", "row 2: the cell 'score' has no number"),
        (read_similarity, "", b"a,b,score\nx,y,1\nz,u,inf\n", "row 2: the score is inf"),
        (read_similarity, "", b"a,b,score\nx,y,1\nz,u,good\n", "cannot be told"),
        (read_similarity, "", b"a,b,score\nx,y,1\n ,u,2\n", "row 2: the cell 'a' is empty"),
        (read_similarity, "", b"a,b\nx,y\nz,u\n", "Name them: .*pairs.csv:text,text,score"),
        (read_similarity, ":a,c,score", b"a,b,score\nx,y,1\nz,u,2\n", "has no column 'c'; it has a, b, score"),
        (read_similarity, ":1,2,4", b"x,y,1\nz,u,2\n", "has no column 4; it has 3 columns"),
        (read_similarity, ":0,1,2", b"x,y,1\nz,u,2\n", "numbered from 1"),
        (read_similarity, ":a,b", b"a,b,score\nx,y,1\nz,u,2\n", r"are needed.*a \(text\), b \(text\) in 2 rows"),
        (read_similarity, "", b"a,b,score\nx,y,1\n", "in two rows at least"),
        (read_retrieval, "", b"a,b\nx,same\nz,same\n", "has a single document"),
        (read_retrieval, "", b"a\nx\nz\n", "cannot be told"),
        (read_classification, "", b"text,label\n" + b"x,1\n" * 9, "every text has the label 1"),
        (
            read_classification,
            "",
            b"text,label\n" + b"x,1\n" * 9 + b"y,2\n" * 4,
            "the label '2' has 4 texts; each of 5",
        ),
        (read_classification, "", b"text,label\n" + b"x,a\n" * 9 + b"y,\n", "row 10: the label is missing"),
        (read_classification, "", b"text,label\n" + b"x,a\n" * 9 + b",b\n", "row 10: the cell 'text' is empty"),
        (read_clustering, ":label", b"text,label\nx,1\ny,2\n", "a text and a label are two columns"),
    ],
)
def test_files_that_cannot_be_scored_on_say_why(
    read: Any, columns: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read(f"{tmp_path / 'pairs.csv'}{columns}")


# What cannot be scored


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
        ([SMALL], [similarity()], {"dims": [65]}, f"{SMALL}'s vectors have 64 dimensions; they cannot be cut to 65"),
        ([SMALL], [similarity()], {"dims": [64, 65]}, "No model has 65 dimensions"),
        ([SMALL], [similarity()], {"dims": [0]}, "cannot be cut to 0"),
        ([SMALL], [similarity()], {"dims": []}, "no dim"),
        ([SMALL], [similarity()], {"precisions": ["int4"]}, "int4"),
        ([SMALL], [similarity()], {"precisions": []}, "no precision"),
        ([SMALL], [], {}, "nothing to score models on"),
        ([], [similarity()], {}, "no model to score"),
        ([SMALL, SMALL], [similarity()], {}, "is given twice"),
        ([SMALL], [similarity(), similarity()], {}, "Two similarity tasks have the name same"),
    ],
)
def test_what_has_no_meaning_is_refused(models: Any, tasks: Any, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        evaluate(models, tasks, **options)


# The report


@pytest.fixture(scope="module")
def report() -> Report:
    tasks = [similarity(), retrieval(), labelled(ClassificationTask)]
    return evaluate({"small": SMALL, "stock": stock()}, tasks, dims=[None, 16], precisions=["float32", "ubinary"])


def test_the_text_has_a_line_for_each_dim_and_precision(report: Report) -> None:
    tasks, scores, models = report.to_text().split("\n\n")
    assert "facts    retrieval       nDCG@10             40 queries, 60 documents" in tasks
    lines = [line.split() for line in scores.splitlines()[2:]]
    assert [line[:4] for line in lines[:4]] == [
        ["small", "64", "float32", "256"],
        ["small", "64", "ubinary", "8"],
        ["small", "16", "float32", "64"],
        ["small", "16", "ubinary", "2"],
    ]
    assert [float(cell) for cell in lines[0][4:7]] == [
        pytest.approx(100 * score.score, abs=0.006) for score in report.of("small", 64, "float32")
    ]
    assert float(lines[0][7]) == pytest.approx(100 * report.mean("small"), abs=0.006)
    assert len({len(line) for line in scores.splitlines()[1:]}) == 1  # aligned
    assert "StaticEncoder, 1 thread (of " in models


def test_the_mean_is_that_of_what_is_asked_for(report: Report) -> None:
    scores = {score.task: score.score for score in report.of("small", 16, "ubinary")}
    assert report.mean("small", 16, "ubinary") == pytest.approx(sum(scores.values()) / 3)
    assert report.mean("small", 16, "ubinary", kind="retrieval") == scores["facts"]
    assert report.mean("small") == report.mean("small", 64, "float32")
    for wrong in ({"model": "other"}, {"model": "small", "dim": 17}, {"model": "small", "kind": "clustering"}):
        with pytest.raises(ArgumentError, match="There are no scores of"):
            report.mean(**wrong)  # type: ignore[arg-type]


def test_the_json_has_all_of_it(report: Report) -> None:
    read = json.loads(report.to_json())
    assert read["schema"] == 1
    assert [model["name"] for model in read["models"]] == ["small", "stock"]
    assert {task["metric"] for task in read["tasks"]} == {"spearman", "ndcg@10", "accuracy"}
    assert len(read["rows"]) == 2 * 2 * 2 * 3
    assert all(row["score"] in row["metrics"].values() for row in read["rows"])


@pytest.mark.parametrize("plot", [plot_dims, plot_speed])
def test_a_picture_is_drawn_whole_or_not_at_all(plot: Any, report: Report, tmp_path: Path) -> None:
    plot(report, tmp_path / "new" / "scores.png")
    assert (tmp_path / "new" / "scores.png").read_bytes().startswith(b"\x89PNG")
    plot(report, tmp_path / "scores.svg")
    with pytest.raises(ArgumentError, match=r"ends in \.png"):
        plot(report, tmp_path / "scores.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "scores.svg"]


def test_a_card_keeps_what_it_says_and_has_one_table_however_often(
    report: Report, codebook: Codebook, tmp_path: Path
) -> None:
    bake(build_model(codebook, dim=16), tmp_path / "baked")
    path = tmp_path / "baked" / "README.md"
    card = ModelCard(path.read_text())
    card.data.model_name = "baked"
    card.data.eval_results = [EvalResult("sts", "other", "other", "spearman", 0.5)]
    path.write_text(str(card) + "\nMore to say.\n")
    before = path.read_text()
    write_card(tmp_path / "baked", report, "stock")
    write_card(tmp_path / "baked", report, "small")
    written = ModelCard(path.read_text())
    assert "## Made from" in before
    assert before.split("---\n", 2)[2].strip() in written.text
    assert written.text.count("## Evaluation") == 1
    assert f"| 16 | ubinary | 2 | {100 * report.of('small', 16, 'ubinary')[0].score:.2f} |" in written.text
    results = written.data.eval_results
    assert [result.metric_value for result in results if result.dataset_name == "other"] == [0.5]
    assert len(results) == 1 + len(report.scores) // 2
    assert written.data.tags == card.data.tags
    assert StaticEncoder.from_pretrained(tmp_path / "baked").dim == 16
    assert sorted(file.name for file in (tmp_path / "baked").glob(".*")) == []


def test_a_model_without_a_card_gets_one_and_a_broken_card_is_left_alone(report: Report, tmp_path: Path) -> None:
    path = write_card(tmp_path, report, "small")
    assert ModelCard(path.read_text()).data.model_name == tmp_path.name
    path.write_text("---\n- no: [mapping\n---\n")
    with pytest.raises(ModelLoadError, match="no model card that scores could be added to"):
        write_card(tmp_path, report, "small")
    assert path.read_text() == "---\n- no: [mapping\n---\n"


# The command


def command(*arguments: str) -> str:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    lines: list[str] = []
    run(parser.parse_args(arguments), lines.append)
    return "\n".join(lines)


def test_the_command_scores_draws_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(read_static_model(SMALL), "static", card="# static\n")
    write(Path("pairs.tsv"), ["a", "b", "score"], SCORED)
    write(Path("news.csv"), None, [(animal, text) for text, animal in LABELLED[:40] + LABELLED[-40:]])
    printed = command(
        "ours=static", SMALL, "--similarity", "pairs.tsv", "--clustering", "news.csv:2,1", "--dims", "full", "16",
        "--precisions", "float32", "int8", "--json", "out/scores.json", "--plot", "dims.png",
        "--speed-plot", "speed.svg", "--card",
    )  # fmt: skip
    assert printed.endswith("out/scores.json\ndims.png\nspeed.svg\nstatic/README.md")
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
        ((SMALL,), "nothing to score models on"),
        ((SMALL, "--card"), "none of these is one"),
        ((SMALL, "--card", "other"), "--card names other, which is none of the models"),
        ((f"a={SMALL}", "--card", "a"), "a is none"),
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


def test_the_card_of_an_installed_package_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages" / "some_model"
    installed.mkdir(parents=True)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path / "site-packages"))
    with pytest.raises(ArgumentError, match="belongs to an installed package"):
        command(f"theirs={installed}", "--card")

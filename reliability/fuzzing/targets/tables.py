"""Tables: data for training and evaluation, corpora with vectors, and inputs of datasets."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from target import Target

from wordllama_st.data.corpus import read_corpus, read_embeddings, read_vectors
from wordllama_st.data.datasets import read_training_data
from wordllama_st.data.texts import read_column, read_texts
from wordllama_st.evaluation.reading import read_classification, read_retrieval, read_similarity
from wordllama_st.static.dataset.inputs import find_inputs
from wordllama_st.static.dataset.reading import choose_text_column, read_outline, read_rows, row_groups, unified_schema

TEXTS = ["the llama sings", 'it says "no", twice', "größer\tals", "four", "five ", "six"]
PAIRS = {"question": TEXTS, "answer": TEXTS[::-1], "score": [0.5, 1.0, 2.0, 3.0, 4.0, 5.0]}
LABELLED = {"id": list(range(12)), "text": TEXTS * 2, "label": ["a", "b"] * 6}
VECTORS = "vectors"


def write_tables(folder: Path) -> None:
    """The same rows in every format."""
    for name, columns in (("pairs", PAIRS), ("labelled", LABELLED)):
        rows = datasets.Dataset.from_dict(columns)
        rows.to_csv(folder / f"{name}.csv")
        rows.to_csv(folder / f"{name}.tsv", sep="\t")
        rows.to_json(folder / f"{name}.jsonl")
        rows.to_parquet(folder / f"{name}.parquet")
    (folder / "lines.txt").write_text("\n".join(TEXTS), encoding="utf-8")


def forget() -> None:
    """Delete what the datasets library has kept of the files before: a copy of each."""
    shutil.rmtree(datasets.config.HF_DATASETS_CACHE, ignore_errors=True)


def read_training(folder: Path, name: str) -> None:
    """Read pairs with scores, and the same file as texts."""
    try:
        data = read_training_data(str(folder / name))
        for row in data.rows:
            assert all(isinstance(row[column], str) for column in data.text_columns)
        for _ in read_texts([folder / name]):
            pass
        for _ in read_column([folder / name], "question"):
            pass
    finally:
        forget()


def read_evaluation(folder: Path, name: str) -> None:
    """Read a task of each kind."""
    try:
        if name.startswith("pairs"):
            read_similarity(str(folder / name))
            read_retrieval(f"{folder / name}:question,answer")
        else:
            read_classification(str(folder / name))
    finally:
        forget()


def write_beir(folder: Path) -> None:
    """A retrieval task in the layout of BEIR."""
    (folder / "qrels").mkdir()
    corpus = [{"_id": f"d{number}", "title": "A title", "text": text} for number, text in enumerate(TEXTS)]
    queries = [{"_id": f"q{number}", "text": text} for number, text in enumerate(TEXTS[:3])]
    for name, entries in (("corpus", corpus), ("queries", queries)):
        datasets.Dataset.from_list(entries).to_json(folder / f"{name}.jsonl")
    qrels = "query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td1\t2\nq1\td2\t0\n"
    (folder / "qrels" / "test.tsv").write_text(qrels)


def read_beir_folder(folder: Path, name: str) -> None:
    """Read the task, and judge a search of it."""
    task = read_retrieval(str(folder))
    task.judge(lambda queries: np.random.default_rng(0).random((len(queries), len(task.documents)), np.float32))


def write_vectors(folder: Path) -> None:
    """Vectors as NumPy writes them, and beside their texts in Parquet, both as lists and as lists of one length."""
    vectors = np.random.default_rng(0).standard_normal((len(TEXTS), 4), np.float32)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "half.npy", np.asfortranarray(vectors.astype(np.float16)))
    lists = pa.table({"title": TEXTS, "text": TEXTS, VECTORS: vectors.tolist()})
    pq.write_table(lists, folder / "lists.parquet")
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
    pq.write_table(pa.table({"text": pa.array(TEXTS), VECTORS: fixed}), folder / "fixed.parquet", compression="none")
    (folder / "lines.txt").write_text("\n".join(TEXTS), encoding="utf-8")


def read_vector_file(folder: Path, name: str) -> None:
    """Read the vectors, or the corpus, and all that is in it."""
    path = folder / name
    if path.suffix == ".npy":
        vectors = read_vectors(path)
        assert vectors.nbytes <= path.stat().st_size
        vectors[:1].sum()
        return
    if path.suffix == ".txt":
        list(read_corpus(path).texts)
        list(read_texts([path]))
        return
    corpus = read_corpus(path, vectors_column=VECTORS)
    assert corpus.vectors is not None
    assert len(corpus.texts) == len(corpus.vectors)
    list(read_embeddings([path], vectors_column=VECTORS).texts)


def write_inputs(folder: Path) -> None:
    """Files of texts in every format."""
    write_tables(folder)
    columns = {
        "text": pa.array(TEXTS).dictionary_encode(),
        "when": pa.array([0] * len(TEXTS), pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(columns), folder / "dictionary.parquet", row_group_size=2, compression="zstd")


def read_input(folder: Path, name: str) -> None:
    """Read the rows, as a run that encodes them does."""
    (file,) = find_inputs([folder / name], folder.parent / "out")
    outline = read_outline(file)
    schema = unified_schema([(file, outline)])
    column = choose_text_column(schema, "text" if "text" in schema.names else None)
    if file.kind == "parquet":
        row_groups(file)
    for chunk in read_rows(file, schema, column, lambda begin, end: False):
        assert chunk.table is not None
        chunk.table.column(column).to_pylist()


OF_TABLES = ("csv", "tsv", "jsonl", "parquet")
TARGETS = [
    Target("training-data", write_tables, [f"pairs.{ending}" for ending in OF_TABLES], read_training),
    Target(
        "evaluation-data",
        write_tables,
        [f"{name}.{ending}" for name in ("pairs", "labelled") for ending in OF_TABLES],
        read_evaluation,
    ),
    Target("beir", write_beir, ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"), read_beir_folder),
    Target(
        "vectors",
        write_vectors,
        ("vectors.npy", "half.npy", "lists.parquet", "fixed.parquet", "lines.txt"),
        read_vector_file,
    ),
    Target(
        "dataset-input",
        write_inputs,
        [*(f"labelled.{ending}" for ending in OF_TABLES), "lines.txt", "dictionary.parquet"],
        read_input,
    ),
]

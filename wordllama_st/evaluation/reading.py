"""Read tasks from files, inferring what each column is from its name and content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset

from wordllama_st.data.corpus import ID_COLUMNS
from wordllama_st.data.datasets import (
    LABEL_COLUMNS,
    Kind,
    infer_training_data,
    is_number,
    is_text,
    read_rows,
)
from wordllama_st.errors import DatasetError
from wordllama_st.evaluation.beir import NANOBEIR, read_beir, read_nanobeir
from wordllama_st.evaluation.retrieval import NanoBEIRTask, RetrievalTask
from wordllama_st.evaluation.tasks import ClassificationTask, ClusteringTask, Label, SimilarityTask

#: Names of columns of labels.
CLASS_COLUMNS = ("label", "labels", "class", "category", "target", "topic", "intent")


def read_similarity(source: str, name: str | None = None) -> SimilarityTask:
    """Read pairs of texts with a score.

    Args:
        source: A .csv, .tsv, .json, .jsonl or .parquet file (UTF-8), or the id of a dataset on the Hub. Columns may be
            named after it, as in ``pairs.csv:sentence1,sentence2,score``, or, in a .csv or .tsv file without a header,
            numbered from 1, as in ``pairs.csv:1,2,3``. Otherwise, the score is the column named score, label or
            similarity, or the only numeric one, and the texts are the first two text columns. Whether a .tsv file is
            quoted is detected.
        name: The task's name; the file's, without its suffix, if None.

    Raises:
        DatasetError: If there is no such file, it cannot be read, or it has no such columns or no such task.
    """
    path, rows, columns = _read(source)
    if columns is None:
        numbers = [column for column in rows.column_names if is_number(rows, column)]
        named = [column for column in numbers if column.lower() in LABEL_COLUMNS]
        scores = named if len(named) == 1 else numbers
        columns = _text_columns(rows)[:2] + scores * (len(scores) == 1)
    first, second, scores = _pairs(path, rows, columns, Kind.SCORED_PAIRS, "two texts and a score, a number")
    return SimilarityTask(name or Path(path).stem or path, first, second, scores)


def read_retrieval(source: str, name: str | None = None) -> RetrievalTask | NanoBEIRTask:
    """Read queries and the documents that answer them; all documents are searched.

    Arguments and errors are those of :func:`read_similarity`. Without columns, a file's first two text columns are a
    query and a document that answers it. Or the source is a directory in the layout of BEIR, as
    :func:`~wordllama_st.evaluation.beir.read_beir` reads it, where ``DIR:SPLIT`` names a split; or ``nanobeir``, the
    collection on the Hub.
    """
    if source == NANOBEIR:
        return read_nanobeir()
    path, columns = _split(source)
    if Path(path).is_dir():
        return read_beir(Path(path), ",".join(columns or []) or None, name)
    path, rows, columns = _read(source)
    columns = _text_columns(rows)[:2] if columns is None else columns
    queries, documents = _pairs(path, rows, columns, Kind.PAIRS, "a query and a document that answers it")
    return RetrievalTask.from_pairs(name or Path(path).stem or path, queries, documents)


def read_classification(source: str, name: str | None = None) -> ClassificationTask:
    """Read texts with labels, to be told apart by a linear classifier.

    Arguments and errors are those of :func:`read_similarity`. Named columns are those of the text, which are joined by
    a space, then that of the label. Otherwise, the label is the column named label, class, category, topic or the like,
    or the only one that is not text, and all text columns are the text.
    """
    return ClassificationTask(*_read_labelled(source, name))


def read_clustering(source: str, name: str | None = None) -> ClusteringTask:
    """Read texts with labels, to be recovered by clustering, as :func:`read_classification` does."""
    return ClusteringTask(*_read_labelled(source, name))


def _read_labelled(source: str, name: str | None) -> tuple[str, list[str], list[Label]]:
    path, rows, columns = _read(source)
    if columns is None:
        named = [column for column in rows.column_names if column.lower() in CLASS_COLUMNS]
        others = [column for column in rows.column_names if not is_text(rows, column)]
        labels = named or [column for column in others if column.lower() not in ID_COLUMNS]
        # A column "label_text" has the label in words, which would give the answer away.
        answers = tuple(label.lower() for label in labels)
        texts = [column for column in _text_columns(rows) if not column.lower().startswith(answers)]
        columns = texts + labels if len(labels) == 1 else []
    if len(columns) < 2:
        raise _wrong_columns(path, rows, "a text and a label", "text,label")
    *cells, labels = (rows[column][:] for column in columns)
    # Whatever is in a text column is text, a year for example.
    joined = [" ".join(str(cell) for cell in row if cell is not None) for row in zip(*cells, strict=True)]
    return name or Path(path).stem or path, joined, labels


def _split(source: str) -> tuple[str, list[str] | None]:
    """Split a source into its path and the columns named after it."""
    path, colon, columns = source.rpartition(":")
    if not (colon and columns) or Path(source).exists() or set("/\\") & set(columns):
        return source, None
    return path, [column.strip() for column in columns.split(",")]


def _read(source: str) -> tuple[str, Dataset, list[str] | None]:
    """Read a source: its path, its rows, and the columns named after it, which are in the rows."""
    path, named = _split(source)
    numbered = named is not None and all(name.isdecimal() for name in named)
    rows = read_rows(path, header=not numbered)
    if named is None:
        return path, rows, None
    without_header = numbered and all(column.isdecimal() for column in rows.column_names)
    columns = [str(int(name) - 1) for name in named] if without_header else named
    for name, column in zip(named, columns, strict=True):
        if column not in rows.column_names:
            has = f"{len(rows.column_names)} columns, numbered from 1" if numbered else ", ".join(rows.column_names)
            raise DatasetError(f"{path} has no column {name if numbered else repr(name)}; it has {has}.")
    return path, rows, columns


def _pairs(path: str, rows: Dataset, columns: list[str], kind: Kind, wanted: str) -> list[list[Any]]:
    """Take the columns of pairs or scored pairs, every cell checked."""
    example = "text,text,score" if kind is Kind.SCORED_PAIRS else "query,document"
    if len(rows) > 1 and len(columns) == example.count(",") + 1:
        data = infer_training_data(rows, columns, path)
        if data.kind is kind:
            return [list(data.rows[column]) for column in data.rows.column_names]
    raise _wrong_columns(path, rows, wanted, example)


def _text_columns(rows: Dataset) -> list[str]:
    return [column for column in rows.column_names if is_text(rows, column) and column.lower() not in ID_COLUMNS]


def _wrong_columns(path: str, rows: Dataset, wanted: str, example: str) -> DatasetError:
    kinds = {
        column: "text" if is_text(rows, column) else "number" if is_number(rows, column) else "neither"
        for column in rows.column_names
    }
    described = ", ".join(f"{column} ({kind})" for column, kind in kinds.items())
    return DatasetError(
        f"{path} has the columns {described} in {len(rows)} row{'s' * (len(rows) != 1)}. Needed are {wanted}, in two "
        f"rows at least. If which is which cannot be told from the columns, name them: {path}:{example}"
    )

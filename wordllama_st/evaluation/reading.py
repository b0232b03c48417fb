"""Tasks from files, by what their columns are called and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from datasets import Dataset

from wordllama_st.data.datasets import (
    LABEL_COLUMNS,
    Kind,
    TrainingData,
    infer_training_data,
    is_number,
    is_text,
    read_rows,
)
from wordllama_st.errors import DatasetError
from wordllama_st.evaluation.beir import read_beir
from wordllama_st.evaluation.classification import ClassificationTask
from wordllama_st.evaluation.clustering import ClusteringTask
from wordllama_st.evaluation.retrieval import RetrievalTask
from wordllama_st.evaluation.similarity import SimilarityTask

#: What labels are called, and what is no text of a row but its name.
CLASS_COLUMNS = ("label", "labels", "class", "category", "target", "topic", "intent")
ID_COLUMNS = ("id", "_id", "idx", "index", "uuid")

Labelled = TypeVar("Labelled", ClassificationTask, ClusteringTask)


def read_similarity(source: str, name: str | None = None) -> SimilarityTask:
    """Pairs of texts with a score.

    Args:
        source: A .csv, .tsv, .json, .jsonl or .parquet file (UTF-8), or the id of a dataset on the Hub. Behind it, the
            columns may be named, as in ``pairs.csv:sentence1,sentence2,score``, or numbered from 1, as in
            ``pairs.csv:1,2,3``, in a .csv or .tsv file that has no header. Otherwise the score is the column that is
            called so (or label, or similarity), or the only one of numbers, and the texts are the first two of texts.
            A .tsv file may be quoted or not.
        name: What to call the task; as the file, without its suffix, if None.

    Raises:
        DatasetError: If there is no such file, it cannot be read, has not these columns, or they hold no such task.
    """
    path, columns = _split(source)
    rows = _rows(path, columns)
    if columns is None:
        texts = _texts(rows)[:2]
        numbers = [column for column in rows.column_names if is_number(rows, column)]
        called = [column for column in numbers if column.lower() in LABEL_COLUMNS]
        scores = called if len(called) == 1 else numbers
        if len(texts) < 2 or len(scores) != 1:
            raise _unclear(path, rows, "two texts and a score, a number", "text,text,score")
        columns = [*texts, *scores]
    data = _pairs(rows, columns, path, Kind.SCORED_PAIRS, "two texts and a score, a number")
    first, second, score = (list(data.rows[column]) for column in data.rows.column_names)
    return SimilarityTask(name or _name(path), first, second, score)


def read_retrieval(source: str, name: str | None = None) -> RetrievalTask:
    """Pairs of a query and a document that answers it; the documents of all pairs are searched.

    Args:
        source: As for :func:`read_similarity`; without columns, the first two of texts are taken. Or a directory as
            BEIR has it; see :func:`~wordllama_st.evaluation.beir.read_beir`.
        name: As for :func:`read_similarity`.

    Raises:
        DatasetError: As for :func:`read_similarity`.
    """
    path, columns = _split(source)
    if Path(path).is_dir():
        return read_beir(Path(path), ",".join(columns or []) or None, name)
    rows = _rows(path, columns)
    if columns is None:
        columns = _texts(rows)[:2]
        if len(columns) < 2:
            raise _unclear(path, rows, "a query and a document that answers it", "query,document")
    data = _pairs(rows, columns, path, Kind.PAIRS, "a query and a document that answers it")
    queries, documents = (list(data.rows[column]) for column in data.text_columns)
    return RetrievalTask(name or _name(path), queries, documents)


def read_classification(source: str, name: str | None = None) -> ClassificationTask:
    """Texts with labels, to be told apart by a linear classifier.

    Args:
        source: As for :func:`read_similarity`; the columns are those of the text, which are joined by a space, and
            behind them that of the label. Without columns, the label is the one that is called so (or class, category,
            topic, ...), or the only one that is not of texts, and the text all those of texts.
        name: As for :func:`read_similarity`.

    Raises:
        DatasetError: As for :func:`read_similarity`.
    """
    return _read_labelled(ClassificationTask, source, name)


def read_clustering(source: str, name: str | None = None) -> ClusteringTask:
    """Texts with labels, to be found again by clustering; as :func:`read_classification`.

    Raises:
        DatasetError: As for :func:`read_similarity`.
    """
    return _read_labelled(ClusteringTask, source, name)


def _read_labelled(kind: type[Labelled], source: str, name: str | None) -> Labelled:
    path, columns = _split(source)
    rows = _rows(path, columns)
    if columns is None:
        columns = _labelled_columns(rows)
        if len(columns) < 2:
            raise _unclear(path, rows, "a text and a label", "text,label")
    elif len(columns) < 2:
        raise DatasetError(f"{path}: a text and a label are two columns; there is {columns[0]} only.")
    *texts, label = columns
    cells = [rows[column][:] for column in texts]
    # Whatever stands in a text's place is text: a year, say.
    joined = [" ".join(str(cell) for cell in row if cell is not None) for row in zip(*cells, strict=True)]
    return kind(name or _name(path), joined, rows[label][:])


def _labelled_columns(rows: Dataset) -> list[str]:
    texts = _texts(rows)
    called = [column for column in rows.column_names if column.lower() in CLASS_COLUMNS]
    labels = called or [column for column in rows.column_names if not is_text(rows, column) and not _is_id(column)]
    if len(labels) != 1:
        return []
    # "label_text" says the label in words; a text with it would give the answer away.
    return [*(column for column in texts if not column.lower().startswith(labels[0].lower())), labels[0]]


def _split(source: str) -> tuple[str, list[str] | None]:
    """The path, and the columns that are named behind it."""
    path, colon, columns = source.rpartition(":")
    if not colon or Path(source).exists() or not columns or "/" in columns or "\\" in columns:
        return source, None
    return path, [column.strip() for column in columns.split(",")]


def _rows(path: str, columns: list[str] | None) -> Dataset:
    """The rows; ``columns`` that are numbers become the names they have without a header."""
    numbered = columns is not None and all(column.isdecimal() for column in columns)
    rows = read_rows(path, header=not numbered)
    if columns is None:
        return rows
    if numbered:
        if any(int(column) < 1 for column in columns):
            raise DatasetError(f"{path}: columns are numbered from 1.")
        if all(column.isdecimal() for column in rows.column_names):
            columns[:] = [str(int(column) - 1) for column in columns]
    for column in columns:
        if column not in rows.column_names:
            has = f"{len(rows.column_names)} columns" if numbered else ", ".join(rows.column_names)
            asked = f"{int(column) + 1}" if numbered else repr(column)
            raise DatasetError(f"{path} has no column {asked}; it has {has}.")
    return rows


def _pairs(rows: Dataset, columns: Sequence[str], path: str, kind: Kind, wanted: str) -> TrainingData:
    if len(rows) > 1 and len(columns) == (3 if kind is Kind.SCORED_PAIRS else 2):
        data = infer_training_data(rows, columns, path)
        if data.kind is kind:
            return data
    raise DatasetError(f"{path}: {wanted} are needed, in two rows at least; it has {_described(rows, columns)}.")


def _texts(rows: Dataset) -> list[str]:
    return [column for column in rows.column_names if is_text(rows, column) and not _is_id(column)]


def _is_id(column: str) -> bool:
    return column.lower() in ID_COLUMNS


def _described(rows: Dataset, columns: Sequence[str]) -> str:
    kinds = (
        f"{column} ({'text' if is_text(rows, column) else 'number' if is_number(rows, column) else 'neither'})"
        for column in columns
    )
    return f"{', '.join(kinds)} in {len(rows)} row{'s' * (len(rows) != 1)}"


def _unclear(path: str, rows: Dataset, wanted: str, example: str) -> DatasetError:
    return DatasetError(
        f"{path} has the columns {_described(rows, rows.column_names)}; {wanted}, cannot be told from these. "
        f"Name them: {path}:{example}"
    )


def _name(path: str) -> str:
    return Path(path).stem or path

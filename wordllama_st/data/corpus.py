"""The documents of an index, and the vectors that an embedder has given them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from wordllama_st.data.datasets import FILE_FORMATS, decode_lines, read_rows
from wordllama_st.data.documents import read_documents
from wordllama_st.errors import DatasetError, reason

#: A BEIR folder's documents.
CORPUS_FILE = "corpus.jsonl"
#: Columns that are joined to a document's text, and columns that identify it.
TITLE_AND_TEXT = ("title", "text")
ID_COLUMNS = ("id", "_id", "idx", "index", "uuid")
#: Rows that are read at a time.
_CHUNK = 4096


@dataclass(frozen=True)
class Corpus:
    """Documents in the order of their vectors, and these vectors [n, D], if they were read too."""

    texts: list[str]
    vectors: npt.NDArray[np.float32] | None = None


def read_corpus(source: str | Path, *, text_column: str | None = None, vectors_column: str | None = None) -> Corpus:
    """Read the documents of an index.

    Args:
        source: A .parquet, .jsonl, .json, .csv or .tsv file with a document in each row; another file of plain text
            (UTF-8) with one in each line; a BEIR folder, whose corpus.jsonl is read; or any other folder, of whose
            files the passages are read, each below its heading.
        text_column: The column of texts. By default ``title`` and ``text``, joined, if there is a ``text``; otherwise
            the only column of texts.
        vectors_column: The column of vectors of a .parquet or .jsonl file, lists of D numbers.

    Raises:
        DatasetError: If a file does not exist, is damaged or has no such columns; or if the vectors are not of one
            width.
        DocumentError: If a folder has no documents in it.
    """
    path = Path(source)
    if path.is_dir() and (path / CORPUS_FILE).is_file():
        path = path / CORPUS_FILE
    suffix = path.suffix.lower()
    if suffix not in FILE_FORMATS or path.is_dir():
        if named := text_column or vectors_column:
            raise DatasetError(f"{path} has no columns; {named!r} is for {', '.join(FILE_FORMATS)} files.")
        return Corpus(_passages(path) if path.is_dir() else _lines(path))
    if vectors_column is not None and suffix not in (".parquet", ".jsonl"):
        raise DatasetError(f"Vectors are read from .parquet and .jsonl files, not from {path}; or give them as .npy.")
    names, batches = _read_batches(path)
    columns = _text_columns(path, names, text_column)
    if vectors_column is not None and vectors_column not in names:
        raise DatasetError(f"{path} has no column {vectors_column!r}; it has {', '.join(names)}.")
    texts: list[str] = []
    vectors: list[npt.NDArray[np.float32]] = []
    for batch in batches([*columns, *([] if vectors_column is None else [vectors_column])]):
        cells = zip(*(batch.column(column).to_pylist() for column in columns), strict=True)
        texts += (" ".join(part.strip() for part in row if part and part.strip()) for row in cells)
        if vectors_column is not None:
            vectors.append(_matrix(batch.column(vectors_column), path, vectors_column))
    if not vectors:
        return Corpus(texts)
    if len(widths := {len(part.T) for part in vectors}) > 1:
        raise DatasetError(
            f"{path} has vectors of {min(widths)} and of {max(widths)} dimensions in {vectors_column!r}."
        )
    return Corpus(texts, np.concatenate(vectors))


def read_vectors(path: str | Path) -> npt.NDArray[Any]:
    """Map the vectors [n, D] of a .npy file.

    Raises:
        DatasetError: If there is no such file, or no array of numbers in it.
    """
    try:
        vectors: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read as .npy: {reason(error)}.") from error
    return vectors


def _passages(folder: Path) -> list[str]:
    """Read the passages of a folder's documents, each below its innermost heading."""
    return [
        "\n".join([*section.headings[-1:], passage])
        for document in read_documents(folder).documents
        for section in document.sections
        for passage in section.passages
    ]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DatasetError(f"There is no file {path}.")
    with path.open("rb") as file:
        return [line.rstrip("\r\n") for line in decode_lines(file, str(path))]


def _read_batches(path: Path) -> tuple[dict[str, pa.DataType], Callable[[list[str]], Iterator[pa.Table]]]:
    """Return a table's columns with their types, and a function that reads some of them, a few rows at a time."""
    if path.suffix.lower() != ".parquet":
        rows = read_rows(str(path)).with_format("arrow")
        types = dict(zip(rows.column_names, rows.features.arrow_schema.types, strict=True))
        return types, lambda columns: rows.select_columns(columns).iter(_CHUNK)
    if not path.is_file():
        raise DatasetError(f"There is no file {path}.")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} cannot be read: {reason(error)}") from error
    types = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
    return types, lambda columns: file.iter_batches(_CHUNK, columns=columns)


def _text_columns(path: Path, types: dict[str, pa.DataType], wanted: str | None) -> list[str]:
    texts = [name for name, kind in types.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    if wanted is not None:
        if wanted not in texts:
            raise DatasetError(f"{path} has no column of texts {wanted!r}; it has {', '.join(texts) or 'none'}.")
        return [wanted]
    if "text" in texts:
        return [column for column in TITLE_AND_TEXT if column in texts]
    candidates = [column for column in texts if column not in ID_COLUMNS]
    if len(candidates) != 1:
        raise DatasetError(
            f"{path} has {len(candidates)} columns of texts ({', '.join(candidates)}); name one with --text-column."
            if candidates
            else f"{path} has no column of texts; it has {', '.join(types)}."
        )
    return candidates


def _matrix(column: pa.ChunkedArray | pa.Array, path: Path, name: str) -> npt.NDArray[np.float32]:
    """Convert a column of lists of numbers to [n, D]."""
    cells = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    is_list = (
        pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type) or pa.types.is_fixed_size_list(cells.type)
    )
    if not is_list or cells.null_count:
        raise DatasetError(
            f"{path}: the column {name!r} is {cells.type}, of which {cells.null_count} are missing; each "
            f"document needs a vector, a list of numbers."
        )
    widths = np.unique(np.asarray(pc.list_value_length(cells)))
    if len(widths) != 1:
        raise DatasetError(f"{path} has vectors of {widths[0]} and of {widths[-1]} dimensions in {name!r}.")
    try:
        values = cells.flatten().cast(pa.float32())
    except pa.ArrowException as error:
        raise DatasetError(f"{path}: the vectors in {name!r} are no numbers: {reason(error)}") from error
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float32).reshape(len(cells), widths[0])

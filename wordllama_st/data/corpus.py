"""The documents of an index, and the vectors that an embedder has given them."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, overload

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


class StoredTexts(Sequence[str]):
    """Texts in a temporary file, since those of a large collection are gigabytes."""

    def __init__(self, texts: Iterable[str]) -> None:
        ends = array("q", [0])
        with TemporaryFile() as file:
            for text in texts:
                ends.append(ends[-1] + file.write(text.encode("utf-8", "surrogatepass")))
            file.flush()
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if ends[-1] else b""
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self._bytes[self._ends[number] : self._ends[number + 1]].decode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Corpus:
    """Documents in the order of their vectors, and these vectors [n, D], if they were read too."""

    texts: Sequence[str]
    vectors: npt.NDArray[Any] | None = None


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
        return Corpus(StoredTexts(_passages(path) if path.is_dir() else _lines(path)))
    if vectors_column is not None and suffix not in (".parquet", ".jsonl"):
        raise DatasetError(f"Vectors are read from .parquet and .jsonl files, not from {path}; or give them as .npy.")
    names, batches = _read_batches(path)
    columns = _text_columns(path, names, text_column)
    if vectors_column is not None and vectors_column not in names:
        raise DatasetError(f"{path} has no column {vectors_column!r}; it has {', '.join(names)}.")
    stored = _StoredVectors(path, vectors_column) if vectors_column is not None else None

    def read() -> Iterator[str]:
        for batch in batches([*columns, *([] if vectors_column is None else [vectors_column])]):
            cells = zip(*(batch.column(column).to_pylist() for column in columns), strict=True)
            yield from (" ".join(part.strip() for part in row if part and part.strip()) for row in cells)
            if stored is not None:
                stored.append(batch.column(vectors_column))

    texts = StoredTexts(read())
    return Corpus(texts, None if stored is None else stored.mapped())


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


def _passages(folder: Path) -> Iterator[str]:
    """Read the passages of a folder's documents, each below its innermost heading."""
    for document in read_documents(folder).documents:
        for section in document.sections:
            for passage in section.passages:
                yield "\n".join([*section.headings[-1:], passage])


def _lines(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise DatasetError(f"There is no file {path}.")
    with path.open("rb") as file:
        for line in decode_lines(file, str(path)):
            yield line.rstrip("\r\n")


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


class _StoredVectors:
    """The vectors of a file's column, in a temporary file."""

    def __init__(self, path: Path, column: str) -> None:
        self._path, self._column = path, column
        self._file = TemporaryFile()  # noqa: SIM115  (it lives as long as this object)
        self._widths: set[int] = set()

    def append(self, cells: pa.ChunkedArray | pa.Array) -> None:
        """Append a batch of the column, lists of numbers; DatasetError if they are none, or not of one width."""
        path, column = self._path, self._column
        cells = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
        is_list = (
            pa.types.is_list(cells.type)
            or pa.types.is_large_list(cells.type)
            or pa.types.is_fixed_size_list(cells.type)
        )
        if not is_list or cells.null_count:
            raise DatasetError(
                f"{path}: the column {column!r} is {cells.type}, of which {cells.null_count} are missing; each "
                f"document needs a vector, a list of numbers."
            )
        self._widths.update(pc.unique(pc.list_value_length(cells)).to_pylist())
        if len(self._widths) > 1:
            widths = sorted(self._widths)
            raise DatasetError(f"{path} has vectors of {widths[0]} and of {widths[-1]} dimensions in {column!r}.")
        try:
            values = cells.flatten().cast(pa.float32())
        except pa.ArrowException as error:
            raise DatasetError(f"{path}: the vectors in {column!r} are no numbers: {reason(error)}") from error
        self._file.write(np.asarray(values.to_numpy(zero_copy_only=False), np.float32).tobytes())

    def mapped(self) -> npt.NDArray[np.float32]:
        """Map what was appended, [n, D]."""
        self._file.flush()
        width = next(iter(self._widths), 0)
        if not width:
            raise DatasetError(f"{self._path} has no vectors in {self._column!r}.")
        return np.memmap(self._file, np.float32, mode="r").reshape(-1, width)

"""The documents of an index, and the vectors that an embedder has given them."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from wordllama_st.data.datasets import FILE_FORMATS, read_rows
from wordllama_st.data.documents import read_documents
from wordllama_st.data.text_files import decode_lines
from wordllama_st.disk import naming_full_disk, temporary_file
from wordllama_st.errors import DatasetError, reason

#: A BEIR folder's documents.
CORPUS_FILE = "corpus.jsonl"
#: Columns that are joined to a document's text, and columns that identify it.
TITLE_AND_TEXT = ("title", "text")
ID_COLUMNS = ("id", "_id", "idx", "index", "uuid")
#: How far from 1 the length of a vector may be that was rounded to float16.
UNIT_TOLERANCE = 1e-3
#: Rows that are read at a time.
_CHUNK = 4096


class StoredTexts(Sequence[str]):
    """Texts in a temporary file, since those of a large collection are gigabytes."""

    def __init__(self, texts: Iterable[str]) -> None:
        ends = array("q", [0])
        with temporary_file() as file:
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
    if vectors_column is None:
        return Corpus(StoredTexts(chain.from_iterable(_joined(batch, columns) for batch in batches(columns))))
    stored = _StoredVectors(vectors_column)
    return Corpus(StoredTexts(_with_vectors(path, columns, batches, stored)), stored.mapped())


def read_embeddings(paths: Iterable[Path], *, vectors_column: str, text_column: str | None = None) -> Corpus:
    """Read texts and their embeddings, in float16 and scaled to unit length, in bounded memory.

    Rows without a text and without an embedding are left out.

    Args:
        paths: .parquet and .jsonl files, in each row a text and an embedding, a list of D numbers.
        vectors_column: The column of embeddings.
        text_column: As for :func:`read_corpus`.

    Returns:
        The texts, and the embeddings [n, D], which may be written to.

    Raises:
        DatasetError: If a file does not exist, is damaged or has no such columns; or if an embedding is missing, zero,
            not finite, or of another width than those before it.
    """
    stored = _StoredVectors(vectors_column, unit=True)

    def read() -> Iterator[str]:
        for path in paths:
            if path.suffix.lower() not in (".parquet", ".jsonl"):
                raise DatasetError(f"{path} has no embeddings, as .parquet and .jsonl files may; or name a teacher.")
            names, batches = _read_batches(path)
            columns = _text_columns(path, names, text_column)
            if vectors_column not in names:
                raise DatasetError(f"{path} has no column {vectors_column!r}; it has {', '.join(names)}.")
            yield from _with_vectors(path, columns, batches, stored)

    return Corpus(StoredTexts(read()), stored.mapped())


def _joined(batch: pa.Table | pa.RecordBatch, columns: list[str]) -> list[str]:
    """Join the cells of some columns in each row."""
    cells = zip(*(batch.column(column).to_pylist() for column in columns), strict=True)
    return [" ".join(part.strip() for part in row if part and part.strip()) for row in cells]


def _with_vectors(
    path: Path, columns: list[str], batches: Callable[[list[str]], Iterator[pa.Table]], stored: _StoredVectors
) -> Iterator[str]:
    """Read the texts of a file, and store their vectors; rows with neither are left out."""
    position = 0
    for batch in batches([*columns, stored.column]):
        texts, vectors = _joined(batch, columns), batch.column(stored.column)
        kept = np.arange(len(texts))
        if vectors.null_count:
            kept = np.flatnonzero([bool(text) for text in texts] | vectors.is_valid().to_numpy(zero_copy_only=False))
            texts, vectors = [texts[number] for number in kept], vectors.take(pa.array(kept))
        stored.append(path, vectors, position + kept)
        position += batch.num_rows
        yield from texts


def read_vectors(path: str | Path) -> npt.NDArray[Any]:
    """Map the vectors [n, D] of a .npy file.

    Raises:
        DatasetError: If there is no such file, or no array of numbers in it.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")  # which reads neither pickles nor archives
    except Exception as error:  # a header is written in Python's syntax, which can be wrong in many ways
        raise DatasetError(f"{path} cannot be read as .npy: {reason(error)}.") from error


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
    with _damage_named(path):
        file = pq.ParquetFile(path)
        types = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        with _damage_named(path):
            for batch in file.iter_batches(_CHUNK, columns=columns):
                batch.validate(full=True)  # readers trust that texts are UTF-8
                yield batch

    return types, batches


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {reason(error)}") from error


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
    """The vectors of a column of one or several files, in a temporary file: in float32, or of unit length in float16.

    A length that rounding to float16 explains is left as it is.
    """

    def __init__(self, column: str, *, unit: bool = False) -> None:
        self.column, self._unit = column, unit
        self._file = TemporaryFile()  # noqa: SIM115  (it lives as long as this object)
        self._path, self._width = Path(), 0

    def append(self, path: Path, cells: pa.ChunkedArray | pa.Array, rows: npt.NDArray[np.intp]) -> None:
        """Append a batch of a file's column, lists of numbers; DatasetError if they are none, or not of one width."""
        column = self.column
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
        for width in pc.unique(pc.list_value_length(cells)).to_pylist():
            if self._width and width != self._width:
                other = f", and {self._path} of {self._width}" if path != self._path else f" and of {self._width}"
                raise DatasetError(f"{path} has vectors of {width} dimensions{other} in {column!r}.")
            self._path, self._width = path, width
        try:
            values = cells.flatten().cast(pa.float32())
        except pa.ArrowException as error:
            raise DatasetError(f"{path}: the vectors in {column!r} are no numbers: {reason(error)}") from error
        vectors = np.asarray(values.to_numpy(zero_copy_only=False), np.float32).reshape(len(cells), -1)
        if self._unit and len(vectors):
            norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
            if len(bad := np.flatnonzero(~np.isfinite(norms) | (norms == 0))):
                raise DatasetError(f"{path}, row {rows[bad[0]] + 1:,}: the vector in {column!r} is zero or not finite.")
            norms[np.abs(norms - 1) < UNIT_TOLERANCE] = 1
            vectors = (vectors / norms[:, None]).astype(np.float16)
        with naming_full_disk():
            self._file.write(vectors.tobytes())

    def mapped(self) -> npt.NDArray[Any]:
        """Map what was appended, [n, D]."""
        with naming_full_disk():
            self._file.flush()
        if not self._width:
            raise DatasetError(f"There are no vectors in {self.column!r}.")
        return np.memmap(self._file, np.float16 if self._unit else np.float32, mode="r+").reshape(-1, self._width)

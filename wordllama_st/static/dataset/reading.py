"""Read the rows of input files in order, a few at a time."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]
import pyarrow.json as pa_json  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from wordllama_st.data.text_files import is_quoted_tsv, not_utf8
from wordllama_st.errors import DatasetError, reason
from wordllama_st.static.dataset.embedding import EMBEDDING
from wordllama_st.static.dataset.inputs import InputFile

#: Bytes of a text file that are parsed at a time; no row may be longer.
BLOCK_BYTES = 8 * 2**20
#: Rows of a Parquet file that are decoded at a time.
_READ_ROWS = 2**13


class Chunk(NamedTuple):
    """Consecutive rows of a file; without a table if they were skipped without being read."""

    rows: int
    table: pa.Table | None


class Outline(NamedTuple):
    """The columns of a file, and how many rows it has: an estimate, unless it is Parquet."""

    schema: pa.Schema
    rows: int


def read_outline(file: InputFile) -> Outline:
    """Read the beginning of a file, or the footer of a Parquet file.

    Raises:
        DatasetError: If it is damaged, or has two columns of a name.
    """
    with _damage_named(file), file.open() as stream:
        if file.kind == "parquet":
            parquet = pq.ParquetFile(stream)
            schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
        elif not file.size:
            return Outline(pa.schema([]), 0)
        else:
            batches = _parsed(file, stream, None)
            first = next(batches, None)
            schema = pa.schema([]) if first is None else first.schema
            rows = 0 if first is None else first.num_rows * file.size // min(file.size, BLOCK_BYTES)
    names = schema.names
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DatasetError(f"{file.name} has two columns {twice!r}; rename one of them.")
    return Outline(pa.schema([pa.field(field.name, _plain(field.type)) for field in schema]), rows)


def row_groups(file: InputFile) -> list[int]:
    """Read how many rows each row group of a Parquet file has.

    Raises:
        DatasetError: If it is damaged.
    """
    with _damage_named(file), file.open() as stream:
        metadata = pq.ParquetFile(stream).metadata
        return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def unified_schema(outlines: Iterable[tuple[InputFile, Outline]]) -> pa.Schema:
    """Put the columns of all files together, in the order in which they occur.

    Raises:
        DatasetError: If a column is of one type here and of another there, or is called ``embedding``.
    """
    types: dict[str, pa.DataType] = {}
    origins: dict[str, str] = {}
    for file, outline in outlines:
        for field in outline.schema:
            if field.name == EMBEDDING:
                raise DatasetError(f"{file.name} has a column {EMBEDDING!r} already; rename or drop it.")
            known = types.get(field.name, pa.null())
            if known == pa.null():
                types[field.name], origins[field.name] = field.type, file.name
            elif field.type not in (known, pa.null()):
                raise DatasetError(
                    f"The column {field.name!r} is {field.type} in {file.name} and {known} in {origins[field.name]}; "
                    f"give it one type, or encode these files apart."
                )
    return pa.schema(list(types.items()))


def choose_text_column(schema: pa.Schema, named: str | None, id_column: str | None = None) -> str:
    """Return the column of texts: that which is named, or the only one that is text and not that of ids.

    Raises:
        DatasetError: If there is no such column, it is not text, or several could be meant; the columns are listed.
    """
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"
    if named is None:
        texts = [field.name for field in schema if _is_text(field.type) and field.name != id_column]
        if len(texts) != 1:
            raise DatasetError(f"Name the column of texts with --text-column; the columns are {columns}.")
        return str(texts[0])
    if named not in schema.names:
        raise DatasetError(f"There is no column {named!r}; the columns are {columns}.")
    if not (_is_text(schema.field(named).type) or schema.field(named).type == pa.null()):
        raise DatasetError(f"The column {named!r} is not text; the columns are {columns}.")
    return named


def read_rows(
    file: InputFile, schema: pa.Schema, text_column: str, is_done: Callable[[int, int], bool]
) -> Iterator[Chunk]:
    """Read the rows of a file with the columns of a schema; nulls where the file lacks one.

    Args:
        file: A file that :func:`read_outline` has read.
        schema: As :func:`unified_schema` returns it.
        text_column: Whose characters are checked.
        is_done: Whether the file's rows from one number up to, but not including, another need not be read.

    Raises:
        DatasetError: If the file is damaged: the reason is given, and for text that is not UTF-8 the byte.
    """
    with _damage_named(file), file.open() as stream:
        if file.kind == "parquet":
            parquet, position = pq.ParquetFile(stream), 0
            for group in range(parquet.num_row_groups):
                count = parquet.metadata.row_group(group).num_rows
                if is_done(position, position + count):
                    yield Chunk(count, None)
                else:
                    for batch in parquet.iter_batches(_READ_ROWS, row_groups=[group]):
                        table = _with_columns(batch, schema)
                        table.column(text_column).validate(full=True)  # readers trust that it is UTF-8
                        yield Chunk(batch.num_rows, table)
                position += count
        elif file.size:
            for batch in _parsed(file, stream, schema):
                yield Chunk(batch.num_rows, _with_columns(batch, schema))


def _parsed(file: InputFile, stream: Any, schema: pa.Schema | None) -> Iterator[pa.RecordBatch]:
    """Parse a text file block by block; without a schema its beginning, for the types of the first block."""
    if file.kind == "json" and stream.read(1) == b"[":
        raise DatasetError(f"{file.name} is an array; write one object a line, as jq -c '.[]' does.")
    stream.seek(0)
    quotes: str | bool = '"' if file.kind != "tsv" or _is_quoted(stream.read(BLOCK_BYTES)) else False
    stream.seek(0)
    if schema is None:
        # A block is read with the next one. What is not UTF-8 is found when its turn comes, behind the rows before it.
        stream = io.BytesIO(stream.read(2 * BLOCK_BYTES).decode("utf-8", "replace").encode())
    text = _Utf8(stream, file.name)
    try:
        yield from _lines(text) if file.kind == "text" else _batches(file, text, schema, quotes)
    except pa.ArrowException:
        if text.damage is None:
            raise
    if text.damage is not None:
        raise text.damage


def _batches(file: InputFile, text: _Utf8, schema: pa.Schema | None, quotes: str | bool) -> Iterator[pa.RecordBatch]:
    source = pa.PythonFile(text, "r")
    if file.kind == "json":
        parse = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error" if schema else "infer")
        reader = pa_json.open_json(source, pa_json.ReadOptions(block_size=BLOCK_BYTES), parse)
    else:
        reader = pa_csv.open_csv(
            source,
            pa_csv.ReadOptions(block_size=BLOCK_BYTES),
            pa_csv.ParseOptions(
                delimiter="\t" if file.kind == "tsv" else ",", quote_char=quotes, newlines_in_values=bool(quotes)
            ),
            # A text may well be "NA"; only an empty cell without quotes is null.
            pa_csv.ConvertOptions(
                column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
    yield from reader


def _lines(stream: _Utf8) -> Iterator[pa.RecordBatch]:
    r"""Read plain text, a text a line; only ``\n`` ends one, with or without ``\r`` before it."""
    rest, is_first = b"", True
    while block := stream.read(BLOCK_BYTES):
        block = rest + (block.removeprefix(codecs.BOM_UTF8) if is_first else block)
        *lines, rest = block.split(b"\n")
        is_first = False
        if lines:
            yield _line_batch(lines)
    if rest:
        yield _line_batch([rest])


def _line_batch(lines: list[bytes]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": pa.array([line.removesuffix(b"\r") for line in lines], pa.string())})


def _is_quoted(head: bytes) -> bool:
    """Whether the whole lines in the first block of a .tsv file are quoted."""
    lines = head if len(head) < BLOCK_BYTES else head[: head.rfind(b"\n") + 1]
    return is_quoted_tsv(io.StringIO(lines.decode("utf-8-sig", "replace"), newline=""))


class _Utf8(io.RawIOBase):
    """A file that is checked to be UTF-8 while it is read.

    It ends before the first line that is not, and ``damage`` is the error then. Parsers read ahead: if it were raised,
    rows before it would be lost, now more and now fewer.
    """

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self._name = stream, name
        self.damage: DatasetError | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._position = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self.damage is not None:
            return b""
        data: bytes = self._stream.read(size)
        begun = len(self._decoder.getstate()[0])  # bytes of a character that the last block ended within
        try:
            self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            byte = self._position - begun + error.start
            self.damage = not_utf8(self._name, byte)
            data = data[: data.rfind(b"\n", 0, max(0, error.start - begun)) + 1]
        self._position += len(data)
        return data


@contextmanager
def _damage_named(file: InputFile) -> Iterator[None]:
    """Turn errors of the file's content into DatasetErrors; those of the disk or the network stay what they are."""
    try:
        yield
    except DatasetError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last of a column's name
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = reason(error)[:200].rstrip(".")
        raise DatasetError(
            f"{file.name} cannot be read: {said}. Mend it, or leave it out with --on-error skip."
        ) from error


def _with_columns(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    names = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type) if field.name in names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))

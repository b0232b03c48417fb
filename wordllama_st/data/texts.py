"""Read texts without labels from files: lines of plain text, or columns of tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from wordllama_st.data.datasets import (
    FILE_FORMATS,
    check_cells,
    check_columns,
    describe_columns,
    is_text,
    iterate_rows,
    read_rows,
)
from wordllama_st.data.text_files import decode_lines
from wordllama_st.errors import DatasetError


def read_texts(sources: Iterable[str | Path]) -> Iterator[str]:
    """Read all texts of some files, without whitespace around them, and without those that are empty or blank.

    Args:
        sources: A .csv, .tsv, .json, .jsonl or .parquet file has a text in each cell of its text columns; any other
            file is plain text (UTF-8) and has one in each line.

    Raises:
        DatasetError: If a file does not exist, is not UTF-8, cannot be read or has no text in it.
    """
    for source in sources:
        if _is_table(source):
            rows = read_rows(str(source))
            columns = [column for column in rows.column_names if is_text(rows, column)]
            texts = (text for row in iterate_rows(rows, columns) for text in row)
        else:
            texts = (part for line in _lines(source) for part in line.split("\r"))  # as some programs end lines
        found = False
        for text in texts:
            if text and (text := text.strip()):
                found = True
                yield text
        if not found:
            raise DatasetError(f"{source} has no text in it.")


def read_column(sources: Iterable[str | Path | BinaryIO], column: str | None = None) -> Iterator[str]:
    """Read a text for each row, empty ones too, so that results can be matched to rows by their order.

    Args:
        sources: Files as for :func:`read_texts`, or binary streams of plain text such as ``sys.stdin.buffer``.
        column: The column to read of files that have columns; their only text column by default.

    Yields:
        Texts as they are; of plain text, lines without their ends.

    Raises:
        DatasetError: If a file does not exist, is not UTF-8 or cannot be read; if it has no such column, or, by
            default, not exactly one text column; or if a cell is null or not a text.
    """
    for source in sources:
        if _is_table(source):
            rows = read_rows(str(source))
            candidates = [name for name in rows.column_names if is_text(rows, name)] or rows.column_names
            if column is None and len(candidates) > 1:
                described = describe_columns(rows, rows.column_names)
                raise DatasetError(f"{source} has the columns {described}; name the one of texts with --column.")
            chosen = column or candidates[0]
            check_columns(rows, [chosen], str(source))
            check_cells(rows, chosen, str(source), lambda cell: isinstance(cell, str), "is {!r}, not a text.")
            yield from (text for (text,) in iterate_rows(rows, [chosen]))
        elif column is not None:
            raise DatasetError(f"Plain text has no columns; --column {column} is for {', '.join(FILE_FORMATS)} files.")
        else:
            yield from (line.removesuffix("\n").removesuffix("\r") for line in _lines(source))


def as_texts(texts: Iterable[str | Path]) -> Iterator[str]:
    """Yield each text (str) as it is, and those of each file (Path) as :func:`read_texts` reads them."""
    for text in texts:
        yield from read_texts([text]) if isinstance(text, Path) else (text,)


def _is_table(source: str | Path | BinaryIO) -> bool:
    return isinstance(source, (str, Path)) and Path(source).suffix.lower() in FILE_FORMATS


def _lines(source: str | Path | BinaryIO) -> Iterator[str]:
    if not isinstance(source, (str, Path)):
        yield from decode_lines(source, "standard input")
        return
    path = Path(source)
    if not path.exists() or path.is_dir():
        raise DatasetError(f"{path} is a directory; name the files in it." if path.is_dir() else f"There is no {path}.")
    with path.open("rb") as file:
        yield from decode_lines(file, str(path))

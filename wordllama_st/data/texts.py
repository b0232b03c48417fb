"""Plain texts from files, for what needs no labels: counting tokens, and learning from a teacher."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from wordllama_st.data.datasets import FILE_FORMATS, check_utf8, is_text, read_rows
from wordllama_st.errors import DatasetError


def read_texts(files: Sequence[str | Path]) -> Iterator[str]:
    """The texts of some files, one after the other, without those that are empty or blank.

    Args:
        files: A .csv, .tsv, .json, .jsonl or .parquet file gives every cell of its columns of texts, and any other
            file a text for each line.

    Yields:
        Texts without whitespace around them.

    Raises:
        DatasetError: If a file is not there, is not UTF-8, cannot be read or has no text in it.
    """
    for file in map(Path, files):
        found = False
        for text in _table(file) if file.suffix.lower() in FILE_FORMATS else _lines(file):
            if text and (text := text.strip()):
                found = True
                yield text
        if not found:
            raise DatasetError(f"{file} has no text in it.")


def _lines(file: Path) -> Iterator[str]:
    if not file.is_file():
        raise DatasetError(f"{file} is a directory; name the files in it." if file.exists() else f"There is no {file}.")
    check_utf8(file)
    with file.open(encoding="utf-8-sig") as lines:
        yield from lines


def _table(file: Path) -> Iterator[str | None]:
    rows = read_rows(str(file))
    columns = [column for column in rows.column_names if is_text(rows, column)]
    for row in rows.select_columns(columns) if columns else ():
        yield from (row[column] for column in columns)


def as_texts(texts: Iterable[str | Path]) -> Iterator[str]:
    """Yield each text (str) as it is, and those of each file (Path) as :func:`read_texts` reads them."""
    for text in texts:
        yield from read_texts([text]) if isinstance(text, Path) else (text,)

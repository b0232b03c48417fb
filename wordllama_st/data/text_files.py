"""Text files: their encoding, and whether a .tsv file is quoted."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from wordllama_st.errors import DatasetError


def not_utf8(name: str, byte: int) -> DatasetError:
    """Make the error for a file whose first byte that is not UTF-8 is number ``byte``, from 0."""
    return DatasetError(f"{name} is not UTF-8 at byte {byte}; convert it: iconv -t utf-8.")


def decode_lines(file: BinaryIO, name: str) -> Iterator[str]:
    r"""Decode UTF-8 line by line, with or without a byte order mark; only ``\n`` ends a line, and each keeps it."""
    position = 0
    for line in file:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(name, position + error.start) from error
        yield text if position else text.removeprefix("\ufeff")
        position += len(line)


def check_utf8(path: Path) -> None:
    """Raise a DatasetError if a file is not UTF-8, before a parser fails somewhere in it."""
    with path.open("rb") as file:
        deque(decode_lines(file, str(path)), maxlen=0)


def is_quoted_tsv(file: TextIO) -> bool:
    """Infer whether a .tsv file, open at its beginning and seekable, is quoted.

    Some programs write a leading ``"`` as part of the text: a parser that takes it for a quote joins rows up to the
    next one. So a file whose lines have the same number of tabs is unquoted, unless each line is well quoted by itself;
    any other file is quoted if its rows then have the same number of fields.
    """
    tabs: set[int] = set()
    is_quoted = True
    for line in file:
        if content := line.rstrip("\r\n"):
            tabs.add(content.count("\t"))
            is_quoted = is_quoted and ('"' not in content or _quoted_widths([content]) == {content.count("\t") + 1})
    if len(tabs) == 1:
        return is_quoted
    file.seek(0)
    return len(_quoted_widths(file)) == 1


def _quoted_widths(lines: Iterable[str]) -> set[int]:
    """The numbers of fields in the rows, as a strict parser counts them; empty if the quotes do not match."""
    try:
        return {len(row) for row in csv.reader(lines, delimiter="\t", strict=True) if row}
    except csv.Error:
        return set()

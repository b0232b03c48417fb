"""What has to be known of a text file before a parser reads it: its encoding, and whether its quotes mean anything."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path

from wordllama_st.errors import DatasetError

_BLOCK_BYTES = 2**20


def check_utf8(path: Path) -> None:
    """Refuse a file in another encoding, before a parser stumbles over it somewhere.

    Raises:
        DatasetError: It names the first byte that is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            held_back = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                position = read - held_back + error.start
                raise DatasetError(f"{path} is not UTF-8 at byte {position}; convert it: iconv -t utf-8.") from error
            if not block:
                return
            read += len(block)


def tsv_quoting(path: Path) -> int:
    r"""Whether a .tsv file (UTF-8) is quoted, as the ``csv`` module has it.

    Some programs put fields into quotes, so that a field may hold a tab or a line break. Others write fields as they
    are, and a ``"`` at the beginning of one is part of the text: to a parser that takes it for a quote, the rows up to
    the next ``"`` are one field. So a file whose lines have the same number of tabs is unquoted, unless each line is
    well quoted by itself, and both readings have the same rows. Any other file is quoted if its rows then have the
    same number of fields.

    Returns:
        ``csv.QUOTE_MINIMAL`` or ``csv.QUOTE_NONE``.
    """
    tabs: set[int] = set()
    lines_are_quoted = True
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line in file:
            if content := line.rstrip("\r\n"):
                tabs.add(content.count("\t"))
                lines_are_quoted = lines_are_quoted and ('"' not in content or _is_quoted(content))
    quoted = lines_are_quoted if len(tabs) == 1 else _rows_are_even(path)
    return csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE


def _is_quoted(line: str) -> bool:
    try:
        (fields,) = csv.reader([line], delimiter="\t", strict=True)
    except csv.Error:
        return False
    return len(fields) == line.count("\t") + 1


def _rows_are_even(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            return len({len(row) for row in csv.reader(file, delimiter="\t", strict=True) if row}) == 1
        except csv.Error:
            return False

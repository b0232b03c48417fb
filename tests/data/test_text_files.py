"""Text files: the first byte that is not UTF-8 is named, and a .tsv file keeps its rows, quoted or not."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wordllama_st.data.text_files import check_utf8, is_quoted_tsv
from wordllama_st.errors import DatasetError

_FIELDS = st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), min_size=1, max_size=8)
_TABLE = st.lists(st.tuples(_FIELDS, _FIELDS | st.sampled_from(['"', '"a', 'b"', '"a" b', '"c"'])), min_size=1)


def read_tsv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        quoting = csv.QUOTE_MINIMAL if is_quoted_tsv(file) else csv.QUOTE_NONE
        file.seek(0)
        return list(csv.reader(file, delimiter="\t", quoting=quoting))


@given(rows=_TABLE)
@settings(max_examples=150)
def test_every_tsv_keeps_its_rows_quoted_or_not(rows: list[tuple[str, str]], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8", newline="")
    plain = read_tsv(path)
    assert len(plain) == len(rows)
    with path.open(newline="", encoding="utf-8") as file:
        is_quoted = is_quoted_tsv(file)
    if not is_quoted:
        assert plain == [list(row) for row in rows]
    else:  # every line can be read as quoted: then quotes around a field are all that is taken away
        assert all(
            field in (cell, next(csv.reader(io.StringIO(cell, newline=""), delimiter="\t"))[0])
            for found, row in zip(plain, rows, strict=True)
            for field, cell in zip(found, row, strict=True)
        )
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL).writerows(rows)
    assert read_tsv(path) == [list(row) for row in rows]


@given(
    before=st.text(max_size=40) | st.text("é\n\ufeff"),
    broken=st.sampled_from([b"\xe9", b"\xe9a", b"\xff\xfe", b"\xc3", b"\xc3\n"]),
)
@settings(max_examples=200)
def test_the_first_byte_that_is_not_utf_8_is_named(before: str, broken: bytes, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "broken.txt"
    start = before.encode("utf-8", "ignore")
    path.write_bytes(start)
    check_utf8(path)
    path.write_bytes(start + broken + b"abc" * (broken != b"\xc3"))
    with pytest.raises(DatasetError, match=rf"is not UTF-8 at byte {len(start)}; convert"):
        check_utf8(path)

"""Texts from files: all of them for learning, or a text for each row, and what is none is refused by its row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest
from datasets import Dataset

from wordllama_st.data.texts import read_column, read_texts
from wordllama_st.errors import DatasetError, MissingExtraError

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
ROWS = {"id": [1, 2, 3], "text": ["a llama", '"two"\nlines', "None"]}


def write(columns: dict[str, Sequence[object]], path: Path) -> Path:
    rows = Dataset.from_dict(columns)
    {
        ".csv": rows.to_csv,
        ".tsv": lambda path: rows.to_csv(path, sep="\t"),
        ".json": lambda path: rows.to_json(path, lines=False),
        ".jsonl": rows.to_json,
        ".parquet": rows.to_parquet,
    }[path.suffix](path)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_only_text_column_of_a_table_is_read_in_order(suffix: str, tmp_path: Path) -> None:
    table = write(ROWS, tmp_path / f"table{suffix}")
    assert list(read_column([table])) == list(read_column([str(table)], "text")) == ROWS["text"]
    assert list(read_texts([table])) == ROWS["text"]


def test_every_line_of_plain_text_is_read_and_blank_ones_only_for_rows(tmp_path: Path) -> None:
    content = "\ufeffa llama\r\n\n  an alpaca\u2028of two lines \x85\n\n".encode()
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "b").write_text("the last line has no end")
    (tmp_path / "empty").write_text("")
    expected = ["a llama", "", "  an alpaca\u2028of two lines \x85", ""]
    sources = [BytesIO(content), tmp_path / "a.txt", tmp_path / "empty", str(tmp_path / "b"), BytesIO(b"\n")]
    assert list(read_column(sources)) == [*expected, *expected, "the last line has no end", ""]
    assert list(read_texts([tmp_path / "a.txt", tmp_path / "b"])) == [
        "a llama", "an alpaca\u2028of two lines", "the last line has no end",
    ]  # fmt: skip


def test_all_text_columns_of_a_table_are_texts_row_by_row(tmp_path: Path) -> None:
    table = write({"q": ["a", " "], "id": [1, 2], "a": [" b ", None]}, tmp_path / "table.jsonl")
    assert list(read_texts([table])) == ["a", "b"]


def test_tables_and_plain_text_may_be_mixed_and_empty_cells_that_are_texts_stay(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("x\n")
    table = write({"text": ["", " "]}, tmp_path / "table.jsonl")
    assert list(read_column([tmp_path / "lines", table])) == ["x", "", " "]


@pytest.mark.parametrize(
    ("columns", "column", "message"),
    [
        ({"text": ["x", None]}, None, "row 2: the cell 'text' is None, not a text"),
        ({"text": ["x", None]}, "text", "row 2: the cell 'text' is None, not a text"),
        ({"id": [7, 8], "text": ["x", "y"]}, "id", "row 1: the cell 'id' is 7, not a text"),
        ({"id": [7, 8]}, None, "row 1: the cell 'id' is 7, not a text"),
        ({"q": ["x"], "a": ["y"], "n": [1]}, None, r"has the columns q \(\w+\), a \(\w+\), n \(int64\); .*--column"),
        ({"m": [1], "n": [1]}, None, r"has the columns m \(int64\), n \(int64\); name .*--column"),
        ({"q": ["x"], "a": ["y"]}, "text", "has no column 'text'; it has q, a"),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_column_that_is_not_one_of_texts_says_why(
    columns: dict[str, Sequence[object]], column: str | None, message: str, suffix: str, tmp_path: Path
) -> None:
    table = write(columns, tmp_path / f"table{suffix}")
    with pytest.raises(DatasetError, match=message) as raised:
        list(read_column([table], column))
    assert str(table) in str(raised.value)


def test_a_cell_that_is_no_text_among_texts_is_named(tmp_path: Path) -> None:
    (tmp_path / "mixed.jsonl").write_text('{"text": "x"}\n{"text": 5}\n')
    (tmp_path / "empty.csv").write_text("id,text\n1,x\n2,\n")
    for name, cell in (("mixed.jsonl", "5"), ("empty.csv", "None")):
        with pytest.raises(DatasetError, match=rf"{name}, row 2: the cell 'text' is {cell}, not a text"):
            list(read_column([tmp_path / name]))


def test_files_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"a\ncaf\xe9\n")
    (tmp_path / "blank.txt").write_text(" \n\n")
    (tmp_path / "none.csv").write_text("id\n1\n")
    for read in (read_texts, read_column):
        with pytest.raises(DatasetError, match=r"latin\.txt is not UTF-8 at byte 5; convert"):
            list(read([tmp_path / "latin.txt"]))
        with pytest.raises(DatasetError, match="is a directory; name the files in it"):
            list(read([tmp_path]))
        with pytest.raises(DatasetError, match=r"There is no .*missing\.txt"):
            list(read([tmp_path / "missing.txt"]))
    with pytest.raises(DatasetError, match="standard input is not UTF-8 at byte 0; convert"):
        list(read_column([BytesIO(b"\xe9")]))
    for name in ("blank.txt", "none.csv"):
        with pytest.raises(DatasetError, match=rf"{name} has no text in it"):
            list(read_texts([tmp_path / name]))
    with pytest.raises(DatasetError, match=r"Plain text has no columns; --column text is for \.csv"):
        list(read_column([tmp_path / "blank.txt"], "text"))


def test_plain_text_is_read_without_datasets_and_a_table_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lines.txt").write_text("a\n")
    code = (
        "import sys; from wordllama_st.data.texts import read_column, read_texts; "
        f"files = [{str(tmp_path / 'lines.txt')!r}]; "
        "assert list(read_column(files)) == list(read_texts(files)) == ['a']; "
        "print([name for name in ('datasets', 'torch', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
    table = write(ROWS, tmp_path / "table.csv")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r'datasets: pip install "wordllama-st\[train\]"'):
        list(read_column([table]))

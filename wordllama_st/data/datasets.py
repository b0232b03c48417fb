"""Training data from files or the Hub: read, understood by its columns, and checked before any training."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from glob import escape
from pathlib import Path

from datasets import Dataset, Value, load_dataset

from wordllama_st.errors import DatasetError, reason

#: File suffix -> the datasets builder that reads it.
FILE_FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
#: Columns that the library's Trainer takes for labels.
LABEL_COLUMNS = ("score", "scores", "label", "labels", "similarity", "similarity_score")
#: What to call the label of scored pairs, whatever it was called.
SCORE = "score"

_HOW_TO_CHOOSE = "Name the columns to use, in order, with --columns (texts first, then a score if there is one)."


class Kind(Enum):
    """What a row of training data says."""

    PAIRS = "pairs"
    TRIPLETS = "triplets"
    SCORED_PAIRS = "scored pairs"


@dataclass(frozen=True)
class TrainingData:
    """Rows to train on, and what they say.

    Attributes:
        rows: The texts, in columns named as the library names them, then ``score`` for scored pairs.
        kind: Pairs that belong together; triplets, an anchor with one text that belongs to it and one or more that
            do not; or pairs with a score of how similar they are.
        name: Where it came from.
        used: The names that the columns had there.
        ignored: The names of those that were left out.
    """

    rows: Dataset
    kind: Kind
    name: str
    used: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def text_columns(self) -> list[str]:
        """The names of the text columns."""
        return [column for column in self.rows.column_names if column != SCORE]


def read_training_data(source: str, columns: Sequence[str] | None = None, split: str = "train") -> TrainingData:
    """Read a dataset and find out what its rows say.

    Args:
        source: A .csv, .tsv, .json, .jsonl or .parquet file, or the id of a dataset on the Hub.
        columns: The columns to use, in order; all of them by default.
        split: Which split of a Hub dataset.

    Raises:
        DatasetError: If there is no such file, or it cannot be read, or no usable columns are in it, or a cell is
            empty or no text, or there is but one row.
    """
    return infer_training_data(read_rows(source, split), columns, source)


def infer_training_data(rows: Dataset, columns: Sequence[str] | None = None, name: str = "dataset") -> TrainingData:
    """Choose the columns, tell what they say, check every cell.

    Raises:
        DatasetError: As :func:`read_training_data`.
    """
    if missing := [column for column in columns or [] if column not in rows.column_names]:
        raise DatasetError(f"{name} has no column {missing[0]!r}; it has {', '.join(rows.column_names)}.")
    if columns and len(set(columns)) < len(columns):
        raise DatasetError(f"A column is named twice in {', '.join(columns)}.")
    chosen = list(columns or rows.column_names)
    texts = [column for column in chosen if is_text(rows, column)]
    labels = [column for column in chosen if column not in texts and (columns or column.lower() in LABEL_COLUMNS)]
    scored = len(labels) == 1 and len(texts) == 2 and is_number(rows, labels[0])
    if not scored and (labels or len(texts) < 2):
        for column in chosen:
            _check_kind(rows, column, name)
        described = ", ".join(f"{column} ({_type(rows, column)})" for column in chosen)
        raise DatasetError(
            f"{name} has the columns {described}. Training wants two texts that belong together, an anchor with a text "
            f"that belongs to it and others that do not, or two texts and a score. {_HOW_TO_CHOOSE}"
        )
    if len(rows) < 2:
        raise DatasetError(f"{name} has {len(rows)} row{'s' * (len(rows) != 1)}; training compares rows, two at least.")
    for column in texts:
        check_texts(rows, column, name)
    for column in labels:
        _check_numbers(rows, column, name)
    kind = Kind.SCORED_PAIRS if scored else Kind.PAIRS if len(texts) == 2 else Kind.TRIPLETS
    used = texts + labels
    ignored = tuple(column for column in rows.column_names if column not in used)
    # The Trainer goes by the order of the texts, but takes a text that is called "label" for a label.
    rows = rows.select_columns(used).rename_columns(dict(zip(used, _names(kind, len(texts)), strict=True)))
    if scored:
        rows = rows.cast_column(SCORE, Value("float32"))
    return TrainingData(rows, kind, name, tuple(used), ignored)


def _names(kind: Kind, texts: int) -> list[str]:
    if kind is Kind.SCORED_PAIRS:
        return ["sentence1", "sentence2", SCORE]
    negatives = ["negative", *(f"negative_{number}" for number in range(2, texts - 1))]
    return ["anchor", "positive", *negatives][:texts]


def read_rows(source: str, split: str = "train", *, header: bool = True) -> Dataset:
    """Read a dataset, whatever its columns.

    Args:
        source: As for :func:`read_training_data`.
        split: Which split of a Hub dataset.
        header: Whether a .csv or .tsv file has one; the columns of a file without are ``"0"``, ``"1"`` and so on.

    Raises:
        DatasetError: If there is no such file, or it cannot be read, or has no rows.
    """
    path = Path(source)
    if path.suffix.lower() not in FILE_FORMATS or path.is_dir():
        if path.exists():
            raise DatasetError(f"{source} is none of {', '.join(FILE_FORMATS)}.")
        try:
            return load_dataset(source, split=split)
        except Exception as error:  # whatever the Hub, the network or the dataset's files come up with
            raise DatasetError(f"There is no file {source}; as a dataset of the Hub: {reason(error)}") from error
    if not path.is_file():
        raise DatasetError(f"There is no file {source}.")
    if path.stat().st_size == 0:
        raise DatasetError(f"{source} is empty.")
    options: dict[str, object] = {}
    if FILE_FORMATS[path.suffix.lower()] != "parquet":
        check_utf8(path)
    if FILE_FORMATS[path.suffix.lower()] == "csv":
        # A text may well be "None" or "NA"; only an empty cell is empty.
        options = {"keep_default_na": False, "na_values": [""]}
        if path.suffix.lower() == ".tsv":
            options |= {"sep": "\t", "quoting": tsv_quoting(path)}
        if not header:
            options["header"] = None
    try:
        return load_dataset(FILE_FORMATS[path.suffix.lower()], data_files=escape(str(path)), split="train", **options)
    except Exception as error:
        if "corresponds to no data" in str(error):
            raise DatasetError(f"{source} has no rows.") from error
        raise DatasetError(f"{source} cannot be read: {reason(error.__cause__ or error)}") from error


def _type(rows: Dataset, column: str) -> str:
    return str(getattr(rows.features[column], "dtype", type(rows.features[column]).__name__))


def is_text(rows: Dataset, column: str) -> bool:
    """Whether a column has texts in it."""
    return _type(rows, column) in ("string", "large_string", "string_view")


def is_number(rows: Dataset, column: str) -> bool:
    """Whether a column has numbers in it."""
    return _type(rows, column).startswith(("int", "uint", "float", "bool"))


def _check_kind(rows: Dataset, column: str, name: str) -> None:
    """Name the first cell that keeps a column from being one of texts, where some cells are texts and some are not."""
    cells = rows[column][:]
    if any(isinstance(cell, str) for cell in cells):
        for index, cell in enumerate(cells):
            if not isinstance(cell, str):
                raise DatasetError(f"{name}, row {index + 1}: the cell {column!r} is {cell!r}, not a text.")


def check_texts(rows: Dataset | Mapping[str, Sequence[object]], column: str, name: str) -> None:
    """Refuse a column with a cell that is empty or no text.

    Raises:
        DatasetError: It names the first such row.
    """
    for index, text in enumerate(rows[column]):
        if not isinstance(text, str) or not text.strip():
            raise DatasetError(f"{name}, row {index + 1}: the cell {column!r} is empty. Fill or drop it.")


def _check_numbers(rows: Dataset, column: str, name: str) -> None:
    for index, number in enumerate(rows[column]):
        if number is None or number != number:
            raise DatasetError(f"{name}, row {index + 1}: the cell {column!r} has no number. Fill or drop it.")


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

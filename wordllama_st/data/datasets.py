"""Load training data from files or the Hub, infer its kind from the columns, and validate it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from wordllama_st.data.text_files import check_utf8, is_quoted_tsv
from wordllama_st.errors import DatasetError, reason, require

if TYPE_CHECKING:  # importing datasets takes a second or two, and plain text needs none of it
    from datasets import Dataset

#: File suffix -> the datasets builder that reads it.
FILE_FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
#: Columns that sentence-transformers' Trainer takes for labels.
LABEL_COLUMNS = ("score", "scores", "label", "labels", "similarity", "similarity_score")
#: The label column of scored pairs, whatever its name was.
SCORE = "score"
#: A table whose cells can be checked.
Rows: TypeAlias = "Dataset | Mapping[str, Sequence[object]]"


class Kind(Enum):
    """What the rows of training data are."""

    PAIRS = "pairs"
    TRIPLETS = "triplets"
    SCORED_PAIRS = "scored pairs"


@dataclass(frozen=True)
class TrainingData:
    """Rows to train on, and their kind.

    Attributes:
        rows: The texts, in columns named as sentence-transformers names them, then ``score`` for scored pairs.
        kind: Pairs that belong together; triplets, an anchor with one text that belongs to it and one or more that
            do not; or pairs with a score of how similar they are.
        name: Where it came from.
        used: The original names of the columns in ``rows``; ``ignored`` are those left out.
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
    """Read a dataset and infer what its rows are.

    Args:
        source: A .csv, .tsv, .json, .jsonl or .parquet file, or the id of a dataset on the Hub.
        columns: The columns to use, in order; all of them by default.
        split: Which split of a Hub dataset.

    Raises:
        DatasetError: If the file does not exist, cannot be read, or has no usable columns, an empty cell, a cell
            that is not text, or only one row.
    """
    return infer_training_data(read_rows(source, split), columns, source)


def infer_training_data(rows: Dataset, columns: Sequence[str] | None = None, name: str = "dataset") -> TrainingData:
    """Choose the columns, infer the kind of the rows from them, and check every cell.

    Raises:
        DatasetError: As :func:`read_training_data`.
    """
    from datasets import Value

    chosen = list(columns or rows.column_names)
    check_columns(rows, chosen, name)
    if len(set(chosen)) < len(chosen):
        raise DatasetError(f"A column is named twice in {', '.join(chosen)}.")
    texts = [column for column in chosen if is_text(rows, column)]
    labels = [column for column in chosen if column not in texts and (columns or column.lower() in LABEL_COLUMNS)]
    is_scored = len(labels) == 1 and len(texts) == 2 and is_number(rows, labels[0])
    if not is_scored and (labels or len(texts) < 2):
        for column in chosen:  # one with some texts in it is meant for texts
            if any(isinstance(cell, str) for (cell,) in iterate_rows(rows, [column])):
                check_cells(rows, column, name, lambda cell: isinstance(cell, str), "is {!r}, not a text.")
        raise DatasetError(
            f"{name} has the columns {describe_columns(rows, chosen)}. Training wants two texts that belong together, "
            f"an anchor with a text that belongs to it and others that do not, or two texts and a score. Name the "
            f"columns to use, in order, with --columns (texts first, then a score if there is one)."
        )
    if len(rows) < 2:
        raise DatasetError(f"{name} has {len(rows)} row{'s' * (len(rows) != 1)}; training compares rows, two at least.")
    for column in texts:
        check_texts(rows, column, name)
    for column in labels:
        check_cells(
            rows, column, name, lambda cell: cell is not None and cell == cell, "has no number. Fill or drop it."
        )
    if is_scored:
        kind, names = Kind.SCORED_PAIRS, ["sentence1", "sentence2", SCORE]
    else:
        kind = Kind.PAIRS if len(texts) == 2 else Kind.TRIPLETS
        negatives = ["negative", *(f"negative_{number}" for number in range(2, len(texts) - 1))]
        names = ["anchor", "positive", *negatives][: len(texts)]
    used = texts + labels
    ignored = tuple(column for column in rows.column_names if column not in used)
    # The Trainer goes by the order of the texts, but takes a text column called "label" for a label.
    rows = rows.select_columns(used).rename_columns(dict(zip(used, names, strict=True)))
    if is_scored:
        try:
            rows = rows.cast_column(SCORE, Value("float32"))
        except Exception as error:  # of datasets or of Arrow
            raise DatasetError(f"{name}: the scores are no numbers that float32 has: {reason(error)}") from error
    return TrainingData(rows, kind, name, tuple(used), ignored)


def read_rows(source: str, split: str = "train", *, header: bool = True) -> Dataset:
    """Read a dataset, whatever its columns; those of a .csv or .tsv file without a header are ``"0"``, ``"1"`` …"""
    require("train", "datasets")
    from datasets import load_dataset

    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in FILE_FORMATS or path.is_dir():
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
    if suffix != ".parquet":
        check_utf8(path)
    options: dict[str, object] = {}
    if FILE_FORMATS[suffix] == "csv":
        # A text may well be "None" or "NA"; only an empty cell is empty.
        options = {"keep_default_na": False, "na_values": [""]}
        if suffix == ".tsv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                options |= {"sep": "\t", "quoting": csv.QUOTE_MINIMAL if is_quoted_tsv(file) else csv.QUOTE_NONE}
        if not header:
            options["header"] = None
    try:
        rows = load_dataset(FILE_FORMATS[suffix], data_files=escape(str(path)), split="train", **options)
        if suffix == ".parquet":
            rows.data.table.validate(full=True)  # readers trust that texts are UTF-8
        return rows
    except Exception as error:
        if "corresponds to no data" in str(error):
            raise DatasetError(f"{source} has no rows.") from error
        raise DatasetError(f"{source} cannot be read: {reason(error.__cause__ or error)}") from error


def iterate_rows(rows: Dataset, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Iterate over the rows of some columns, read in batches: one by one, it takes a hundred times longer."""
    for batch in rows.select_columns(list(columns)).iter(1000):
        yield from zip(*(batch[column] for column in columns), strict=True)


def _type(rows: Dataset, column: str) -> str:
    return str(getattr(rows.features[column], "dtype", type(rows.features[column]).__name__))


def is_text(rows: Dataset, column: str) -> bool:
    """Whether a column holds texts."""
    return _type(rows, column) in ("string", "large_string", "string_view")


def is_number(rows: Dataset, column: str) -> bool:
    """Whether a column holds numbers."""
    return _type(rows, column).startswith(("int", "uint", "float", "bool"))


def describe_columns(rows: Dataset, columns: Iterable[str]) -> str:
    """List columns with their types."""
    return ", ".join(f"{column} ({_type(rows, column)})" for column in columns)


def check_columns(rows: Dataset, columns: Iterable[str], name: str) -> None:
    """Raise a DatasetError if a dataset lacks one of the columns."""
    for column in columns:
        if column not in rows.column_names:
            raise DatasetError(f"{name} has no column {column!r}; it has {', '.join(rows.column_names)}.")


def check_cells(rows: Rows, column: str, name: str, is_valid: Callable[[Any], object], fault: str) -> None:
    """Raise a DatasetError at the first invalid cell, naming its row; ``fault`` may show the cell as ``{!r}``."""
    cells = rows[column] if isinstance(rows, Mapping) else (cell for (cell,) in iterate_rows(rows, [column]))
    for number, cell in enumerate(cells, 1):
        if not is_valid(cell):
            raise DatasetError(f"{name}, row {number}: the cell {column!r} {fault.format(cell)}")


def check_texts(rows: Rows, column: str, name: str) -> None:
    """Raise a DatasetError at the first cell that is empty, blank or not a text."""
    check_cells(rows, column, name, lambda cell: isinstance(cell, str) and cell.strip(), "is empty. Fill or drop it.")

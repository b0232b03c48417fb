"""Training data: what the columns say is understood, and what cannot be trained on is refused with the mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset

from wordllama_st.data.datasets import Kind, infer_training_data, read_training_data
from wordllama_st.errors import DatasetError

PAIRS = {"question": ["a", "b"], "answer": ["c", "d"]}


def write(dataset: dict[str, list[object]], path: Path) -> str:
    rows = Dataset.from_dict(dataset)
    {".csv": rows.to_csv, ".jsonl": rows.to_json, ".parquet": rows.to_parquet}[path.suffix](path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (PAIRS, Kind.PAIRS),
        ({**PAIRS, "wrong": ["e", "f"]}, Kind.TRIPLETS),
        ({**PAIRS, "score": [0.5, 4.0]}, Kind.SCORED_PAIRS),
        ({**PAIRS, "label": [0, 1]}, Kind.SCORED_PAIRS),
        ({"id": [1, 2], **PAIRS}, Kind.PAIRS),  # a number that is no label is left out
    ],
)
def test_the_columns_tell_what_the_rows_say(
    columns: dict[str, list[object]], kind: Kind, suffix: str, tmp_path: Path
) -> None:
    data = read_training_data(write(columns, tmp_path / f"data{suffix}"))
    assert data.kind is kind
    assert data.used[:2] == ("question", "answer")
    assert data.ignored == (("id",) if "id" in columns else ())
    assert (
        data.rows.column_names
        == {
            Kind.PAIRS: ["anchor", "positive"],
            Kind.TRIPLETS: ["anchor", "positive", "negative"],
            Kind.SCORED_PAIRS: ["sentence1", "sentence2", "score"],
        }[kind]
    )
    assert [row[data.text_columns[0]] for row in data.rows] == ["a", "b"]


def test_named_columns_are_used_in_their_order() -> None:
    rows = Dataset.from_dict({**PAIRS, "note": ["x", "y"], "similar": [1, 2]})
    data = infer_training_data(rows, ["answer", "question", "similar"])
    assert data.used == ("answer", "question", "similar")
    assert data.ignored == ("note",)
    assert data.rows[:] == {"sentence1": ["c", "d"], "sentence2": ["a", "b"], "score": [1.0, 2.0]}


def test_texts_may_have_the_names_of_labels_and_of_each_other() -> None:
    swapped = infer_training_data(Dataset.from_dict({"positive": ["a", "b"], "anchor": ["c", "d"]}))
    assert swapped.rows[:] == {"anchor": ["a", "b"], "positive": ["c", "d"]}
    data = infer_training_data(Dataset.from_dict({"text": ["a", "b"], "score": ["c", "d"], "label": [1, 2]}))
    assert data.rows[:] == {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [1.0, 2.0]}
    many = infer_training_data(Dataset.from_dict({name: ["x", "y"] for name in ("q", "label", "n1", "n2", "n3")}))
    assert many.rows.column_names == ["anchor", "positive", "negative", "negative_2", "negative_3"]


def test_a_number_that_is_not_called_a_score_is_left_out_and_said_to_be() -> None:
    data = infer_training_data(Dataset.from_dict({**PAIRS, "rating": [1, 5]}))
    assert (data.kind, data.ignored) == (Kind.PAIRS, ("rating",))


def test_a_file_name_is_no_pattern(tmp_path: Path) -> None:
    write({"x": ["wrong", "file"], "y": ["wrong", "file"]}, tmp_path / "faq1.csv")
    assert read_training_data(write(PAIRS, tmp_path / "faq[1].csv")).used == ("question", "answer")


def test_cells_that_look_like_missing_values_are_texts(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('a,b\n"hello, there",None\nNA,"two\nlines"\n')
    assert read_training_data(str(tmp_path / "data.csv")).rows[:] == {
        "anchor": ["hello, there", "NA"],
        "positive": ["None", "two\nlines"],
    }


def test_tabs_separate_in_a_tsv(tmp_path: Path) -> None:
    (tmp_path / "data.tsv").write_text("a\tb\tscore\nx, y\tz\t3\nu\tv\t4\n")
    assert read_training_data(str(tmp_path / "data.tsv")).kind is Kind.SCORED_PAIRS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\nx,y\nfoo,\n", "row 2: the cell 'b' is empty"),
        ("a,b\nx,y\nfoo,  \n", "row 2: the cell 'b' is empty"),
        ("a,b\nx,y\n", "has 1 row;"),
        ("a,b\n1,2\n3,4\n", r"a \(int64\), b \(int64\)"),
        ("a\nx\ny\n", r"a \(\w*string\)"),
        ("a,b,score\nx,y,1\nz,u,\n", "row 2: the cell 'score' has no number"),
        ("a,b,score\nx,y,good\nz,u,bad\n", None),  # a third text, then: triplets
        ("", "is empty"),
        ("a,b\n", "has no rows"),
        ("a,b\nx,y\nx,y,z,u\n", "cannot be read"),
    ],
)
def test_files_that_cannot_be_trained_on_say_why(content: str, message: str | None, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(content)
    if message is None:
        assert read_training_data(str(path)).kind is Kind.TRIPLETS
        return
    with pytest.raises(DatasetError, match=message) as raised:
        read_training_data(str(path))
    assert str(path) in str(raised.value)


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(DatasetError, match="no column 'query'; it has question, answer"):
        infer_training_data(Dataset.from_dict(PAIRS), ["query", "answer"])


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(DatasetError, match="named twice"):
        infer_training_data(Dataset.from_dict(PAIRS), ["question", "question"])


def test_the_cell_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": "x", "b": "y"}\n{"a": "z", "b": 5}\n')
    with pytest.raises(DatasetError, match="row 2: the cell 'b' is 5, not a text"):
        read_training_data(str(path))


def test_a_missing_file_and_one_of_another_kind_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no file"):
        read_training_data(str(tmp_path / "none.csv"))
    (tmp_path / "data.xlsx").write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"is none of \.csv"):
        read_training_data(str(tmp_path / "data.xlsx"))


def test_a_hub_dataset_that_cannot_be_had_is_an_error_of_ours() -> None:
    with pytest.raises(DatasetError, match="as a dataset of the Hub"):
        read_training_data("nobody/nothing")

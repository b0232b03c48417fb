"""Tasks from files: their columns are inferred, unquoted .tsv files keep their rows, and errors say what is wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from evaluation_tasks import PAIRS, SMALL, write

from wordllama_st import evaluate
from wordllama_st.errors import DatasetError
from wordllama_st.evaluation import read_classification, read_clustering, read_retrieval, read_similarity


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_similarity_files_are_read_whatever_their_format(suffix: str, tmp_path: Path) -> None:
    from datasets import Dataset

    rows = [
        {"id": "x", "a": 'He said "no", twice', "b": "None", "score": 3},
        {"id": "y", "a": "c", "b": "é", "score": 1},
    ]
    path = tmp_path / f"pairs{suffix}"
    dataset = Dataset.from_list(rows)
    {
        ".csv": dataset.to_csv,
        ".tsv": lambda path: dataset.to_csv(path, sep="\t"),
        ".jsonl": dataset.to_json,
        ".parquet": dataset.to_parquet,
    }[suffix](path)
    task = read_similarity(str(path))
    assert (task.name, list(task.first), list(task.second), list(task.scores)) == (
        "pairs", ['He said "no", twice', "c"], ["None", "é"], [3, 1],
    )  # fmt: skip
    assert list(read_similarity(f"{path}:b,a,score").first) == ["None", "é"]


def test_an_unquoted_tsv_loses_no_rows_to_a_quote(tmp_path: Path) -> None:
    path = tmp_path / "sts.tsv"
    path.write_text(
        'score\tsentence1\tsentence2\n1.5\t"Never," he said\tA\n3\t"open\tB\n2\tclose"\tC\n5\t"all of it"\tD\n'
    )
    task = read_similarity(str(path))
    assert list(task.first) == ['"Never," he said', '"open', 'close"', '"all of it"']
    assert list(task.scores) == [1.5, 3, 2, 5]


def test_a_quoted_tsv_may_have_tabs_and_line_breaks_in_its_fields(tmp_path: Path) -> None:
    rows = [["a\tb", "two\nlines", "1"], ["c", 'd "e"', "2"]]
    path = Path(write(tmp_path / "quoted.tsv", ["x", "y", "score"], rows))
    task = read_similarity(str(path))
    assert [task.first, task.second] == [["a\tb", "c"], ["two\nlines", 'd "e"']]


def test_labelled_files_with_and_without_a_header(tmp_path: Path) -> None:
    rows = [(index % 2 + 1, f"title {index}", f"text, {index}") for index in range(12)]
    bare = write(tmp_path / "news.csv", None, rows, quoting=csv.QUOTE_ALL)
    for source in (f"{bare}:2,3,1", write(tmp_path / "named.csv", ["label", "title", "text"], rows)):
        for read in (read_classification, read_clustering):
            task = read(source)
            assert task.samples[0] == "title 0 text, 0"
            assert list(task.labels) == [1, 2] * 6
            assert task.size == "12 texts, 2 labels"
    words = [(f"t{index}", "id", "yes", index % 2) for index in range(12)]
    task = read_classification(write(tmp_path / "words.csv", ["text", "id", "label_text", "label"], words))
    assert task.samples[0] == "t0"  # neither the id nor the answer in words is read


def beir(directory: Path, qrels: str, split: str = "test") -> Path:
    (directory / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = [{"_id": f"d{i}", "title": "Fact" * (i % 2), "text": PAIRS[i][1]} for i in range(5)]
    queries = [{"_id": f"q{i}", "text": PAIRS[i][0], "metadata": {"k": [i]}} for i in range(3)]
    for name, entries in (("corpus", corpus), ("queries", queries)):
        (directory / f"{name}.jsonl").write_text("\n".join(map(json.dumps, entries)) + "\n")
    (directory / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    return directory


def test_retrieval_from_pairs_and_from_beir(tmp_path: Path) -> None:
    task = read_retrieval(write(tmp_path / "faq.csv", ["question", "answer"], PAIRS))
    assert task.size == "60 queries, 60 documents"
    directory = beir(tmp_path / "beir", "q0\td0\t2\nq1\td1\t1\nq1\td2\t1\nq2\td2\t0\n")
    task = read_retrieval(str(directory))
    assert (task.name, task.size) == ("beir", "3 queries, 5 documents")
    assert task.documents["d1"] == f"Fact {PAIRS[1][1]}"
    assert task.relevance == {"q0": {"d0": 2}, "q1": {"d1": 1, "d2": 1}, "q2": {"d2": 0}}
    beir(directory, "q0\td0\t1\n", "dev")
    assert read_retrieval(f"{directory}:dev").size == "1 queries, 5 documents"
    assert 0 < evaluate(SMALL, [task]).scores[0].score <= 1


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        (
            "q0\td9\t1\nq0\td0\t1\n",
            "beir: of the 2 document ids in the qrels, 1 are not in the corpus, 'd9' first; an id there is 'd0'. Write",
        ),
        ("q9\td0\t1\n", "of the 1 query ids in the qrels, 1 are not in the queries, 'q9' first; an id there is 'q0'"),
        ("q0\td0\n", "line 2 is not a query id, a document id and a grade"),
        ("q0\td0\t0.5\n", "line 2 is not a query id, a document id and a grade, a whole number"),
        ("q0\td0\t0\n", "no query is answered"),
    ],
)
def test_qrels_that_fit_nothing_say_so(qrels: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        read_retrieval(str(beir(tmp_path / "beir", qrels)))


def test_a_beir_directory_with_a_part_missing_says_which(tmp_path: Path) -> None:
    directory = beir(tmp_path / "beir", "q0\td0\t1\n")
    with pytest.raises(DatasetError, match=r"has no qrels/dev\.tsv; it has test"):
        read_retrieval(f"{directory}:dev")
    (directory / "qrels" / "test.tsv").rename(directory / "test.tsv")
    with pytest.raises(DatasetError, match=r"has corpus\.jsonl and queries\.jsonl, but no qrels/test\.tsv.*Add it"):
        read_retrieval(str(directory))
    (directory / "test.tsv").rename(directory / "qrels.tsv")
    with (directory / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d1", "text": "another"}\n')
    with pytest.raises(DatasetError, match=r"corpus\.jsonl, line 6: the _id 'd1' is that of line 2 too"):
        read_retrieval(str(directory))
    for line in ('{"_id": "d0"}', "[" * 100_000):  # the second is a RecursionError of the json module's
        (directory / "corpus.jsonl").write_text(f"{line}\n")
        with pytest.raises(DatasetError, match=r"corpus\.jsonl, line 1 is no object with an _id and a text"):
            read_retrieval(str(directory))
    (directory / "corpus.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"There is no file .*corpus\.jsonl"):
        read_retrieval(str(directory))


@pytest.mark.parametrize(
    ("read", "columns", "content", "message"),
    [
        (read_similarity, "", b"", "is empty"),
        (read_similarity, "", b"a,b,score\n", "has no rows"),
        (read_similarity, "", b"a,b,score\ncaf\xe9,y,1\nx,y,2\n", "not UTF-8 at byte 13"),
        (read_similarity, "", b"a,b,score\nx,y,1\nz,u,1\n", "every pair has the score 1"),
        (read_similarity, "", b"a,b,score\nx,y,1\nz,u,\n", "row 2: the cell 'score' has no number"),
        (read_similarity, "", b"a,b,score\nx,y,1\nz,u,inf\n", "row 2: the score is inf"),
        (read_similarity, "", b"a,b,score\nx,y,1\nz,u,good\n", "cannot be told"),
        (read_similarity, "", b"a,b,score\nx,y,1\n ,u,2\n", "row 2: the cell 'a' is empty"),
        (read_similarity, "", b"a,b\nx,y\nz,u\n", "name them: .*pairs.csv:text,text,score"),
        (read_similarity, ":a,c,score", b"a,b,score\nx,y,1\nz,u,2\n", "has no column 'c'; it has a, b, score"),
        (read_similarity, ":1,2,4", b"x,y,1\nz,u,2\n", "has no column 4; it has 3 columns"),
        (read_similarity, ":0,1,2", b"x,y,1\nz,u,2\n", "numbered from 1"),
        (read_similarity, ":a,b", b"a,b,score\nx,y,1\nz,u,2\n", r"a \(text\), b \(text\), score \(number\) in 2 rows"),
        (read_similarity, ":a,b", b"a,b,score\nx,y,1\nz,u,2\n", "Needed are two texts and a score, a number"),
        (read_similarity, "", b"a,b,score\nx,y,1\n", "in two rows at least"),
        (read_retrieval, "", b"a,b\nx,same\nz,same\n", "has a single document"),
        (read_retrieval, "", b"a\nx\nz\n", "cannot be told"),
        (read_classification, "", b"text,label\n" + b"x,1\n" * 9, "every text has the label 1"),
        (
            read_classification,
            "",
            b"text,label\n" + b"x,1\n" * 9 + b"y,2\n" * 4,
            "the label '2' has 4 texts; each of 5",
        ),
        (read_classification, "", b"text,label\n" + b"x,a\n" * 9 + b"y,\n", "row 10: the label is missing"),
        (read_classification, "", b"text,label\n" + b"x,a\n" * 9 + b",b\n", "row 10: the cell 'text' is empty"),
        (
            read_clustering,
            ":label",
            b"text,label\nx,1\ny,2\n",
            "Needed are a text and a label.*name them: .*:text,label",
        ),
    ],
)
def test_files_that_cannot_be_scored_on_say_why(
    read: Any, columns: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read(f"{tmp_path / 'pairs.csv'}{columns}")


def test_a_number_names_no_column_of_a_file_whose_columns_have_names(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"a": "x", "b": "y"}\n{"a": "z", "b": "u"}\n')
    with pytest.raises(DatasetError, match="has no column 1; it has 2 columns"):
        read_retrieval(f"{tmp_path / 'pairs.jsonl'}:1,2")

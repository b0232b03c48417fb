"""What the encoding of a collection says of damaged and unsuitable inputs, and leaves as it was.

Protects: damaged files stop a run or are skipped, and the rows before the damage are the same in every run; a full
disk; columns and arguments that do not fit; directories of something else.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_files import EMBEDDED, ENCODER, PART, SCRIPT, checksums, read, texts_of, write_parquet
from dataset_files import small_parts as small_parts

from wordllama_st import encode_dataset
from wordllama_st.errors import ArgumentError, DatasetError, OutputExistsError
from wordllama_st.static.dataset import output, reading


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_of_something_else_is_left_alone(overwrite: bool, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "in/texts.parquet", 10)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/part-00000.parquet").write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="did not write"):
        encode_dataset(ENCODER, source, tmp_path / "other", overwrite=overwrite)
    assert (tmp_path / "other/part-00000.parquet").read_bytes() == b"precious"
    with pytest.raises(OutputExistsError, match="overlap"):
        encode_dataset(ENCODER, tmp_path / "in", tmp_path / "in/out", overwrite=overwrite)
    with pytest.raises(OutputExistsError, match="is a file"):
        encode_dataset(ENCODER, source, tmp_path / "other/part-00000.parquet", overwrite=overwrite)


def test_two_runs_do_not_write_to_one_directory(tmp_path: Path) -> None:
    source, out = write_parquet(tmp_path / "texts.parquet", 10), tmp_path / "out"
    with output.locked(out), pytest.raises(OutputExistsError, match=r"^Another run writes to .*out now"):
        encode_dataset(ENCODER, source, out)
    assert encode_dataset(ENCODER, source, out).rows == 10


def test_a_truncated_file_stops_the_run_or_is_skipped(tmp_path: Path) -> None:
    for name in "abc":
        write_parquet(tmp_path / f"in/{name}.parquet", 150, name)
    broken = tmp_path / "in/b.parquet"
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"b\.parquet cannot be read: .*--on-error skip"):
        encode_dataset(ENCODER, tmp_path / "in", tmp_path / "out")
    report = encode_dataset(ENCODER, tmp_path / "in", tmp_path / "out", on_error="skip")
    assert read(tmp_path / "out").column("text").to_pylist() == [*texts_of(150, "a"), *texts_of(150, "c")]
    (skipped,) = report.skipped
    assert (skipped.name, skipped.rows) == (str(broken), 0)
    assert json.loads(report.to_json())["skipped"][0]["name"] == str(broken)
    with pytest.raises(DatasetError, match=r"b\.parquet cannot be read"):
        encode_dataset(ENCODER, tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "tsv", "txt"])
def test_damage_in_the_middle_keeps_what_was_finished_before_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 4096)
    source = tmp_path / f"in/b.{kind}"
    write_parquet(tmp_path / "in/a.parquet", 250, "a")
    write_parquet(tmp_path / "in/c.parquet", 150, "c")
    rows = [(n, f"good text {n} " + "x" * 30) for n in range(300)]
    if kind == "parquet":
        bad = pa.array([b"caf\xe9" if n == 250 else text.encode() for n, text in rows], pa.binary()).view(pa.string())
        pq.write_table(pa.table({"id": [n for n, _ in rows], "text": bad}), source, row_group_size=100)
    else:
        template = {"jsonl": '{{"id": {0}, "text": "{1}"}}\n', "csv": "{0},{1}\n", "tsv": "{0}\t{1}\n", "txt": "{1}\n"}
        head = {"csv": "id,text\n", "tsv": "id\ttext\n"}.get(kind, "")
        lines = [template[kind].format(*row).encode() for row in rows]
        lines[250] = lines[250].replace(b"good", b"caf\xe9")
        source.write_bytes(head.encode() + b"".join(lines))
        bad_byte = source.read_bytes().index(b"\xe9")
    message = "UTF8" if kind == "parquet" else f"is not UTF-8 at byte {bad_byte}; convert it"
    with pytest.raises(DatasetError, match=rf"b\.{kind} .*{message}"):
        encode_dataset(ENCODER, tmp_path / "in", tmp_path / "out", text_column="text")
    assert len(list((tmp_path / "out").glob("part-*"))) >= 2
    report = encode_dataset(ENCODER, tmp_path / "in", tmp_path / "out", text_column="text", on_error="skip")
    (skipped,) = report.skipped
    assert 0 < skipped.rows <= 250
    assert report.found >= 2
    table = read(tmp_path / "out")
    good = [text for _, text in rows[: skipped.rows]]
    assert table.column("text").to_pylist() == [*texts_of(250, "a"), *good, *texts_of(150, "c")]
    encode_dataset(ENCODER, tmp_path / "in", tmp_path / "straight", text_column="text", on_error="skip")
    assert checksums(tmp_path / "straight") == checksums(tmp_path / "out")


def test_a_full_disk_leaves_the_finished_parts(tmp_path: Path) -> None:
    texts = [*texts_of(PART), *(random.Random(n).randbytes(20_000).hex() for n in range(PART))]
    source, out = tmp_path / "texts.jsonl", tmp_path / "out"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"  # as a disk that is full
    run = subprocess.run(
        [sys.executable, "-c", limit + SCRIPT, EMBEDDED, str(source), str(out)], capture_output=True, text=True
    )
    assert "OutputError: " in run.stderr
    assert "part-00001.parquet cannot be written: " in run.stderr
    assert "Make room and run again; what is finished stays." in run.stderr
    assert sorted(path.name for path in out.glob("[!.]*")) == ["manifest.json", "part-00000.parquet"]
    assert encode_dataset(EMBEDDED, source, out, precision="int8").found == 1
    assert read(out).column("text").to_pylist() == texts


@pytest.mark.parametrize(
    ("tables", "options", "message"),
    [
        ([{"id": [1], "n": [2]}], {}, r"--text-column; the columns are id \(int64\), n \(int64\)"),
        ([{"a": ["x"], "b": ["y"]}], {}, r"--text-column; the columns are a \(string\), b \(string\)"),
        ([{"a": ["x"]}], {"text_column": "c"}, r"no column 'c'; the columns are a \(string\)"),
        ([{"a": ["x"], "n": [1]}], {"text_column": "n"}, r"'n' is not text; the columns are a"),
        ([{"a": ["x"], "n": [1]}, {"a": ["x"], "n": [1.5]}], {}, r"'n' is double in .*1\.parquet and int64 in .*0\."),
        ([{"a": ["x"]}, {"n": [1]}], {}, r"1\.parquet has no column 'a'; it has n"),
        ([{"a": ["x"], "embedding": [1]}], {}, "already; rename or drop it"),
    ],
)
def test_unsuitable_columns_are_named_and_nothing_is_written(
    tables: list[dict[str, list[object]]], options: dict[str, str], message: str, tmp_path: Path
) -> None:
    for number, table in enumerate(tables):
        pq.write_table(pa.table(table), tmp_path / f"{number}.parquet")
    sources = sorted(tmp_path.glob("*.parquet"))
    with pytest.raises(DatasetError, match=message):
        encode_dataset(ENCODER, sources, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "texts.parquet", 10)
    (tmp_path / "array.json").write_text('[{"text": "a"}]')
    for arguments, message in [
        ({"precision": "int4"}, "ubinary, not 'int4'"),
        ({"truncate_dim": 512}, "cannot be cut to 512"),
        ({"prompt_name": "query"}, "no prompt 'query'"),
        ({"on_error": "ignore"}, "'stop' or 'skip', not 'ignore'"),
        ({"num_threads": 0}, "not 0"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            encode_dataset(ENCODER, source, tmp_path / "out", **arguments)  # type: ignore[arg-type]
    for inputs, message in [
        (tmp_path / "none.csv", r"There is no file .*none\.csv"),
        (str(tmp_path / "*.csv"), "There is no file"),
        ("nosuch://bucket/x.csv", "nosuch://bucket/x.csv cannot be opened: Protocol not known"),
        ([], "no inputs"),
        (tmp_path / "array.json", "is an array; write one object a line"),
    ]:
        with pytest.raises(DatasetError, match=message):
            encode_dataset(ENCODER, inputs, tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()

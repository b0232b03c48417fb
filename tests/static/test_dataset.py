"""A collection is encoded from files to Parquet files: every row once, in order, whatever happens on the way.

Protects: all formats; columns and nulls; equality with ``StaticEncoder.encode`` at every precision; the same bytes
after a kill, and finished parts left alone; another run's output; what is said of damaged and unsuitable inputs.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wordllama_st import StaticEncoder, encode_dataset
from wordllama_st.cli.main import main
from wordllama_st.errors import ArgumentError, DatasetError, OutputExistsError
from wordllama_st.static import quantize_embeddings
from wordllama_st.static.dataset import EmbedTexts, output, reading

EMBEDDED = "wordllama-l2-supercat-256"
ENCODER = StaticEncoder.from_pretrained(EMBEDDED)
PART = 100


@pytest.fixture(autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "PART_ROWS", PART)
        patch.setattr(output, "GROUP_ROWS", 40)
        yield


def texts_of(count: int, name: str = "row") -> list[str]:
    return [f"{name} {number}: the llama, said nothing \u2028 to number {number % 7}" for number in range(count)]


def write_parquet(path: Path, count: int, name: str = "row", **options: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": list(range(count)), "text": texts_of(count, name)}), path, **options)
    return path


def read(out: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(out.glob("part-*.parquet")))


def embeddings(table: pa.Table) -> npt.NDArray[np.generic]:
    return np.array([row for row in table.column("embedding").to_pylist() if row is not None])


def checksums(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}


def test_all_formats_are_read_in_order_with_their_columns(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    write_parquet(folder / "a.parquet", 130, row_group_size=50)
    lines = [{"id": n, "text": text, "more": {"tags": [n, n]}} for n, text in enumerate(texts_of(30))]
    (folder / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "c.csv").write_text('\ufeffid,text\n0,"a ""quoted""\nllama"\n1,NA\n2,\n3,""\n', encoding="utf-8")
    (folder / "d.tsv").write_text('id\ttext\n0\t"Never, said one\n1\tand another"\n', encoding="utf-8")
    (folder / "e.tsv").write_text('text\tid\n"one\ttwo"\t0\n', encoding="utf-8")
    (folder / "f.txt").write_bytes("\ufeffone\r\n\n\u2028three".encode())
    (folder / "g.jsonl").touch()
    (folder / "_log.json").write_text("no data")
    report = encode_dataset(ENCODER, folder, tmp_path / "out", text_column="text")

    table = read(tmp_path / "out")
    assert table.column_names == ["id", "text", "more", "embedding"]
    expected = [*texts_of(130), *texts_of(30), 'a "quoted"\nllama', "NA", None, "", '"Never, said one', 'and another"']
    expected += ["one\ttwo", "one", "", "\u2028three"]
    assert table.column("text").to_pylist() == expected
    assert table.column("id").to_pylist() == [*range(130), *range(30), 0, 1, 2, 3, 0, 1, 0, None, None, None]
    assert table.column("more").to_pylist()[130:161] == [*({"tags": [n, n]} for n in range(30)), None]
    present = [text for text in expected if text is not None]
    np.testing.assert_array_equal(embeddings(table), ENCODER.encode(present))
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        "manifest.json",
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert (report.rows, report.null_texts, report.parts, report.found) == (170, 1, 2, 0)
    assert "170, 1 of them without a text" in str(report)


def test_a_null_text_keeps_its_row_and_has_a_null_vector(tmp_path: Path) -> None:
    source = tmp_path / "texts.parquet"
    texts = ["a llama", None, "", None]
    pq.write_table(pa.table({"text": pa.array(texts).dictionary_encode(), "id": [1, 2, 3, 4]}), source)
    report = encode_dataset(ENCODER, source, tmp_path / "out", normalize=True)
    table = read(tmp_path / "out")
    assert table.column("text").to_pylist() == texts
    assert table.column("embedding").is_null().to_pylist() == [False, True, False, True]
    assert report.null_texts == json.loads((tmp_path / "out/manifest.json").read_text())["null_texts"] == 2


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "uint8", "binary", "ubinary"])
def test_embeddings_are_those_of_the_encoder(precision: str, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "texts.parquet", 250)
    encode_dataset(
        ENCODER, source, tmp_path / "out", precision=precision, normalize=True, truncate_dim=64, num_threads=2
    )  # type: ignore[arg-type]
    vectors = ENCODER.encode(texts_of(250), normalize_embeddings=True, truncate_dim=64)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    if precision == "float16":
        expected = vectors.astype(np.float16)
    else:
        ranges = np.array(manifest["ranges"], np.float32) if precision.endswith("int8") else None
        expected = quantize_embeddings(vectors, precision, ranges)  # type: ignore[arg-type]
        if ranges is not None:
            np.testing.assert_array_equal(ranges, [vectors[:PART].min(axis=0), vectors[:PART].max(axis=0)])
    table = read(tmp_path / "out")
    stored = table.schema.field("embedding").type
    assert (stored.list_size, stored.value_type.to_pandas_dtype()) == (expected.shape[1], expected.dtype.type)
    np.testing.assert_array_equal(embeddings(table).astype(expected.dtype), expected)


def test_the_function_of_a_batch_can_be_sent_to_another_process() -> None:
    embed = pickle.loads(pickle.dumps(EmbedTexts(ENCODER, "text", normalize=True)))
    table = embed(pa.table({"id": [1, 2], "text": ["a llama", "an alpaca"]}))
    np.testing.assert_array_equal(
        embeddings(table), ENCODER.encode(["a llama", "an alpaca"], normalize_embeddings=True)
    )


@given(
    sizes=st.lists(st.integers(0, 130), min_size=1, max_size=5),
    group=st.integers(1, 150),
    threads=st.integers(1, 3),
    lost=st.sets(st.integers(0, 6)),
)
@settings(max_examples=25, deadline=None)
def test_every_row_is_there_once_however_rows_are_split_and_whatever_parts_were_lost(
    sizes: list[int], group: int, threads: int, lost: set[int]
) -> None:
    with TemporaryDirectory() as name:
        folder, out = Path(name, "in"), Path(name, "out")
        for number, size in enumerate(sizes):
            if number % 2:
                folder.mkdir(exist_ok=True)
                (folder / f"{number}.txt").write_text("".join(f"{number} {n}\n" for n in range(size)))
            else:
                write_parquet(folder / f"{number}.parquet", size, str(number), row_group_size=group)
        arguments = (ENCODER, folder, out)
        encode_dataset(*arguments, text_column="text", num_threads=threads)
        expected = [
            text
            for number, size in enumerate(sizes)
            for text in ([f"{number} {n}" for n in range(size)] if number % 2 else texts_of(size, str(number)))
        ]
        parts = sorted(out.glob("part-*"))
        assert [text for path in parts for text in pq.read_table(path).column("text").to_pylist()] == expected
        assert all(pq.read_metadata(path).num_rows == PART for path in parts[:-1])

        before, manifest = checksums(out), out / "manifest.json"
        begun = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({k: v for k, v in begun.items() if k not in ("rows", "null_texts", "parts")}))
        gone = [path for number, path in enumerate(parts) if number in lost]
        for path in gone:
            path.unlink()
        report = encode_dataset(*arguments, text_column="text", num_threads=threads)
        assert report.found == len(parts) - len(gone)
        assert checksums(out) == before


SCRIPT = """
import sys
from wordllama_st import encode_dataset
from wordllama_st.static.dataset import output
output.PART_ROWS = 100
output.GROUP_ROWS = 40
encode_dataset(sys.argv[1], sys.argv[2], sys.argv[3], precision="int8", num_threads=2)
"""


def test_a_killed_run_is_taken_up_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    for number in range(3):
        write_parquet(tmp_path / f"in/{number}.parquet", 4000, str(number), row_group_size=1500)
    source, out = tmp_path / "in", tmp_path / "out"
    options = {"precision": "int8", "num_threads": 2}
    encode_dataset(EMBEDDED, source, tmp_path / "undisturbed", **options)  # type: ignore[arg-type]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, EMBEDDED, str(source), str(out)])
    wanted = random.randint(1, 60)
    while process.poll() is None and len(list(out.glob("part-*"))) < wanted:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert 0 < len(finished) < 120
    report = encode_dataset(EMBEDDED, source, out, **options)  # type: ignore[arg-type]
    assert report.found == len(finished)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert checksums(out) == checksums(tmp_path / "undisturbed")


def test_a_finished_run_does_nothing_and_another_one_is_refused(tmp_path: Path) -> None:
    source, out = write_parquet(tmp_path / "texts.parquet", 250), tmp_path / "out"
    encode_dataset(EMBEDDED, source, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = encode_dataset(EMBEDDED, source, out)
    assert (again.rows, again.parts, again.found) == (250, 3, 3)
    assert "nothing was left to do" in str(again)
    with pytest.raises(OutputExistsError, match="another run: model_sha256, normalize differ"):
        encode_dataset("wordllama-l2-supercat-64", source, out, normalize=True)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    os.utime(source, (1, 1))
    with pytest.raises(OutputExistsError, match="another run: inputs differ"):
        encode_dataset(EMBEDDED, source, out)
    write_parquet(source, 50)
    assert encode_dataset(EMBEDDED, source, out, overwrite=True).parts == 1
    assert len(read(out)) == 50


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
    assert "Make room and run again; finished parts stay." in run.stderr
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "part-00000.parquet"]
    assert encode_dataset(EMBEDDED, source, out, precision="int8").found == 1
    assert read(out).column("text").to_pylist() == texts


def test_files_of_another_file_system_are_read(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name in ("one", "two"):
        memory.pipe(f"/texts/{name}.csv", f"text\nA {name}\n".encode())
    try:
        encode_dataset(ENCODER, "memory://texts/*.csv", tmp_path / "out")
        assert read(tmp_path / "out").column("text").to_pylist() == ["A one", "A two"]
        inputs = json.loads((tmp_path / "out/manifest.json").read_text())["inputs"]
        assert list(inputs) == ["memory:///texts/one.csv", "memory:///texts/two.csv"]
        assert all(file["version"] for file in inputs.values())
    finally:
        memory.rm("/texts", recursive=True)


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


def test_the_command_writes_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_parquet(Path("in/texts.parquet"), 120)
    command = ["encode", EMBEDDED, "in/*.parquet", "--out", "out", "--precision", "float16", "--dim", "64"]
    assert main([*command, "--json", "report.json"]) == 0
    assert "Rows        120" in capsys.readouterr().out
    assert json.loads(Path("report.json").read_text())["parts"] == 2
    assert read(Path("out")).schema.field("embedding").type == pa.list_(pa.float16(), 64)
    assert main(command) == 0
    assert "nothing was left to do" in capsys.readouterr().out
    assert main([*command, "--text-column", "body"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wordllama-st encode: error: There is no column 'body'; the columns are id (int64), text")
    assert main([*command[:4], "vectors.npy", "--precision", "float16"]) == 1

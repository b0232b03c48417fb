"""A collection is encoded from files to Parquet files: every row once, in order, whatever happens on the way.

Protects: all formats; columns and nulls; equality with ``StaticEncoder.encode`` at every precision; the same bytes
after a kill, and finished parts left alone; another run's output; the command.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_files import EMBEDDED, ENCODER, PART, SCRIPT, checksums, embeddings, read, texts_of, write_parquet
from dataset_files import small_parts as small_parts
from hypothesis import given, settings
from hypothesis import strategies as st

from wordllama_st import encode_dataset
from wordllama_st.cli.main import main
from wordllama_st.errors import DatasetError, OutputExistsError
from wordllama_st.static import quantize_embeddings
from wordllama_st.static.dataset import EmbedTexts, encode


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
    assert [path.name for path in sorted((tmp_path / "out").glob("[!.]*"))] == [
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
@settings(max_examples=25)
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
    before = {path: path.stat().st_mtime_ns for path in out.glob("[!.]*")}
    again = encode_dataset(EMBEDDED, source, out)
    assert (again.rows, again.parts, again.found) == (250, 3, 3)
    assert "nothing was left to do" in str(again)
    with pytest.raises(OutputExistsError, match="another run: model_sha256, normalize differ"):
        encode_dataset("wordllama-l2-supercat-64", source, out, normalize=True)
    assert {path: path.stat().st_mtime_ns for path in out.glob("[!.]*")} == before
    os.utime(source, (1, 1))
    with pytest.raises(OutputExistsError, match="another run: inputs differ"):
        encode_dataset(EMBEDDED, source, out)
    write_parquet(source, 50)
    assert encode_dataset(EMBEDDED, source, out, overwrite=True).parts == 1
    assert len(read(out)) == 50


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
    Path("texts.txt").write_text("A line")
    assert main(["encode", EMBEDDED, "texts.txt", "--out", "vectors.npy", "--precision", "float16"]) == 1


def test_a_directory_becomes_one_numpy_file_when_all_parts_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "vectors.npy"
    write_parquet(source / "a.parquet", 250)
    (source / "b.jsonl").write_text('{"id": 1, "text": null}\n')
    command = ["encode", EMBEDDED, str(source), "--out", str(out), "--precision", "float16", "--normalize"]
    assert main(command) == 1
    assert "1 of the rows 200 to 250 have no text, and a .npy file has a vector for every" in capsys.readouterr().err
    assert not out.exists()
    (source / "b.jsonl").unlink()
    assert main([*command, "--overwrite"]) == 0
    np.testing.assert_array_equal(
        np.load(out), ENCODER.encode(texts_of(250), normalize_embeddings=True).astype(np.float16)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "vectors.npy"]
    with pytest.raises(OutputExistsError, match=r"vectors\.npy already exists"):
        encode_dataset(ENCODER, source, out)


def test_the_parts_of_a_finished_file_are_removed_where_a_kill_left_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write_parquet(tmp_path / "texts.parquet", 250), tmp_path / "vectors.npy"
    parts = tmp_path / ".vectors.npy.parts"
    with monkeypatch.context() as patch:
        patch.setattr(encode, "discard", lambda *args: None)  # as for a process that is killed before it
        encode_dataset(ENCODER, source, out)
    assert parts.is_dir()
    os.utime(out, ns=(0, 0))  # older, as one that these parts are to replace
    with pytest.raises(OutputExistsError, match="already exists"):
        encode_dataset(ENCODER, source, out)
    assert parts.is_dir()
    os.utime(out)
    with pytest.raises(OutputExistsError, match="already exists"):
        encode_dataset(ENCODER, source, out)
    assert sorted(os.listdir(tmp_path)) == ["texts.parquet", "vectors.npy"]


def test_one_column_is_kept_beside_the_embedding(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": ["a", "b"], "text": ["one", None], "n": [1, 2]}), tmp_path / "texts.parquet")
    report = encode_dataset(ENCODER, tmp_path / "texts.parquet", tmp_path / "out", id_column="key")
    table = read(tmp_path / "out")
    assert table.column_names == ["key", "embedding"]
    assert table.column("key").to_pylist() == ["a", "b"]
    assert table.column("embedding").is_null().to_pylist() == [False, True]
    assert report.null_texts == 1
    with pytest.raises(DatasetError, match="no column 'id'; it has key, text, n"):
        encode_dataset(ENCODER, tmp_path / "texts.parquet", tmp_path / "other", text_column="text", id_column="id")

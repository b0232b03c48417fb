"""The Ray engine has the output of the threads, byte for byte, whatever happens to its workers.

Protects: every format and precision's ranges; a worker that is killed in the middle; workers that die again and again,
damage, and addresses without a cluster, each of which is one clear error; finished parts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import ray
from dataset_files import EMBEDDED, PART, checksums, texts_of, write_parquet

from wordllama_st import embed_with_teacher, encode_dataset, static_model_from_pretrained
from wordllama_st.cli.main import main
from wordllama_st.errors import ArgumentError, ClusterError, DatasetError
from wordllama_st.static.dataset import output


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    """Parts of few rows; workers have row groups as large as always."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "PART_ROWS", PART)
        yield


@pytest.fixture(scope="module")
def cluster(small_parts: None) -> Iterator[None]:
    """One cluster of two workers for all tests, as a program has that uses Ray for other things, too."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def kill_workers(most: int, is_done: list[bool]) -> int:
    """Kill processes that encode a part at this moment, until the run is done or so many are dead; return how many."""
    killed: set[int] = set()
    while not is_done and len(killed) < most:
        for process in psutil.Process().children(recursive=True):
            try:
                if process.pid not in killed and process.cmdline()[:1] and "ray::part-" in process.cmdline()[0]:
                    process.kill()
                    killed.add(process.pid)
            except psutil.Error:
                continue
        time.sleep(0.005)
    return len(killed)


def inputs(folder: Path) -> Path:
    write_parquet(folder / "a.parquet", 2030, "a", row_group_size=1000)  # a group has rows of many parts
    write_parquet(folder / "b.parquet", 530, "b", row_group_size=70)  # and a part those of several groups
    rows = [{"text": text, "id": number} for number, text in enumerate([*texts_of(150, "c"), None])]
    (folder / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_parquet(folder / "d.parquet", 20, "d")
    return folder


# Before the others: a process is connected to one cluster.
def test_an_address_without_a_cluster_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(write_parquet(tmp_path / "texts.parquet", 10))
    command = ["encode", EMBEDDED, source, "--out", str(tmp_path / "out"), "--address", "127.0.0.1:9"]
    with pytest.raises(ArgumentError, match="take the engine 'ray' with it"):
        encode_dataset(EMBEDDED, source, tmp_path / "out", address="auto")
    assert main([*command, "--engine", "ray"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wordllama-st encode: error: No Ray cluster answers at 127.0.0.1:9: ")


@pytest.mark.usefixtures("cluster")
def test_parts_are_those_of_the_threads_although_a_worker_was_killed(tmp_path: Path) -> None:
    source, out, expected = inputs(tmp_path / "in"), tmp_path / "out", tmp_path / "expected"
    local = encode_dataset(EMBEDDED, source, expected, text_column="text", precision="int8")
    done: list[bool] = []
    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(kill_workers, 1, done)
        report = encode_dataset(EMBEDDED, source, out, text_column="text", precision="int8", engine="ray")
        done.append(True)
        assert killer.result() == 1
    assert checksums(out) == checksums(expected)
    assert (report.rows, report.null_texts, report.found) == (local.rows, 1, 0) == (2731, 1, 0)

    manifest = out / "manifest.json"
    begun = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({k: v for k, v in begun.items() if k not in ("rows", "null_texts", "parts")}))
    for number in (3, 22, 27):
        (out / f"part-{number:05d}.parquet").unlink()
    report = encode_dataset(EMBEDDED, source, out, text_column="text", precision="int8", engine="ray")
    assert (report.parts, report.found) == (28, 25)
    assert checksums(out) == checksums(expected)


@pytest.mark.usefixtures("cluster")
def test_workers_that_die_again_and_again_are_one_error_and_finished_parts_stay(tmp_path: Path) -> None:
    source, out = write_parquet(tmp_path / "texts.parquet", 50), tmp_path / "out"
    with pytest.raises(ArgumentError, match="connected to a Ray cluster already"):
        encode_dataset(EMBEDDED, source, out, engine="ray", address="auto")
    done: list[bool] = []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(kill_workers, 1000, done)
        try:
            with pytest.raises(
                ClusterError, match=r"^Every Ray worker dies .* after 3 retries: .* finished parts stay\.$"
            ):
                encode_dataset(EMBEDDED, source, out, engine="ray")
        finally:
            done.append(True)
    assert encode_dataset(EMBEDDED, source, out, engine="ray").rows == 50
    assert sorted(path.name for path in out.iterdir() if path.suffix == ".partial") == []


@pytest.mark.usefixtures("cluster")
def test_damage_is_found_by_workers_and_skipped_as_by_threads(tmp_path: Path) -> None:
    for name in "abc":
        write_parquet(tmp_path / f"in/{name}.parquet", 250, name, row_group_size=50)
    broken = tmp_path / "in/b.parquet"
    content = bytearray(broken.read_bytes())
    content[2000:2500] = bytes(500)
    broken.write_bytes(content)
    with pytest.raises(DatasetError, match=r"b\.parquet cannot be read: .*--on-error skip\.$"):
        encode_dataset(EMBEDDED, tmp_path / "in", tmp_path / "out", engine="ray")
    report = encode_dataset(EMBEDDED, tmp_path / "in", tmp_path / "out", engine="ray", on_error="skip")
    encode_dataset(EMBEDDED, tmp_path / "in", tmp_path / "expected", on_error="skip")
    assert checksums(tmp_path / "out") == checksums(tmp_path / "expected")
    assert [file.name for file in report.skipped] == [str(broken)]


@pytest.mark.usefixtures("cluster")
def test_a_teachers_embeddings_are_those_of_one_process(tmp_path: Path) -> None:
    source, teacher = write_parquet(tmp_path / "texts.parquet", 120), static_model_from_pretrained(EMBEDDED)
    embed_with_teacher(teacher, source, tmp_path / "expected", precision="float32")
    with pytest.raises(ArgumentError, match="leave the devices out, or the engine"):
        embed_with_teacher(teacher, source, tmp_path / "out", engine="ray", devices=["cpu"])
    report = embed_with_teacher(teacher, source, tmp_path / "out", precision="float32", engine="ray")
    assert (report.rows, report.parts) == (120, 1)
    assert checksums(tmp_path / "out") == checksums(tmp_path / "expected")

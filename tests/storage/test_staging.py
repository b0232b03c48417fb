"""Outputs appear whole, under their final name, or not at all.

What they protect: of several writers none deletes another's result unasked; overwriting deletes nothing but a model;
what killed processes left is removed, and what a living one is at work on is not; nobody can lay a link where we write;
and what has its final name is on disk.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from wordllama_st.errors import ModelLoadError, OutputExistsError
from wordllama_st.storage.staging import check_or_record, check_output, staged_directory, staged_file


def write(path: Path, text: str, *, overwrite: bool = False, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Write something that counts as a codebook."""
    with staged_directory(path, overwrite=overwrite) as staging:
        (staging / "codebook.json").write_text(text)
        (staging / "0_Folder").mkdir()
        (staging / "0_Folder" / "weights").write_text(text)
        meanwhile()


def read(path: Path) -> str:
    assert (path / "0_Folder" / "weights").read_text() == (path / "codebook.json").read_text()
    return (path / "codebook.json").read_text()


def test_of_two_writers_the_later_is_refused_or_with_overwrite_wins(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(OutputExistsError, match="already exists"):
        write(path, "later", meanwhile=lambda: write(path, "earlier"))
    assert read(path) == "earlier"
    write(path, "later", overwrite=True, meanwhile=lambda: write(path, "in between", overwrite=True))
    assert read(path) == "later"
    assert os.listdir(tmp_path) == ["model"]


def test_an_empty_directory_is_filled_and_one_that_was_filled_meanwhile_is_not(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    write(path, "first")
    assert read(path) == "first"
    other = tmp_path / "other"

    def fill() -> None:
        other.mkdir()
        (other / "notes.txt").touch()

    with pytest.raises(OutputExistsError, match="already exists"):
        write(other, "ours", meanwhile=fill)
    assert os.listdir(other) == ["notes.txt"]


def test_overwriting_deletes_nothing_but_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write(path, "before")
    (path / ".git").mkdir()
    (path / "notes.txt").touch()
    with pytest.raises(OutputExistsError, match=r"also holds \.git, notes\.txt, which overwriting would delete"):
        write(path, "after", overwrite=True)
    (path / ".git").rmdir()
    (path / "notes.txt").unlink()
    # Also where they come while the output is made.
    with pytest.raises(OutputExistsError, match=r"also holds notes\.txt"):
        write(path, "after", overwrite=True, meanwhile=(path / "notes.txt").touch)
    assert read(path) == "before"
    assert sorted(os.listdir(path)) == ["0_Folder", "codebook.json", "notes.txt"]


_WRITER = """
import sys, time
from pathlib import Path
from wordllama_st.storage.staging import staged_directory

with staged_directory(sys.argv[1]) as staging:
    (staging / "half").touch()
    print("written", flush=True)
    time.sleep(60)
"""


def test_the_next_run_removes_what_a_dead_process_left_and_nothing_of_a_living_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    process = subprocess.Popen([sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    (living,) = tmp_path.glob(".model.*.partial")
    check_output(path)
    write(tmp_path / "model.2", "another's name")
    assert (living / "model" / "half").is_file()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    other = tmp_path / ".model.2.abcdefgh.partial"
    other.mkdir()
    check_output(path)
    assert not living.exists()
    assert other.exists()


def test_what_a_dead_process_was_replacing_is_put_back(tmp_path: Path) -> None:
    path, left = tmp_path / "model", tmp_path / ".model.abcdefgh.partial"
    write(left / "model.replaced", "old")
    with pytest.raises(OutputExistsError, match="already exists"):
        check_output(path)
    assert read(path) == "old"
    write(left / "model.replaced", "older")  # and is not, where another has written it since
    check_output(path, overwrite=True)
    assert read(path) == "old"
    assert os.listdir(tmp_path) == ["model"]


def test_a_link_in_the_place_of_a_leftover_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "model.replaced").mkdir(parents=True)
    (tmp_path / ".model.abcdefgh.partial").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "model", "text")
    assert (tmp_path / "elsewhere" / "model.replaced").is_dir()


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_threads_may_write_to_one_path_at_once(kind: str, tmp_path: Path) -> None:
    path, faults = tmp_path / "output", []
    together = threading.Barrier(4)

    def work(number: int) -> None:
        try:
            for _ in range(20):
                if kind == "directory":
                    write(path, str(number), overwrite=True, meanwhile=lambda: together.wait(30) and None)
                else:
                    with staged_file(path) as staging:
                        staging.write_text(str(number) * 1000)
                        together.wait(30)
        except BaseException as error:
            faults.append(error)
            together.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    text = read(path) if kind == "directory" else path.read_text()
    assert set(text) < set("0123")
    assert len(set(text)) == 1
    assert os.listdir(tmp_path) == ["output"]


def test_nobody_can_foresee_where_a_file_is_written(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "output"
    victim.write_text("kept")
    (tmp_path / f".output.{os.getpid()}.partial").symlink_to(victim)
    names = set()
    for _ in range(2):
        with staged_file(path) as staging:
            names.add(staging.name)
            staging.write_text("new")
    assert len(names) == 2
    assert victim.read_text() == "kept"
    assert path.read_text() == "new"
    assert not path.is_symlink()


def test_what_has_its_name_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file and directory before it has its final name, and then the name."""
    synced: list[tuple[int, bool]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", noted)
    path = tmp_path / "file"
    with staged_file(path) as staging:
        staging.touch()
    assert synced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
    synced.clear()
    path = tmp_path / "model"
    write(path, "text")
    inodes = {entry.stat().st_ino for entry in (path, *path.rglob("*"))}
    assert {inode for inode, named in synced if not named} == inodes
    assert synced[-1] == (tmp_path.stat().st_ino, True)


@pytest.mark.parametrize("content", ["", "{", "7", pytest.param("[" * 100_000, id="nested")])
def test_a_record_of_a_run_that_is_damaged_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ModelLoadError, match=r"run\.json is damaged: .*Delete"):
        check_or_record(tmp_path / "run.json", {"seed": 1})

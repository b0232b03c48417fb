"""Outputs appear whole, under their final name, or not at all.

What they protect: of several writers none deletes another's result unasked; overwriting deletes nothing but a model;
what killed processes left is removed, and what a living one is at work on is not; nobody can lay a link where we write;
and what has its final name is on disk.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors import SafetensorError

from wordllama_st.disk import temporary_file
from wordllama_st.errors import ModelLoadError, OutputError, OutputExistsError
from wordllama_st.storage.staging import (
    check_or_record,
    check_output,
    check_output_file,
    discard,
    is_staging,
    staged_directory,
    staged_file,
    write_text,
)


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


_FILE_WRITER = """
import sys, time
from pathlib import Path
from wordllama_st.storage.staging import staged_file

with staged_file(Path(sys.argv[1])) as staging:
    staging.write_text("half")
    print("written", flush=True)
    time.sleep(60)
"""


def test_so_is_what_is_left_of_a_file_by_whatever_comes_next(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    for comes in (
        lambda: check_output_file(path),
        lambda: write_text(path, "whole"),
        lambda: check_or_record(path, {}),
    ):
        process = subprocess.Popen([sys.executable, "-c", _FILE_WRITER, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        (living,) = tmp_path.glob(".vectors.npy.*.partial")
        comes()
        assert (living / "vectors.npy").read_text() == "half"
        path.unlink(missing_ok=True)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert is_staging(living.name)
        comes()
        assert not living.exists()
        path.unlink(missing_ok=True)
    assert os.listdir(tmp_path) == []


def test_of_several_processes_with_one_directory_the_first_says_what_it_is_for(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            path, together = tmp_path / str(number) / "run.json", threading.Barrier(8)

            def record(seed: int, path: Path = path, together: threading.Barrier = together) -> list[str]:
                together.wait(30)
                return check_or_record(path, {"seed": seed})

            found = list(pool.map(record, range(8)))
            assert sorted(found) == [[], *[["seed"]] * 7]
            assert json.loads(path.read_text()) == {"seed": found.index([])}


def test_a_directory_is_discarded_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, path = tmp_path / ".vectors.npy.parts", tmp_path / "vectors.npy"
    parts.mkdir()
    (parts / "part").touch()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # as for a process that is killed there
        discard(parts, path)
    assert not parts.exists()
    assert os.listdir(tmp_path) != []
    check_output_file(path)
    assert os.listdir(tmp_path) == []
    discard(parts, path)  # another process was faster


#: What the system, NumPy and libraries in Rust say of a full disk.
FULL = (
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EFBIG, "File too large"),
    OSError("9600 requested and 13 written"),
    Exception("No space left on device (os error 28)"),
    SafetensorError("Error while serializing: I/O error: File too large (os error 27)"),
)


@pytest.mark.parametrize("error", FULL, ids=repr)
def test_a_full_disk_is_one_error_that_names_what_could_not_be_written(error: Exception, tmp_path: Path) -> None:
    for staged in (staged_directory, staged_file):
        with (
            pytest.raises(OutputError, match=rf"{tmp_path}/output cannot be written: .*Make room"),
            staged(tmp_path / "output"),
        ):
            raise error
    with pytest.raises(OutputError, match=rf"^{tempfile.gettempdir()} cannot be written"), temporary_file():
        raise error
    assert os.listdir(tmp_path) == []


def test_no_other_error_is_taken_for_a_full_disk(tmp_path: Path) -> None:
    for error in (OSError(errno.EIO, "broken"), ValueError("(os error 5)"), ModelLoadError("(os error 28)")):
        with pytest.raises(type(error)) as caught, staged_file(tmp_path / "output"):
            raise error
        assert caught.value is error


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
            names.add(staging.parent.name)
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

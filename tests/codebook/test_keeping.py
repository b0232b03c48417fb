"""A codebook is kept safely: saved whole or not at all.

Protects: what is loaded is what was saved; saves share one file; a save that fails, by a full disk or a killed process,
leaves what was there.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from checkpoints import (
    COLUMNS,
    DTYPES,
    ROWS,
    content,
    same_bits,
    save_table,
    save_zeros,
)
from tokenizers import Tokenizer

from wordllama_st import Codebook
from wordllama_st.errors import OutputExistsError
from wordllama_st.storage.staging import check_output

# Keeping


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_saved_codebook_loads_with_the_same_bits_and_tokens(
    dtype: torch.dtype, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    table = torch.randn(ROWS, COLUMNS).to(dtype)
    Codebook(table, tokenizer).save(tmp_path / "codebook")
    for loaded in (Codebook.load(tmp_path / "codebook"), Codebook.from_pretrained(tmp_path / "codebook")):
        assert same_bits(loaded.weight, table)
        assert loaded.tokenizer.get_vocab() == tokenizer.get_vocab()


def test_a_codebook_keeps_its_provenance(checkpoint: Path, tmp_path: Path) -> None:
    codebook = Codebook.from_pretrained(checkpoint)
    expected = {
        "source": str(checkpoint),
        "tensor_name": "model.embed_tokens.weight",
        "shape": [ROWS, COLUMNS],
        "dtype": "float32",
        "sha256": hashlib.sha256(codebook.weight.numpy().tobytes()).hexdigest(),
        "commit": None,
        "trimmed_rows": 0,
        "tensor_sha256": None,
        "zero_rows": 0,
        "parts": [],
        "special_tokens": ["</s>", "<pad>", "<s>"],
        "tolerated": [],
    }
    codebook.save(tmp_path / "first")
    Codebook.load(tmp_path / "first").save(tmp_path / "second")
    assert sorted(content(tmp_path / "first")) == ["codebook.json", "codebook.safetensors", "tokenizer.json"]
    for directory in ("first", "second"):
        assert json.loads((tmp_path / directory / "codebook.json").read_text()) == expected


def test_saves_of_one_codebook_share_one_file(codebook: Codebook, tmp_path: Path) -> None:
    def inode(directory: str) -> int:
        return (tmp_path / directory / "codebook.safetensors").stat().st_ino

    codebook.save(tmp_path / "first")
    codebook.save(tmp_path / "second")
    Codebook.load(tmp_path / "second").save(tmp_path / "third")
    assert inode("first") == inode("second") == inode("third")

    # As a training run does that keeps its last few checkpoints.
    shutil.rmtree(tmp_path / "first")
    codebook.save(tmp_path / "fourth")
    assert inode("fourth") == inode("second")

    # Replacing one of them leaves the others what they were.
    other = Codebook(codebook.weight + 1, codebook.tokenizer)
    other.save(tmp_path / "second", overwrite=True)
    assert same_bits(Codebook.load(tmp_path / "second").weight, other.weight)
    assert same_bits(Codebook.load(tmp_path / "third").weight, codebook.weight)


def test_a_codebook_outlives_the_files_it_came_from(checkpoint: Path, tmp_path: Path) -> None:
    codebook = Codebook.from_pretrained(checkpoint)
    weight = codebook.weight.clone()
    codebook.save(tmp_path / "first")
    shutil.rmtree(checkpoint)
    shutil.rmtree(tmp_path / "first")
    codebook.save(tmp_path / "second")
    assert same_bits(Codebook.load(tmp_path / "second").weight, weight)


def test_a_codebook_can_be_saved_over_itself(codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    before = content(tmp_path)
    Codebook.load(tmp_path / "codebook").save(tmp_path / "codebook", overwrite=True)
    assert content(tmp_path) == before


def test_existing_output_is_refused_and_left_as_it_is(codebook: Codebook, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(OutputExistsError, match="directory already exists"):
        codebook.save(tmp_path / "directory")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="file is a file"):
            codebook.save(tmp_path / "file", overwrite=overwrite)
    assert issubclass(OutputExistsError, FileExistsError)
    assert content(tmp_path) == before


def test_an_empty_directory_is_filled_and_a_full_one_replaced_when_told_to(codebook: Codebook, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    codebook.save(tmp_path / "empty")
    codebook.save(tmp_path / "full")
    (tmp_path / "full/1_Projection").mkdir()  # of a model that is not wanted any more
    codebook.save(tmp_path / "full", overwrite=True)
    assert content(tmp_path / "full") == content(tmp_path / "empty")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty", "full"]


# Saves that fail half-way


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse, as a full disk does, to let a file of this process grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a file system takes root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_write_error_leaves_the_old_codebook(codebook: Codebook, tokenizer: Tokenizer, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    before = content(tmp_path)
    large = Codebook(torch.zeros(ROWS, 1_000), tokenizer)
    for target in ("codebook", "new"):
        with largest_file(100_000), pytest.raises(OSError, match="File too large"):
            large.save(tmp_path / target, overwrite=True)
    assert content(tmp_path) == before


def test_a_write_error_behind_the_table_is_an_os_error_too(codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    before = content(tmp_path)
    # The table is linked, so that it is the tokenizer's file that does not fit.
    with largest_file(1_000), pytest.raises(OSError, match="File too large"):
        codebook.save(tmp_path / "codebook", overwrite=True)
    assert content(tmp_path) == before


def test_a_full_disk_leaves_the_old_codebook(codebook: Codebook, tokenizer: Tokenizer, small_disk: Path) -> None:
    codebook.save(small_disk / "codebook")
    before = content(small_disk)
    large = Codebook(torch.zeros(ROWS, 1_000), tokenizer)
    for target in ("codebook", "new"):
        with pytest.raises(OSError, match="No space left on device"):
            large.save(small_disk / target, overwrite=True)
    assert content(small_disk) == before
    assert same_bits(Codebook.load(small_disk / "codebook").weight, codebook.weight)


def test_a_codebook_is_copied_where_it_cannot_be_linked(codebook: Codebook, small_disk: Path, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    codebook.save(small_disk / "codebook")
    assert content(small_disk / "codebook") == content(tmp_path / "codebook")


_SAVE = """
import signal, sys
from wordllama_st import Codebook

checkpoint, output, end, renames = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background

def end_before_rename(event, arguments):
    global renames
    if event == "os.rename":
        renames -= 1
        if renames == 0:
            signal.raise_signal(end)

codebook = Codebook.from_pretrained(checkpoint, tensor_name="table")
sys.addaudithook(end_before_rename)
codebook.save(output, overwrite=True)
"""


def test_a_process_killed_while_it_writes_leaves_the_old_codebook(
    codebook: Codebook, tokenizer: Tokenizer, large_path: Path
) -> None:
    output = large_path / "output" / "codebook"
    codebook.save(output)
    before = content(output)
    large = save_zeros(ROWS, 684_000, large_path / "checkpoint", tokenizer)  # 410 MB
    with subprocess.Popen([sys.executable, "-c", _SAVE, large, output, "0", "0"]) as process:
        while process.poll() is None:
            if any(path.stat().st_size > 2**20 for path in output.parent.glob(".*.partial/codebook/.*.partial/*")):
                process.kill()
                break
            time.sleep(0.001)
    assert process.returncode == -signal.SIGKILL
    assert content(output) == before
    assert same_bits(Codebook.load(output).weight, codebook.weight)
    # What the killed process left beside it is removed by the next.
    Codebook(codebook.weight + 1, tokenizer).save(output, overwrite=True)
    assert same_bits(Codebook.load(output).weight, codebook.weight + 1)
    assert list(output.parent.iterdir()) == [output]


#: The renames of a save: of the three files, of the old directory out of the way, of the new one into place.
RENAMES = [1, 2, 3, 4, 5]


def end_save(end: signal.Signals, rename: int, output: Path, directory: Path, tokenizer: Tokenizer) -> None:
    """Save a codebook over ``output`` in a process that a signal ends before its ``rename``-th rename."""
    new = save_table(torch.ones(ROWS, COLUMNS), directory / "checkpoint", tokenizer)
    arguments = [new, output, str(end.value), str(rename)]
    process = subprocess.run([sys.executable, "-c", _SAVE, *arguments], capture_output=True, check=False)
    assert process.returncode == -end


@pytest.mark.parametrize("rename", RENAMES)
def test_a_process_killed_between_any_two_steps_leaves_a_whole_codebook(
    rename: int, codebook: Codebook, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    output = tmp_path / "output" / "codebook"
    codebook.save(output)
    before = content(output)
    end_save(signal.SIGKILL, rename, output, tmp_path, tokenizer)
    if rename == 5:
        # Two directories cannot change places in one step: for this moment the old one stands where it stepped aside.
        (aside,) = output.parent.glob(".codebook.*.partial/codebook.replaced")
        assert content(aside) == before
        check_output(output, overwrite=True)  # as the next run does, which puts it back
    assert content(output) == before
    assert same_bits(Codebook.load(output).weight, codebook.weight)


@pytest.mark.parametrize("rename", RENAMES)
def test_an_interrupt_between_any_two_steps_leaves_everything_as_it_was(
    rename: int, codebook: Codebook, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    output = tmp_path / "output" / "codebook"
    codebook.save(output)
    before = content(output.parent)
    end_save(signal.SIGINT, rename, output, tmp_path, tokenizer)
    assert content(output.parent) == before

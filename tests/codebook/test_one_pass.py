"""What writes a table is also what checks and hashes it, so that gigabytes are read once.

Protects: a damaged table is refused before anything appears on disk, whoever reads it first; what is recorded is the
same as if the table had been checked beforehand; a table is read once.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import COLUMNS, DTYPES, ROWS, content, save_table
from tokenizers import Tokenizer

from wordllama_st import Codebook
from wordllama_st.codebook.token_table import ArrayRows, CheckedRows, blocks, first_nonfinite_row
from wordllama_st.errors import CodebookError
from wordllama_st.storage.safetensors_file import Table


def unchecked(table: torch.Tensor, directory: Path, tokenizer: Tokenizer) -> Codebook:
    return Codebook.from_pretrained(save_table(table, directory, tokenizer), tensor_name="table", check=False)


READERS: dict[str, Callable[[Codebook, Path], object]] = {
    "save": lambda codebook, path: codebook.save(path),
    "weight": lambda codebook, path: codebook.weight,
    "provenance": lambda codebook, path: codebook.provenance,
    "pickle": lambda codebook, path: pickle.dumps(codebook),
    "join": lambda codebook, path: Codebook.concat([codebook, codebook]).save(path),
    "scale": lambda codebook, path: Codebook.concat([codebook], scale="rms").save(path),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_table_is_refused_by_whatever_reads_it_first(
    reader: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    table = torch.randn(ROWS, COLUMNS)
    table[17, 3] = float("nan")
    codebook = unchecked(table, tmp_path / "checkpoint", tokenizer)
    before = content(tmp_path)
    for _ in range(2):  # the second time no less than the first
        with pytest.raises(CodebookError, match=r"Row 17 .* is not finite"):
            READERS[reader](codebook, tmp_path / "codebook")
    assert content(tmp_path) == before


@pytest.mark.parametrize("rows", [ROWS, ROWS + 21], ids=["exact", "padded"])
def test_what_is_recorded_does_not_depend_on_when_it_was_checked(
    rows: int, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    table = torch.randn(rows, COLUMNS)
    late = unchecked(table, tmp_path / "checkpoint", tokenizer)
    early = Codebook.from_pretrained(tmp_path / "checkpoint", tensor_name="table")
    joined = [Codebook.concat([part, part], scale=[1.0, 0.5]) for part in (late, early)]
    for index, codebook in enumerate(joined):
        codebook.save(tmp_path / str(index))
    assert content(tmp_path / "0") == content(tmp_path / "1")
    assert late.provenance == early.provenance
    assert early.provenance.sha256 == Codebook(table[:ROWS], tokenizer).provenance.sha256
    assert torch.equal(Codebook.load(tmp_path / "0").weight, joined[1].weight)


class CountingRows(ArrayRows):
    """Rows that know how many of them were read."""

    read = 0

    def block(self, start: int, stop: int) -> Table:
        type(self).read += stop - start
        return super().block(start, stop)


def test_a_table_is_read_once() -> None:
    table = torch.randn(1000, 64).numpy()
    rows = CheckedRows(CountingRows(table, "float32"), explain=None)
    assert sum(map(len, blocks(rows, chunk_bytes=10_000))) == 1000
    rows.finish()
    assert CountingRows.read == 1000


def test_reading_that_was_broken_off_or_out_of_order_is_no_check() -> None:
    table = torch.randn(1000, 64)
    table[999, 63] = float("inf")
    rows = CheckedRows(ArrayRows(table.numpy(), "float32"), explain=str)
    rows.block(0, 100)
    rows.block(500, 900)
    with pytest.raises(CodebookError, match="999"):
        rows.finish()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_is_found_wherever_it_is(dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    for row in (0, 1, 6_000, 9_999):
        block = torch.full((10_000, 30), torch.finfo(dtype).max).to(dtype)
        bits = block.view(torch.uint16).numpy() if name == "bfloat16" else block.numpy()
        assert first_nonfinite_row(bits, name) is None
        block[row, 29] = float("nan")
        assert first_nonfinite_row(bits, name) == row

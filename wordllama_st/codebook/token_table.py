"""Token tables that are read some rows at a time, wherever they lie and however large they are.

The tables of large models do not fit into memory, and some exist in no file as they are: joined from several, or
dequantised. All of them can give any of their rows, which is enough to check, hash, write, join and look at one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wordllama_st.storage.safetensors_file import CHUNK_BYTES, STORAGE_DTYPES, Table


class Rows(Protocol):
    """A token table [V, D], read some rows at a time.

    Attributes:
        shape: (V, D).
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``.
    """

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> str: ...

    def block(self, start: int, stop: int) -> Table:
        """Rows ``start`` to ``stop``, [stop - start, D], contiguous; bfloat16 as its uint16 bits."""
        ...


@dataclass(frozen=True)
class ArrayRows:
    """The rows of an array in memory or mapped from a file."""

    table: Table
    dtype: str

    @property
    def shape(self) -> tuple[int, int]:
        return self.table.shape[0], self.table.shape[1]

    def block(self, start: int, stop: int) -> Table:
        return np.ascontiguousarray(self.table[start:stop])


@dataclass(frozen=True)
class FittedRows:
    """The first rows of a table, and rows of zeros behind them."""

    rows: Rows
    count: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.count, self.rows.shape[1]

    @property
    def dtype(self) -> str:
        return self.rows.dtype

    def block(self, start: int, stop: int) -> Table:
        end = self.rows.shape[0]
        known = self.rows.block(min(start, end), min(stop, end))
        zeros = np.zeros((stop - start - len(known), self.shape[1]), dtype=STORAGE_DTYPES[self.dtype])
        return np.concatenate([known, zeros]) if len(zeros) else known


def fitted(rows: Rows, count: int) -> Rows:
    """A table's first ``count`` rows; rows of zeros behind them where it has fewer."""
    if count == rows.shape[0]:
        return rows
    if isinstance(rows, ArrayRows) and count < rows.shape[0]:
        return ArrayRows(rows.table[:count], rows.dtype)
    return FittedRows(rows, count)


def block_starts(rows: Rows, chunk_bytes: int = CHUNK_BYTES, first: int = 0) -> Iterator[tuple[int, int]]:
    """Where to cut a table, from row ``first`` on, into blocks of about ``chunk_bytes``: (start, stop) of each."""
    count, dim = rows.shape
    step = max(1, chunk_bytes // (dim * STORAGE_DTYPES[rows.dtype].itemsize))
    for start in range(first, count, step):
        yield start, min(start + step, count)


def blocks(rows: Rows, chunk_bytes: int = CHUNK_BYTES, first: int = 0) -> Iterator[Table]:
    """A table from row ``first`` to its last, about ``chunk_bytes`` at a time."""
    for start, stop in block_starts(rows, chunk_bytes, first):
        yield rows.block(start, stop)


def ahead(stream: Iterator[Table]) -> Iterator[Table]:
    """The same blocks, each made while the one before it is in use: reading need not wait for writing."""
    with ThreadPoolExecutor(1) as maker:
        upcoming = maker.submit(next, stream, None)
        while (block := upcoming.result()) is not None:
            upcoming = maker.submit(next, stream, None)
            yield block


def as_float32(block: Table, dtype: str) -> Table:
    """A block's numbers as float32."""
    if dtype == "bfloat16":
        return (block.astype(np.uint32) << 16).view(np.float32)
    return block.astype(np.float32)

"""Token tables that are read a block of rows at a time, wherever they lie and however large they are.

The tables of large models do not fit into memory, and some exist in no file: concatenated from several, or dequantized.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from wordllama_st.errors import CodebookError
from wordllama_st.storage.safetensors_file import CHUNK_BYTES, STORAGE_DTYPES, Table, map_tensor
from wordllama_st.storage.tokenizer import num_token_ids, tokens_without_row

if TYPE_CHECKING:
    import torch

#: The exponent bits of each dtype; a number with all of them set is infinite or NaN.
_EXPONENTS = {"float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}
#: Numbers checked at a time, few enough to stay in a processor's cache.
_NUMBERS = 2**17
#: The largest vocabularies have a million tokens; a damaged id may make the tokenizers library list all ids below it.
MOST_IDS = 2**24


class Rows:
    """A token table of ``shape`` (V, D) and ``dtype`` float32, float16 or bfloat16, read some rows at a time."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.shape = (shape[0], shape[1])
        self.dtype = dtype

    def block(self, start: int, stop: int) -> Table:
        """Rows ``start`` to ``stop``, [stop - start, D], contiguous; bfloat16 as its uint16 bits."""
        raise NotImplementedError


class ArrayRows(Rows):
    """The rows of an array in memory or mapped from a file."""

    def __init__(self, table: Table, dtype: str) -> None:
        super().__init__(table.shape, dtype)
        self.table = table

    @classmethod
    def from_file(cls, path: Path, name: str) -> ArrayRows:
        """The rows of a tensor of a safetensors file, mapped; raises CodebookError if it has no such table."""
        return cls(*map_tensor(path, name))

    @classmethod
    def from_tensor(cls, weight: torch.Tensor) -> ArrayRows:
        """The rows of a tensor [V, D], not copied if possible; raises CodebookError for another shape or dtype."""
        import torch

        dtype = str(weight.dtype).removeprefix("torch.")
        if weight.ndim != 2 or 0 in weight.shape or dtype not in STORAGE_DTYPES:
            raise CodebookError(
                f"A token table is [V, D] of {', '.join(STORAGE_DTYPES)}; this is {list(weight.shape)} of {dtype}."
            )
        weight = weight.detach().cpu().contiguous()
        return cls((weight.view(torch.uint16) if dtype == "bfloat16" else weight).numpy(), dtype)

    def block(self, start: int, stop: int) -> Table:
        return np.ascontiguousarray(self.table[start:stop])


class CheckedRows(Rows):
    """A table [V, D] that is hashed, and checked to be finite, the first time it is read from first row to last.

    So the pass that writes several gigabytes also checks them. A row that is not finite raises CodebookError.

    Args:
        rows: The table.
        explain: The error's text for a row that is not finite; None if the table cannot have one.
        uncut: The table with its trimmed rows, if there are any.
    """

    def __init__(self, rows: Rows, explain: Callable[[int], str] | None, uncut: Rows | None = None) -> None:
        super().__init__(rows.shape, rows.dtype)
        self.rows = rows
        self._explain, self._uncut = explain, uncut
        self._read, self._sha256 = 0, hashlib.sha256()
        # One thread, so that blocks are hashed in order, each while the reader is busy with it.
        self._hasher = ThreadPoolExecutor(1)
        self._wait: Callable[[], object] = lambda: None

    def block(self, start: int, stop: int) -> Table:
        block = self.rows.block(start, stop)
        if start == 0 and self._read < self.shape[0]:  # anew, if reading was broken off
            self._wait()
            self._read, self._sha256 = 0, hashlib.sha256()
        if start == self._read < stop:
            self._wait()
            self._wait = self._hasher.submit(self._sha256.update, block.data.cast("B")).result
            if self._explain is not None and (row := first_nonfinite_row(block, self.dtype)) is not None:
                self._wait()  # whoever deals with the error may change the file that is being read
                raise CodebookError(self._explain(start + row))
            self._read = stop
        return block

    def finish(self) -> tuple[str, str | None]:
        """The SHA-256 of the table and of the uncut one; reads what is unread, so CodebookError as :meth:`block`."""
        if self._read < self.shape[0]:
            for _ in blocks(self):
                pass
        self._wait()
        if self._uncut is None:
            return self._sha256.hexdigest(), None
        uncut = self._sha256.copy()
        for block in blocks(self._uncut, first=self.shape[0]):
            uncut.update(block.data.cast("B"))
        return self._sha256.hexdigest(), uncut.hexdigest()


def first_nonfinite_row(block: Table, dtype: str) -> int | None:
    """The first row of a block [n, D] with a number that is infinite or NaN; None if there is none."""
    exponent = _EXPONENTS[dtype]
    bits = block.reshape(-1).view(f"<u{block.itemsize}")
    for start in range(0, len(bits), _NUMBERS):
        odd = (bits[start : start + _NUMBERS] & exponent) == exponent
        if odd.any():
            return int((start + odd.argmax()) // block.shape[1])
    return None


def block_starts(rows: Rows, chunk_bytes: int = CHUNK_BYTES, first: int = 0) -> Iterator[tuple[int, int]]:
    """(start, stop) of blocks of about ``chunk_bytes``, from row ``first`` to the table's last."""
    count, dim = rows.shape
    step = max(1, chunk_bytes // (dim * STORAGE_DTYPES[rows.dtype].itemsize))
    return ((start, min(start + step, count)) for start in range(first, count, step))


def blocks(rows: Rows, chunk_bytes: int = CHUNK_BYTES, first: int = 0) -> Iterator[Table]:
    """A table from row ``first`` to its last, about ``chunk_bytes`` at a time."""
    return (rows.block(start, stop) for start, stop in block_starts(rows, chunk_bytes, first))


def prefetched(stream: Iterator[Table]) -> Iterator[Table]:
    """The same blocks, each read while the one before it is in use: reading need not wait for writing."""
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, stream, None)
        while (block := upcoming.result()) is not None:
            upcoming = reader.submit(next, stream, None)
            yield block


def as_float32(block: Table, dtype: str) -> Table:
    """A block's numbers as float32."""
    if dtype == "bfloat16":
        return (block.astype(np.uint32) << 16).view(np.float32)
    return block.astype(np.float32)


@dataclass(frozen=True)
class FoundTable:
    """A token table where it was found, and its tokenizer.

    Attributes:
        rows: The table [V, D] as the model has it, padding rows included. Not checked yet.
        tokenizer: The model's tokenizer, unchanged.
        source: The directory, file, released name or repository.
        tensor_name: The table's key there.
        architecture: The model class or architecture that the source names, if any.
        commit: Of the Hub repository, if it comes from one.

    Raises:
        CodebookError: If the tokenizer has an id that no table has a row for.
    """

    rows: Rows
    tokenizer: Tokenizer
    source: str
    tensor_name: str | None = None
    architecture: str | None = None
    commit: str | None = None

    def __post_init__(self) -> None:
        if (largest := num_token_ids(self.tokenizer) - 1) >= MOST_IDS:
            raise CodebookError(
                f"The tokenizer of {self.source} is damaged: no table has a row for its id {largest:,}. Fetch it again."
            )

    def check_ids(self, zero_added_tokens: bool = False) -> None:
        """Raise CodebookError for ids that the table has no row for, unless they are added tokens' and to be zeros."""
        added = {token.content for token in self.tokenizer.get_added_tokens_decoder().values()}
        beyond = tokens_without_row(self.tokenizer, self.rows.shape[0])
        beyond = [pair for pair in beyond if not (zero_added_tokens and pair[0] in added)]
        if beyond:
            mend = "Use the tokenizer that the model was trained with."
            if all(token in added for token, _ in beyond):
                mend = "Give added tokens rows of zeros with zero_added_tokens (--zero-added-tokens)."
            named = ", ".join(f"{token!r} ({token_id})" for token, token_id in beyond[:10])
            raise CodebookError(
                f"The table of {self.source or 'this codebook'} has {self.rows.shape[0]} rows, but its tokenizer has "
                f"ids beyond them: {named}{f' and {len(beyond) - 10} more' if len(beyond) > 10 else ''}. {mend}"
            )

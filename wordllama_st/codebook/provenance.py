"""Where a token table comes from, and that it is fit to be one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from wordllama_st.codebook.rows import Rows, blocks
from wordllama_st.errors import CodebookError
from wordllama_st.safetensors_file import Table


@dataclass(frozen=True)
class Provenance:
    """Where a token table comes from.

    Attributes:
        source: The released name, checkpoint, file or repository it was read from; None for a tensor in memory.
        tensor_name: Its key there.
        shape: (V, D).
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``.
        sha256: Of the table's bytes.
        commit: Of the repository, if it comes from the Hub.
        trimmed_rows: Rows behind the tokenizer's last id that the model has, and the table has not.
        tensor_sha256: Of the tensor's bytes with these rows; None where there are none.
        zero_rows: Rows of zeros, for added tokens that the model has no row for.
        parts: Where the tables come from that a joined one has side by side, with what each was multiplied by.
        special_tokens: The tokens that stand for no text, and that no text has.
        tolerated: The special tokens in which the parts' vocabularies differ.
    """

    source: str | None
    tensor_name: str | None
    shape: tuple[int, int]
    dtype: str
    sha256: str
    commit: str | None = None
    trimmed_rows: int = 0
    tensor_sha256: str | None = None
    zero_rows: int = 0
    parts: tuple[dict[str, object], ...] = ()
    special_tokens: tuple[str, ...] = ()
    tolerated: tuple[str, ...] = ()


def check_and_hash(rows: Rows, explain: Callable[[int], str]) -> hashlib._Hash:
    """Hash a table that comes from elsewhere and check that it is all finite, in one pass over its bytes.

    Args:
        rows: The table.
        explain: The error's text for a row that is not finite.

    Raises:
        CodebookError: If a row is not finite.
    """
    sha256 = hashlib.sha256()
    row = 0
    for block in hashed(blocks(rows), sha256):
        finite = is_finite(block, rows.dtype)
        if not finite.all():
            raise CodebookError(explain(row + int(np.flatnonzero(~finite.all(axis=1))[0])))
        row += len(block)
    return sha256


def hashed(stream: Iterator[Table], sha256: hashlib._Hash) -> Iterator[Table]:
    """Blocks as they come, hashed in a thread while the caller is busy with them."""
    with ThreadPoolExecutor(1) as hasher:
        for block in stream:
            work = hasher.submit(sha256.update, block.data.cast("B"))
            yield block
            work.result()


def is_finite(block: Table, dtype: str) -> Table:
    """Which numbers of a block are neither infinite nor NaN: those without all exponent bits set."""
    if dtype == "float32":
        return np.isfinite(block)
    exponent = np.uint16(0x7F80 if dtype == "bfloat16" else 0x7C00)
    finite: Table = (block.view(np.uint16) & exponent) != exponent
    return finite

"""A table that is checked and hashed on the way to wherever it is read for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from wordllama_st.codebook.token_table import Rows, blocks
from wordllama_st.errors import CodebookError
from wordllama_st.storage.safetensors_file import Table

#: The exponent bits of each dtype; a number with all of them set is infinite or NaN.
_EXPONENTS: dict[str, np.unsignedinteger[Any]] = {
    "float32": np.uint32(0x7F800000),
    "float16": np.uint16(0x7C00),
    "bfloat16": np.uint16(0x7F80),
}
#: Numbers checked at a time, few enough to stay in a processor's cache.
_NUMBERS = 2**17


class CheckedRows:
    """A table [V, D] that is checked to be finite, and hashed, the first time it is read from first row to last.

    A table of several gigabytes comes from elsewhere and goes elsewhere, and every pass over it takes as long as
    copying it. So the pass that writes one is also the one that checks it. Who wants to know before calls
    :meth:`finish`.

    Args:
        rows: The table.
        explain: The error's text for a row that is not finite; None if the table cannot have one.
    """

    def __init__(self, rows: Rows, explain: Callable[[int], str] | None) -> None:
        self.rows = rows
        self._explain = explain
        self._begin()

    def _begin(self) -> None:
        self._read = 0
        self._sha256 = hashlib.sha256()
        # One thread, so that blocks are hashed in order, each while the reader is busy with it.
        self._hasher = ThreadPoolExecutor(1)
        self._hashing: Future[None] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape

    @property
    def dtype(self) -> str:
        return self.rows.dtype

    def block(self, start: int, stop: int) -> Table:
        """Rows ``start`` to ``stop``, as the table has them.

        Raises:
            CodebookError: If one of them is not finite.
        """
        block = self.rows.block(start, stop)
        if start == self._read < stop:
            self._wait()
            self._hashing = self._hasher.submit(self._sha256.update, block.data.cast("B"))
            if self._explain is not None and (row := first_nonfinite_row(block, self.dtype)) is not None:
                raise CodebookError(self._explain(start + row))
            self._read = stop
        return block

    def finish(self) -> hashlib._Hash:
        """Read the table, unless it has been read.

        Returns:
            The sha256 of its bytes.

        Raises:
            CodebookError: If a row is not finite.
        """
        if self._read < self.shape[0]:
            self._begin()
            for _ in blocks(self):
                pass
        self._wait()
        return self._sha256.copy()

    def _wait(self) -> None:
        if self._hashing is not None:
            self._hashing.result()


def first_nonfinite_row(block: Table, dtype: str) -> int | None:
    """The first row of a block [n, D] with a number that is infinite or NaN; None if there is none."""
    exponent = _EXPONENTS[dtype]
    bits = block.reshape(-1).view(exponent.dtype)
    for start in range(0, len(bits), _NUMBERS):
        odd = (bits[start : start + _NUMBERS] & exponent) == exponent
        if odd.any():
            return int((start + odd.argmax()) // block.shape[1])
    return None

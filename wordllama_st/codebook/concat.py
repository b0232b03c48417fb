"""Token tables of several models side by side: what the WordLlama project calls a supercat."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from tokenizers import Tokenizer

from wordllama_st.codebook.token_table import Rows, as_float32, blocks
from wordllama_st.errors import ArgumentError, CodebookError
from wordllama_st.storage.safetensors_file import STORAGE_DTYPES, Table


class ConcatenatedRows(Rows):
    """Tables [V, D₁], [V, D₂], … as one, [V, D₁ + D₂ + …], in the dtype they share, or float32.

    A table with fewer than ``count`` rows has zeros for those it lacks; of one with more, the others are left out.
    For ``scale`` and its errors see :meth:`~wordllama_st.Codebook.concat`.
    """

    def __init__(self, parts: Sequence[Rows], scale: str | Sequence[float] | None, count: int) -> None:
        dtypes = {part.dtype for part in parts}
        shape = (count, sum(part.shape[1] for part in parts))
        super().__init__(shape, dtypes.pop() if len(dtypes) == 1 else "float32")
        self.parts = parts
        if scale is None:
            scale = [1.0] * len(parts)
        elif isinstance(scale, str):
            if scale != "rms":
                raise ArgumentError(f"The scale is 'rms' or a number for each table, not {scale!r}.")
            scale = [1 / _rms_length(part) for part in parts]
        self.scales = tuple(map(float, scale))
        if len(self.scales) != len(parts) or not all(np.isfinite(factor) and factor != 0 for factor in self.scales):
            raise ArgumentError(
                f"{len(parts)} tables take {len(parts)} finite scales, none of them zero; got {self.scales}."
            )

    def block(self, start: int, stop: int) -> Table:
        joined = np.zeros((stop - start, self.shape[1]), dtype=STORAGE_DTYPES[self.dtype])
        column = 0
        for part, scale in zip(self.parts, self.scales, strict=True):
            end = min(stop, part.shape[0])
            if start < end:
                block = part.block(start, end)
                if part.dtype != self.dtype or scale != 1:
                    block = _from_float32(as_float32(block, part.dtype) * np.float32(scale), self.dtype)
                joined[: len(block), column : column + part.shape[1]] = block
            column += part.shape[1]
        return joined


def _rms_length(rows: Rows) -> float:
    squares = sum(float(np.square(as_float32(block, rows.dtype)).sum(dtype=np.float64)) for block in blocks(rows))
    if squares == 0:
        raise ArgumentError("A table of zeros has no length to scale by.")
    return float(np.sqrt(squares / rows.shape[0]))


def _from_float32(block: Table, dtype: str) -> Table:
    """Numbers as ``dtype`` stores them, rounded half to even; raises CodebookError if one is too large for it."""
    with np.errstate(over="ignore"):
        if dtype == "bfloat16":
            bits = block.view(np.uint32)
            stored = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
            finite = (stored & 0x7F80) != 0x7F80
        else:
            stored = block.astype(STORAGE_DTYPES[dtype])
            finite = np.isfinite(stored)
    if not finite.all():
        raise CodebookError(f"A number of the scaled table is too large for {dtype}. Choose smaller scales.")
    return stored


def check_vocabularies(
    tokenizers: Sequence[Tokenizer], special: Sequence[Collection[str]], names: Sequence[str]
) -> tuple[str, ...]:
    """Describe how vocabularies differ from the first in special tokens; raise CodebookError if they do in others."""
    first, *others = [
        {token_id: token for token, token_id in tokenizer.get_vocab(with_added_tokens=True).items()}
        for tokenizer in tokenizers
    ]
    tolerated: list[str] = []
    for other, own_special, name in zip(others, special[1:], names[1:], strict=True):
        without_text = {*special[0], *own_special}
        real: list[str] = []
        for token_id in sorted(first.keys() | other.keys()):
            ours, theirs = first.get(token_id), other.get(token_id)
            if ours != theirs:
                harmless = all(token is None or token.strip() in without_text for token in (ours, theirs))
                (tolerated if harmless else real).append(
                    f"{token_id}: {'none' if ours is None else repr(ours)} in {names[0]}, "
                    f"{'none' if theirs is None else repr(theirs)} in {name}"
                )
        if real:
            more = f"; and {len(real) - 10} more" if len(real) > 10 else ""
            raise CodebookError(
                f"The vocabularies of {names[0]} and {name} differ in {len(real)} tokens: "
                f"{'; '.join(real[:10])}{more}. Only tables of one vocabulary can be joined."
            )
    return tuple(tolerated)

"""Token tables of several models side by side: what the WordLlama project calls a supercat."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from wordllama_st.codebook.token_table import Rows, as_float32, blocks
from wordllama_st.errors import ArgumentError, CodebookError
from wordllama_st.storage.safetensors_file import STORAGE_DTYPES, Table

#: Differences that an error shows.
SHOWN = 10


@dataclass(frozen=True)
class JoinedRows:
    """Tables [V, D₁], [V, D₂], … as one, [V, D₁ + D₂ + …], each multiplied by a number of its own.

    A table with fewer rows has zeros for those it lacks; of one with more, the others are left out.
    """

    parts: tuple[Rows, ...]
    scales: tuple[float, ...]
    count: int
    dtype: str

    @property
    def shape(self) -> tuple[int, int]:
        return self.count, sum(part.shape[1] for part in self.parts)

    def block(self, start: int, stop: int) -> Table:
        joined = np.zeros((stop - start, self.shape[1]), dtype=STORAGE_DTYPES[self.dtype])
        column = 0
        for part, scale in zip(self.parts, self.scales, strict=True):
            end = min(stop, part.shape[0])
            if start < end:
                block = part.block(start, end)
                if part.dtype != self.dtype or scale != 1:
                    block = from_float32(as_float32(block, part.dtype) * np.float32(scale), self.dtype)
                joined[: len(block), column : column + part.shape[1]] = block
            column += part.shape[1]
        return joined


def from_float32(block: Table, dtype: str) -> Table:
    """Numbers as a table of ``dtype`` stores them, rounded to the nearest, ties to even.

    Raises:
        CodebookError: If one is too large for it.
    """
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


def common_dtype(dtypes: Sequence[str]) -> str:
    """The dtype that loses nothing of any: the one they share, or float32."""
    return dtypes[0] if len(set(dtypes)) == 1 else "float32"


def check_scales(scale: str | Sequence[float] | None, parts: Sequence[Rows]) -> tuple[float, ...]:
    """What to multiply each table by.

    Args:
        scale: ``"rms"`` so that the rows of each have a root mean square length of one; or a number for each; or None.
        parts: The tables.

    Raises:
        ArgumentError: If it is none of these.
    """
    if scale is None:
        return (1.0,) * len(parts)
    if isinstance(scale, str):
        if scale != "rms":
            raise ArgumentError(f"The scale is 'rms' or a number for each table, not {scale!r}.")
        return tuple(1 / _rms_length(part) for part in parts)
    numbers = tuple(float(number) for number in scale)
    if len(numbers) != len(parts) or not all(np.isfinite(number) and number != 0 for number in numbers):
        raise ArgumentError(f"{len(parts)} tables take {len(parts)} finite scales, none of them zero; got {numbers}.")
    return numbers


def _rms_length(rows: Rows) -> float:
    squares = sum(float(np.square(as_float32(block, rows.dtype)).sum(dtype=np.float64)) for block in blocks(rows))
    if squares == 0:
        raise ArgumentError("A table of zeros has no length to scale by.")
    return float(np.sqrt(squares / rows.shape[0]))


def check_vocabularies(
    tokenizers: Sequence[Tokenizer], special: Sequence[Collection[str]], names: Sequence[str]
) -> tuple[str, ...]:
    """Compare vocabularies token by token with the first.

    Differences among special tokens do no harm, since no text ever has one.

    Args:
        tokenizers: One for each table.
        special: The special tokens of each.
        names: What to call each.

    Returns:
        These differences, in words.

    Raises:
        CodebookError: If others differ; it shows the first ten.
    """
    first = _by_id(tokenizers[0])
    tolerated: list[str] = []
    for tokenizer, own_special, name in zip(tokenizers[1:], special[1:], names[1:], strict=True):
        other = _by_id(tokenizer)
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
            more = f"; and {len(real) - SHOWN} more" if len(real) > SHOWN else ""
            raise CodebookError(
                f"The vocabularies of {names[0]} and {name} differ in {len(real)} tokens: "
                f"{'; '.join(real[:SHOWN])}{more}. Only tables of one vocabulary can be joined."
            )
    return tuple(tolerated)


def _by_id(tokenizer: Tokenizer) -> dict[int, str]:
    return {token_id: token for token, token_id in tokenizer.get_vocab(with_added_tokens=True).items()}

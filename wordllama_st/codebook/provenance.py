"""Where a token table comes from."""

from __future__ import annotations

from dataclasses import dataclass


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

"""Where a token table comes from, and that it is fit to be one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from wordllama_st.errors import CodebookError
from wordllama_st.safetensors_file import Table, byte_chunks


@dataclass(frozen=True)
class Provenance:
    """Where a token table comes from.

    Attributes:
        source: The released name, checkpoint directory or repository it was read from; None for a tensor in memory.
        tensor_name: Its key there.
        shape: (V, D).
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``.
        sha256: Of the table's bytes.
    """

    source: str | None
    tensor_name: str | None
    shape: tuple[int, int]
    dtype: str
    sha256: str


def inspect(table: Table, dtype: str, source: str | None, tensor_name: str | None, tokenizer: Tokenizer) -> Provenance:
    """Hash a table that comes from elsewhere and check that it is all finite, in one pass over its bytes."""
    sha256 = hashlib.sha256()
    row = 0
    for chunk in byte_chunks(table):
        sha256.update(chunk)
        values = np.frombuffer(chunk, dtype=table.dtype).reshape(-1, table.shape[1])
        # All exponent bits set is what infinities and NaNs have in common.
        finite = (values & 0x7F80) != 0x7F80 if dtype == "bfloat16" else np.isfinite(values)
        if not finite.all():
            token_id = row + int(np.flatnonzero(~finite.all(axis=1))[0])
            raise CodebookError(
                f"Row {token_id} ({tokenizer.id_to_token(token_id)!r}) of the table in {source or 'memory'} is not "
                f"finite. The checkpoint is damaged, or was saved by a run that diverged."
            )
        row += len(values)
    return Provenance(source, tensor_name, (table.shape[0], table.shape[1]), dtype, sha256.hexdigest())

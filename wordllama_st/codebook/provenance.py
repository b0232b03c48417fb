"""Where a codebook's table comes from, as codebook.json records it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wordllama_st.errors import CodebookError

PROVENANCE_FILE = "codebook.json"


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
        parts: Where the tables come from that a concatenated one has side by side, and what each was multiplied by.
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

    @classmethod
    def read(cls, source: Path) -> Provenance:
        """Read a codebook.json.

        Raises:
            CodebookError: If it is none.
        """
        try:
            fields: dict[str, Any] = dict(json.loads(source.read_text(encoding="utf-8")))
            tuples = fields.keys() & {"shape", "parts", "special_tokens", "tolerated"}
            return cls(**fields | {key: tuple(fields[key]) for key in tuples})
        except (ValueError, TypeError, RecursionError) as error:
            raise CodebookError(f"{source} is not a codebook's provenance: {error}.") from error

    def write(self, path: Path) -> None:
        """Write a codebook.json."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

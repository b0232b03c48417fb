"""The report of the encoding of a dataset."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SkippedFile:
    """An input that could not be read to its end; ``rows``, those before the damage, were encoded."""

    name: str
    rows: int
    reason: str


@dataclass(frozen=True)
class EncodingReport:
    """The report of ``encode_dataset``.

    ``rows`` are in ``parts`` files in the directory ``path``, or in the .npy file ``path`` that was made of them; an
    earlier run had finished ``found`` of them.
    ``null_texts`` rows have no text and a null for an embedding. ``seconds`` is the duration of this run.
    """

    path: Path
    rows: int
    null_texts: int
    parts: int
    found: int
    skipped: tuple[SkippedFile, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the fields as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2, default=str)

    def __str__(self) -> str:
        found = f", {self.found:,} of them from an earlier run" if self.found else ""
        nulls = f", {self.null_texts:,} of them without a text" if self.null_texts else ""
        done = (
            f"Encoded in {self.seconds:.0f} s"
            if self.path.suffix == ".npy" or self.found < self.parts
            else "Finished before: nothing was left to do"
        )
        lines = [
            f"Rows        {self.rows:,}{nulls}",
            f"Parts       {self.parts:,} in {self.path}{found}",
            done,
        ]
        return "\n".join(
            [*lines, *(f"Skipped after {file.rows:,} rows: {file.name}: {file.reason}" for file in self.skipped)]
        )

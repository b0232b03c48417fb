"""Where rows are read and parts are encoded: what a run asks of an engine, and the engine of this process's threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa  # type: ignore[import-untyped]

from wordllama_st.static.dataset.embedding import EmbeddingColumn
from wordllama_st.static.dataset.inputs import InputFile
from wordllama_st.static.dataset.output import Part, write_part
from wordllama_st.static.dataset.reading import Chunk, read_rows


class Engine(Protocol):
    """What encodes the parts of a run. What stands for the rows of a chunk may be a table or the engine's own."""

    @property
    def most_parts(self) -> int:
        """How many parts may be waiting or encoded at a time."""

    def read(
        self, file: InputFile, schema: pa.Schema, begin: int, is_done: Callable[[int, int], bool]
    ) -> Iterator[Chunk]:
        """Read a file whose first row is number ``begin`` of all, as :func:`.reading.read_rows` does."""

    def fetch(self, pieces: Sequence[Any]) -> pa.Table:
        """Return the rows of a part as a table."""

    def submit(self, path: Path, pieces: Sequence[Any], embed: EmbeddingColumn) -> Future[Part]:
        """Begin to encode a part and to write it, as :func:`.output.write_part` does."""

    def result(self, future: Future[Part]) -> Part:
        """Return a part that is written, or raise the error that prevented it."""

    def close(self) -> None:
        """Finish the parts that are being encoded, and end what was begun for them."""


class Threads:
    """Rows are read by the caller and encoded by threads; the encoder's work does not hold the interpreter's lock."""

    def __init__(self, count: int | None, text_column: str) -> None:
        self.most_parts = count or os.cpu_count() or 1
        self._text_column = text_column
        self._pool = ThreadPoolExecutor(self.most_parts)

    def read(
        self, file: InputFile, schema: pa.Schema, begin: int, is_done: Callable[[int, int], bool]
    ) -> Iterator[Chunk]:
        return read_rows(file, schema, self._text_column, is_done)

    def fetch(self, pieces: Sequence[pa.Table]) -> pa.Table:
        return pa.concat_tables(pieces)

    def submit(self, path: Path, pieces: Sequence[pa.Table], embed: EmbeddingColumn) -> Future[Part]:
        return self._pool.submit(write_part, path, pieces, embed)

    def result(self, future: Future[Part]) -> Part:
        return future.result()

    def close(self) -> None:
        self._pool.shutdown()

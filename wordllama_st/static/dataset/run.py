"""A run over the rows of all files: cut into parts, of which an engine encodes those that are not there yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from wordllama_st.errors import DatasetError
from wordllama_st.static.dataset.embedding import EmbeddingColumn
from wordllama_st.static.dataset.engine import Engine
from wordllama_st.static.dataset.inputs import InputFile
from wordllama_st.static.dataset.output import Manifest, Part, part_path, read_part
from wordllama_st.static.dataset.reading import Chunk
from wordllama_st.static.dataset.report import SkippedFile

#: Bytes of rows that may wait to be encoded; where texts are long, fewer parts are encoded at a time.
_WAITING_BYTES = 256 * 2**20


class Run:
    """What a run does with each file and each part.

    Args:
        out: The output directory.
        manifest: What is known of the run.
        schema: Of the rows.
        embed: What adds the embeddings.
        part_rows: Rows of each part but the last.
        skip: Whether to leave out what comes behind damage in a file.
    """

    def __init__(
        self, out: Path, manifest: Manifest, schema: pa.Schema, embed: EmbeddingColumn, part_rows: int, *, skip: bool
    ) -> None:
        self._out, self._manifest, self._schema, self._embed, self._skip = out, manifest, schema, embed, skip
        self._part_rows = part_rows
        self._skipped = {file.name: file.rows for file in manifest.skipped}
        self._there = frozenset(os.listdir(out))

    def encode(self, files: Sequence[InputFile], engine: Engine, rows: int, show: bool) -> tuple[list[Part], int]:
        """Encode and write the parts that are not there; return all of them, and how many were there.

        Args:
            files: What is read, in this order.
            engine: What encodes the parts. Where an error ends this, its caller lets it finish those it has begun.
            rows: An estimate of all rows, for the progress bar.
            show: Whether there is one.
        """
        from tqdm import tqdm

        written: list[Part] = []
        waiting: dict[Future[Part], int] = {}
        bar = tqdm(desc="Encoding", total=rows, unit=" texts", unit_scale=True, disable=not show)

        def collect(most: int, most_bytes: int) -> None:
            while len(waiting) > most or (waiting and sum(waiting.values()) > most_bytes):
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    del waiting[future]
                    written.append(self._checked(engine.result(future)))
                    bar.update(written[-1].rows)

        found: list[Part] = []
        with bar:
            for number, pieces in _cut(self._rows(files, engine), self._part_rows, self._is_there):
                path = part_path(self._out, number)
                if pieces is None:
                    found.append(self._checked(read_part(path)))
                    bar.total -= found[-1].rows  # it is the speed of this run that is shown, and the time that is left
                    continue
                self._find_ranges(pieces, engine)
                size = sum(piece.nbytes for piece in pieces if isinstance(piece, pa.Table))
                collect(engine.most_parts, _WAITING_BYTES - size)
                waiting[engine.submit(path, pieces, self._embed)] = size
            collect(0, 0)
        return sorted([*found, *written], key=lambda part: (len(part.name), part.name)), len(found)

    def _rows(self, files: Iterable[InputFile], engine: Engine) -> Iterator[Chunk]:
        """Read the rows of all files up to where they are damaged."""
        position = 0
        for file in files:
            begin, limit = position, self._skipped.get(file.name)
            if limit == 0:
                continue

            def is_done(start: int, stop: int, begin: int = begin) -> bool:
                first, last = (begin + start) // self._part_rows, (begin + stop - 1) // self._part_rows
                return all(map(self._is_there, range(first, last + 1)))

            try:
                for chunk in engine.read(file, self._schema, begin, is_done):
                    count = chunk.rows if limit is None else min(chunk.rows, limit - (position - begin))
                    position += count
                    yield chunk if count == chunk.rows else _part_of(chunk, 0, count)
                    if limit is not None and position - begin == limit:
                        break
            except DatasetError as error:
                if not self._skip:
                    raise
                # Before any row behind it: parts of this run and of one that takes it up must have the same rows.
                self._manifest.skipped.append(SkippedFile(file.name, position - begin, str(error)))
                self._manifest.save()

    def _checked(self, part: Part) -> Part:
        """Refuse a row without a text where there are vectors only, in which it would have no place."""
        if part.null_texts and self._embed.columns == ():
            begin = int(part.name[len("part-") : -len(".parquet")]) * self._part_rows
            raise DatasetError(
                f"{part.null_texts} of the rows {begin} to {begin + part.rows - 1} have no text, and a .npy file has a "
                f"vector for every row: write into a directory, or drop rows without a text."
            )
        return part

    def _is_there(self, number: int) -> bool:
        return part_path(self._out, number).name in self._there

    def _find_ranges(self, pieces: Sequence[Any], engine: Engine) -> None:
        """Find the ranges for 8 bits in the first part; a run that is taken up has them."""
        if not self._embed.precision.endswith("int8") or self._embed.ranges is not None:
            return
        if self._manifest.ranges is None:
            texts = engine.fetch(pieces).column(self._embed.text_column).drop_null().to_pylist() or [""]
            vectors = self._embed.vectors(texts)
            self._manifest.ranges = np.stack([vectors.min(axis=0), vectors.max(axis=0)]).tolist()
            self._manifest.save()
        ranges = np.array(self._manifest.ranges, np.float32)
        self._embed = replace(self._embed, ranges=ranges)  # type: ignore[type-var]


def _cut(
    stream: Iterable[Chunk], part_rows: int, is_there: Callable[[int], bool]
) -> Iterator[tuple[int, list[Any] | None]]:
    """Cut rows into numbered parts; one that is there has no pieces, and its rows are let go."""
    held: list[Any] = []
    position, there = 0, False
    for chunk in stream:
        offset = 0
        while offset < chunk.rows:
            number, within = divmod(position, part_rows)
            if not within:
                there = is_there(number)
            count = min(chunk.rows - offset, part_rows - within)
            if not there and chunk.table is not None:
                held.append(_part_of(chunk, offset, count).table)
            offset, position = offset + count, position + count
            if not position % part_rows:
                yield number, None if there else held
                held = []
    if position % part_rows:
        yield position // part_rows, None if there else held


def _part_of(chunk: Chunk, offset: int, count: int) -> Chunk:
    """Some rows of a chunk. Only a table can be cut; an engine's own pieces lie within a part."""
    if chunk.table is None or count == chunk.rows:
        return Chunk(count, chunk.table)
    return Chunk(count, chunk.table.slice(offset, count))

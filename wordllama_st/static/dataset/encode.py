"""Encode a collection of texts from files to files, in bounded memory and on all cores."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from wordllama_st.errors import ArgumentError, DatasetError, OutputError, reason
from wordllama_st.static.dataset import output
from wordllama_st.static.dataset.embedding import EmbeddingColumn, EmbedTexts, StoredPrecision
from wordllama_st.static.dataset.inputs import InputFile, find_inputs
from wordllama_st.static.dataset.output import Manifest, Part, part_path, read_part, write_part
from wordllama_st.static.dataset.reading import (
    Chunk,
    Outline,
    choose_text_column,
    read_outline,
    read_rows,
    unified_schema,
)
from wordllama_st.static.dataset.report import EncodingReport, SkippedFile
from wordllama_st.static.encoder import StaticEncoder
from wordllama_st.static.table import StaticTable

logger = logging.getLogger(__name__)

#: Bytes of rows that may wait for a thread; where texts are long, fewer parts are encoded at a time.
_WAITING_BYTES = 256 * 2**20


def encode_dataset(
    model: str | Path | StaticEncoder,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    text_column: str | None = None,
    precision: StoredPrecision = "float32",
    normalize: bool = False,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    num_threads: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> EncodingReport:
    """Encode the texts of files into Parquet files that have the files' rows, in order, and their embeddings.

    The output directory has ``part-00000.parquet`` and so on, of equally many rows, and ``manifest.json``: what they
    are made of, and the rows and the SHA-256 of each. A part appears when it is complete. The next run with the same
    arguments takes up a run that was killed, and ends with the same bytes.

    Args:
        model: A static model, or a source as for :meth:`StaticEncoder.from_pretrained
            <wordllama_st.static.encoder.StaticEncoder.from_pretrained>`.
        inputs: .parquet, .jsonl, .csv and .tsv files, and others as plain text with a text a line; globs, directories
            and URLs of any file system that fsspec has.
        out: The output directory, on disk.
        text_column: The column of texts; the only one that is text if None. All columns are kept.
        precision: float32; float16; or as for :func:`~wordllama_st.static.precision.quantize_embeddings`, with the
            ranges of the first part's embeddings for 8 bits, which the manifest keeps.
        normalize: Whether to scale embeddings to unit length.
        truncate_dim: Matryoshka dim to truncate embeddings to.
        prompt_name: Of the model's prompt to put in front of each text; its default prompt if None.
        num_threads: Parts at a time; None takes one for each core.
        on_error: ``"stop"`` at a damaged file; or ``"skip"`` what comes behind the damage, and report the file.
        overwrite: Whether to delete an earlier run's output first.
        show_progress_bar: None shows it when this package logs at INFO.

    Returns:
        The report. A row whose text is null has a null for an embedding, and is counted.

    Raises:
        ArgumentError: If an argument is not valid.
        DatasetError: If an input does not exist or is damaged, the column of texts is missing or not text, or a column
            is not of one type in all files.
        OutputExistsError: If ``out`` has another run's output or anything else in it.
        OutputError: If a part cannot be written; those that were finished stay.
    """
    if num_threads is not None and num_threads < 1:
        raise ArgumentError(f"There is one thread at least, not {num_threads}.")
    encoder = model if isinstance(model, StaticEncoder) else StaticEncoder.from_pretrained(model)
    made_of = {
        "model_sha256": _model_sha256(encoder.table),
        "normalize": normalize,
        "truncate_dim": truncate_dim,
        "prompt": encoder.table.prompt_text(prompt_name),
    }
    return embed_files(
        EmbedTexts(encoder, text_column or "", precision, normalize, truncate_dim, prompt_name),
        inputs,
        out,
        made_of=made_of,
        model=repr(model) if encoder is model else str(model),
        part_rows=output.PART_ROWS,
        num_threads=num_threads or os.cpu_count() or 1,
        on_error=on_error,
        overwrite=overwrite,
        show_progress_bar=show_progress_bar,
    )


def embed_files(
    embed: EmbeddingColumn,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    made_of: Mapping[str, Any],
    model: str,
    part_rows: int,
    num_threads: int,
    on_error: Literal["stop", "skip"],
    overwrite: bool,
    show_progress_bar: bool | None,
) -> EncodingReport:
    """Give the rows of files their embeddings, whatever computes these; the rest is as for :func:`encode_dataset`.

    Args:
        embed: The embedding column, a frozen dataclass. Its ``text_column`` is empty where the only one is meant.
        made_of: What embeddings depend on beside the texts and their precision, as JSON has it: a run is taken up only
            where this is the same.
        model: The model's name.
        part_rows: Rows of each part but the last.
        num_threads: Parts at a time.
    """
    started = time.monotonic()
    if on_error not in ("stop", "skip"):
        raise ArgumentError(f"on_error is 'stop' or 'skip', not {on_error!r}.")
    out = Path(out)
    text_column = embed.text_column or None
    files = find_inputs([inputs] if isinstance(inputs, (str, Path)) else inputs, out)

    outlines, damaged = _outlines(files, skip=on_error == "skip")
    schema = unified_schema(outlines)
    chosen = choose_text_column(schema, text_column)
    for file, outline in outlines:
        if outline.schema.names and chosen not in outline.schema.names:
            raise DatasetError(f"{file.name} has no column {chosen!r}; it has {', '.join(outline.schema.names)}.")
    if schema.field(chosen).type == pa.null():
        schema = schema.set(schema.get_field_index(chosen), pa.field(chosen, pa.string()))

    made_of = {
        **made_of,
        "text_column": text_column,
        "precision": embed.precision,
        "part_rows": part_rows,
        "inputs": {file.name: {"size": file.size, "version": file.version} for file in files},
    }
    manifest = Manifest.open(out, made_of, model, overwrite=overwrite)
    if manifest.skipped and on_error == "stop":
        raise DatasetError(manifest.skipped[0].reason)
    if manifest.parts is not None:
        return _report(out, manifest, manifest.parts, len(manifest.parts), started)
    known = {file.name for file in manifest.skipped}
    if new := [file for file in damaged if file.name not in known]:
        manifest.skipped += new
        manifest.save()

    embed = replace(embed, text_column=chosen)  # type: ignore[type-var]
    run = _Run(out, manifest, schema, embed, part_rows, skip=on_error == "skip")
    show = logger.isEnabledFor(logging.INFO) if show_progress_bar is None else show_progress_bar
    parts, found = run.encode(files, sum(outline.rows for _, outline in outlines), num_threads, show)
    manifest.parts = parts
    manifest.save()
    return _report(out, manifest, parts, found, started)


class _Run:
    """What a run does with each file and each part."""

    def __init__(
        self, out: Path, manifest: Manifest, schema: pa.Schema, embed: EmbeddingColumn, part_rows: int, *, skip: bool
    ) -> None:
        self._out, self._manifest, self._schema, self._embed, self._skip = out, manifest, schema, embed, skip
        self._part_rows = part_rows
        self._skipped = {file.name: file.rows for file in manifest.skipped}
        self._there = frozenset(os.listdir(out))

    def encode(self, files: Sequence[InputFile], rows: int, threads: int, show: bool) -> tuple[list[Part], int]:
        """Encode and write the parts that are not there; return all of them, and how many were there."""
        from tqdm import tqdm

        written: list[Part] = []
        waiting: dict[Future[Part], int] = {}
        bar = tqdm(desc="Encoding", total=rows, unit=" texts", unit_scale=True, disable=not show)

        def collect(most: int, most_bytes: int) -> None:
            while len(waiting) > most or (waiting and sum(waiting.values()) > most_bytes):
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    del waiting[future]
                    written.append(future.result())
                    bar.update(written[-1].rows)

        found: list[Part] = []
        # Where an error ends the block, the parts that are being encoded are finished first.
        with bar, ThreadPoolExecutor(threads) as pool:
            for number, table in _cut(self._rows(files), self._part_rows, self._is_there):
                if table is None:
                    found.append(read_part(part_path(self._out, number), self._embed.text_column))
                    bar.total -= found[-1].rows  # it is the speed of this run that is shown, and the time that is left
                    continue
                self._find_ranges(table)
                collect(threads, _WAITING_BYTES - table.nbytes)
                waiting[pool.submit(self._write, number, table)] = table.nbytes
            collect(0, 0)
        return sorted([*found, *written], key=lambda part: (len(part.name), part.name)), len(found)

    def _rows(self, files: Iterable[InputFile]) -> Iterator[Chunk]:
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
                for chunk in read_rows(file, self._schema, self._embed.text_column, is_done):
                    count = chunk.rows if limit is None else min(chunk.rows, limit - (position - begin))
                    position += count
                    yield Chunk(count, None if chunk.table is None else chunk.table.slice(0, count))
                    if limit is not None and position - begin == limit:
                        break
            except DatasetError as error:
                if not self._skip:
                    raise
                # Before any row behind it: parts of this run and of one that takes it up must have the same rows.
                self._manifest.skipped.append(SkippedFile(file.name, position - begin, str(error)))
                self._manifest.save()

    def _is_there(self, number: int) -> bool:
        return part_path(self._out, number).name in self._there

    def _find_ranges(self, table: pa.Table) -> None:
        """Find the ranges for 8 bits in the first part; a run that is taken up has them."""
        if not self._embed.precision.endswith("int8") or self._embed.ranges is not None:
            return
        if self._manifest.ranges is None:
            texts = table.column(self._embed.text_column).drop_null().to_pylist() or [""]
            vectors = self._embed.vectors(texts)
            self._manifest.ranges = np.stack([vectors.min(axis=0), vectors.max(axis=0)]).tolist()
            self._manifest.save()
        ranges = np.array(self._manifest.ranges, np.float32)
        self._embed = replace(self._embed, ranges=ranges)  # type: ignore[type-var]

    def _write(self, number: int, table: pa.Table) -> Part:
        path = part_path(self._out, number)
        try:
            return write_part(path, table, self._embed)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written: {reason(error)}. Make room and run again; finished parts stay."
            ) from error


def _outlines(files: Iterable[InputFile], *, skip: bool) -> tuple[list[tuple[InputFile, Outline]], list[SkippedFile]]:
    outlines, damaged = [], []
    for file in files:
        try:
            outlines.append((file, read_outline(file)))
        except DatasetError as error:
            if not skip:
                raise
            damaged.append(SkippedFile(file.name, 0, str(error)))
    return outlines, damaged


def _cut(
    stream: Iterable[Chunk], part_rows: int, is_there: Callable[[int], bool]
) -> Iterator[tuple[int, pa.Table | None]]:
    """Cut rows into numbered parts; one that is there has no table, and its rows are let go."""
    held: list[pa.Table] = []
    position, there = 0, False
    for chunk in stream:
        offset = 0
        while offset < chunk.rows:
            number, within = divmod(position, part_rows)
            if not within:
                there = is_there(number)
            count = min(chunk.rows - offset, part_rows - within)
            if not there and chunk.table is not None:
                held.append(chunk.table.slice(offset, count))
            offset, position = offset + count, position + count
            if not position % part_rows:
                yield number, None if there else pa.concat_tables(held)
                held = []
    if position % part_rows:
        yield position // part_rows, None if there else pa.concat_tables(held)


def _model_sha256(table: StaticTable) -> str:
    """Hash what an embedding depends on: the table, the tokenizer and whether embeddings are scaled."""
    digest = hashlib.sha256(table.tokenizer.to_str().encode("utf-8", "surrogatepass"))
    digest.update(str(table.normalize).encode())
    for array in (table.weight, table.mapping, table.scales):
        if array is not None:
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _report(out: Path, manifest: Manifest, parts: Sequence[Part], found: int, started: float) -> EncodingReport:
    return EncodingReport(
        out,
        sum(part.rows for part in parts),
        sum(part.null_texts for part in parts),
        len(parts),
        found,
        tuple(manifest.skipped),
        time.monotonic() - started,
    )

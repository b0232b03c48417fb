"""Encode a collection of texts from files to files, in bounded memory and on all cores."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from wordllama_st.errors import ArgumentError, DatasetError
from wordllama_st.static.dataset import output
from wordllama_st.static.dataset.embedding import EmbeddingColumn, EmbedTexts, StoredPrecision
from wordllama_st.static.dataset.engine import Engine, Threads
from wordllama_st.static.dataset.inputs import InputFile, find_inputs
from wordllama_st.static.dataset.output import Manifest, Part, locked
from wordllama_st.static.dataset.reading import Outline, choose_text_column, read_outline, unified_schema
from wordllama_st.static.dataset.report import EncodingReport, SkippedFile
from wordllama_st.static.dataset.run import Run
from wordllama_st.static.encoder import StaticEncoder
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.staging import check_output_file, discard

logger = logging.getLogger(__name__)


def encode_dataset(
    model: str | Path | StaticEncoder,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    text_column: str | None = None,
    id_column: str | None = None,
    precision: StoredPrecision = "float32",
    normalize: bool = False,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    num_threads: int | None = None,
    engine: Literal["threads", "ray"] = "threads",
    address: str | None = None,
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
        out: The output directory, on disk; or a .npy file [rows, d], which is made when all parts are there, in a
            directory ``.NAME.npy.parts`` beside it. A row whose text is null is an error then.
        text_column: The column of texts; the only one that is text if None, but for ``id_column``.
        id_column: The only column to keep beside the embedding; None keeps all.
        precision: float32; float16; or as for :func:`~wordllama_st.static.precision.quantize_embeddings`, with the
            ranges of the first part's embeddings for 8 bits, which the manifest keeps.
        normalize: Whether to scale embeddings to unit length.
        truncate_dim: Matryoshka dim to truncate embeddings to.
        prompt_name: Of the model's prompt to put in front of each text; its default prompt if None.
        num_threads: Parts at a time; None takes one for each core.
        engine: ``"threads"`` of this process; or ``"ray"``, tasks of a cluster of Ray, whose machines must have this
            package and see the inputs and ``out`` under the same paths. The output is the same.
        address: Of the cluster, as ``"auto"``, ``"HOST:6379"`` or ``"ray://HOST:10001"``; None takes ``RAY_ADDRESS``,
            or starts one on this machine that ends with the run.
        on_error: ``"stop"`` at a damaged file; or ``"skip"`` what comes behind the damage, and report the file.
        overwrite: Whether to delete an earlier run's output first.
        show_progress_bar: None shows it when this package logs at INFO.

    Returns:
        The report. A row whose text is null has a null for an embedding, and is counted.

    Raises:
        ArgumentError: If an argument is not valid.
        DatasetError: If an input does not exist or is damaged, the column of texts is missing or not text, or a column
            is not of one type in all files.
        OutputExistsError: If ``out`` has another run's output or anything else in it, or another run writes to it now.
        OutputError: If a part cannot be written; those that were finished stay.
        ClusterError: If no cluster answers at the address, or a worker dies again and again; finished parts stay.
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
        id_column=id_column,
        part_rows=output.PART_ROWS,
        num_threads=num_threads,
        engine=engine,
        address=address,
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
    id_column: str | None = None,
    part_rows: int,
    num_threads: int | None,
    engine: Literal["threads", "ray"] = "threads",
    address: str | None = None,
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
    """
    started = time.monotonic()
    if on_error not in ("stop", "skip"):
        raise ArgumentError(f"on_error is 'stop' or 'skip', not {on_error!r}.")
    if engine not in ("threads", "ray"):
        raise ArgumentError(f"The engine is 'threads' or 'ray', not {engine!r}.")
    if address is not None and engine != "ray":
        raise ArgumentError(f"The address {address} is that of a Ray cluster; take the engine 'ray' with it.")
    out, file = Path(out), None
    if out.suffix == ".npy":
        if id_column is not None:
            raise ArgumentError(f"{out} has vectors only; write into a directory to keep the column {id_column!r}.")
        out, file = out.with_name(f".{out.name}.parts"), out
        if not overwrite:
            output.remove_joined(out, file)
        check_output_file(file, overwrite=overwrite)
    text_column = embed.text_column or None
    files = find_inputs([inputs] if isinstance(inputs, (str, Path)) else inputs, out)

    outlines, damaged = _outlines(files, skip=on_error == "skip")
    schema = unified_schema(outlines)
    chosen = choose_text_column(schema, text_column, id_column)
    for source, outline in outlines:
        for name in filter(None, (chosen, id_column)):
            if outline.schema.names and name not in outline.schema.names:
                raise DatasetError(f"{source.name} has no column {name!r}; it has {', '.join(outline.schema.names)}.")
    if schema.field(chosen).type == pa.null():
        schema = schema.set(schema.get_field_index(chosen), pa.field(chosen, pa.string()))

    columns = (id_column,) if id_column is not None else None if file is None else ()
    embed = replace(embed, text_column=chosen, columns=columns)  # type: ignore[type-var]
    made_of = {
        **made_of,
        "text_column": text_column,
        "columns": None if columns is None else list(columns),
        "precision": embed.precision,
        "part_rows": part_rows,
        "inputs": {file.name: {"size": file.size, "version": file.version} for file in files},
    }
    show = logger.isEnabledFor(logging.INFO) if show_progress_bar is None else show_progress_bar
    # Nothing is written where no cluster answers.
    with closing(_engine(engine, address, num_threads, chosen, part_rows)) as workers, locked(out):
        if file is not None:
            check_output_file(file, overwrite=overwrite)  # another run may have made it and left the lock meanwhile
        manifest = Manifest.open(out, made_of, model, overwrite=overwrite)
        if manifest.skipped and on_error == "stop":
            raise DatasetError(manifest.skipped[0].reason)
        if manifest.parts is not None and file is None:
            return _report(out, manifest, manifest.parts, len(manifest.parts), started)
        known = {file.name for file in manifest.skipped}
        if new := [file for file in damaged if file.name not in known]:
            manifest.skipped += new
            manifest.save()
        run = Run(out, manifest, schema, embed, part_rows, skip=on_error == "skip")
        parts, found = run.encode(files, workers, sum(outline.rows for _, outline in outlines), show)
        manifest.finish(parts)
        if file is not None:
            output.join_vectors([out / part.name for part in parts], file)
    if file is not None:
        discard(out, file)
    return _report(file or out, manifest, parts, found, started)


def _engine(name: str, address: str | None, num_threads: int | None, text_column: str, part_rows: int) -> Engine:
    if name == "threads":
        return Threads(num_threads, text_column)
    from wordllama_st.static.dataset.ray_tasks import RayTasks

    return RayTasks(address, num_threads, text_column, part_rows)


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


def _model_sha256(table: StaticTable) -> str:
    """Hash what an embedding depends on: the table, the tokenizer and whether embeddings are scaled."""
    digest = hashlib.sha256(table.tokenizer.to_str().encode("utf-8", "surrogatepass"))
    digest.update(str(table.normalize).encode())
    for array in (table.weight, table.mapping, table.scales, table.projection):
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

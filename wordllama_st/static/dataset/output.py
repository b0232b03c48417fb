"""The output directory of a dataset: its manifest, and its parts, each of which appears when it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from wordllama_st.disk import naming_full_disk
from wordllama_st.errors import ModelLoadError, OutputExistsError, reason
from wordllama_st.static.dataset.embedding import EMBEDDING, EmbeddingColumn
from wordllama_st.static.dataset.report import SkippedFile
from wordllama_st.storage.staging import check_or_record, discard, remove_leftovers, staged_file, write_text

#: Rows of each part but the last. A part is in memory while it is encoded, and is what a kill costs for each thread.
PART_ROWS = 2**15
#: Rows that are encoded together, and written as a row group.
GROUP_ROWS = 2**14

#: The record of a run.
MANIFEST = "manifest.json"
_LOCK = ".lock"
_is_part = re.compile(r"part-\d{5,}\.parquet").fullmatch
_is_partial = re.compile(r"\.(part-\d{5,}\.parquet|manifest\.json)\.\w{8}\.partial").fullmatch


@dataclass(frozen=True)
class Part:
    """A finished part: its file's name and SHA-256, its rows, and how many of these have no text."""

    name: str
    rows: int
    null_texts: int
    sha256: str


@dataclass
class Manifest:
    """The record of a run: what its output is made of, and what was found out on the way.

    ``ranges`` are those of 8-bit precisions, [2, d]; ``parts`` is None until the run is finished.
    """

    path: Path
    made_of: Mapping[str, Any]
    model: str
    ranges: list[list[float]] | None = None
    skipped: list[SkippedFile] = field(default_factory=list)
    parts: list[Part] | None = None

    @classmethod
    def open(cls, out: Path, made_of: Mapping[str, Any], model: str, *, overwrite: bool) -> Manifest:
        """Begin a run in a directory, or take up the one that was begun there.

        Args:
            out: The directory, which is :func:`locked`.
            made_of: What must be the same for a run to be taken up, as JSON has it.
            model: The model's name, which may differ.
            overwrite: Whether to delete the parts of an earlier run first.

        Raises:
            OutputExistsError: If another run's output or anything else is there; it is said what differs.
            ModelLoadError: If the manifest is damaged.
        """
        path = out / MANIFEST
        names = os.listdir(out)
        if overwrite and MANIFEST in names and b'"part_rows"' in path.read_bytes():
            for name in [*filter(_is_part, names), MANIFEST]:  # so that parts always have a manifest
                (out / name).unlink(missing_ok=True)
            _check_is_ours(out)
        if differing := check_or_record(path, made_of, {"model": model}):
            raise OutputExistsError(
                f"{out} is the output of another run: {', '.join(differing)} differ. Choose another output, or "
                f"overwrite it on purpose."
            )
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        try:
            skipped = [SkippedFile(**file) for file in content.get("skipped", [])]
            parts = [Part(**part) for part in content["parts"]] if "parts" in content else None
        except TypeError as error:
            raise ModelLoadError(f"{path} is damaged: {reason(error)}. Delete {out} and run again.") from error
        return cls(path, made_of, content.get("model", model), content.get("ranges"), skipped, parts)

    def finish(self, parts: list[Part]) -> None:
        """Write it with the parts, all of which are there."""
        self.parts = parts
        self.save()
        remove_leftovers(self.path.parent)  # of a worker that was killed

    def save(self) -> None:
        """Write it."""
        content: dict[str, Any] = {**self.made_of, "model": self.model}
        if self.ranges is not None:
            content["ranges"] = self.ranges
        content["skipped"] = [asdict(file) for file in self.skipped]
        if self.parts is not None:
            content["rows"] = sum(part.rows for part in self.parts)
            content["null_texts"] = sum(part.null_texts for part in self.parts)
            content["parts"] = [asdict(part) for part in self.parts]
        write_text(self.path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs out of an output directory, which is made if it is missing, while the block runs.

    Raises:
        OutputExistsError: If another run is writing to it, or it has anything else than a run's output in it.
    """
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{out} is a file; the output is a directory.")
    if out.is_dir():
        _check_is_ours(out)
    with naming_full_disk(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        # The file stays: if it were deleted, one run could lock it and another one a new file of its name.
        with FileLock(out / _LOCK, blocking=False):
            yield
    except Timeout as error:
        raise OutputExistsError(f"Another run writes to {out} now; wait for it, or choose another output.") from error


def _check_is_ours(out: Path) -> None:
    names = os.listdir(out)
    if MANIFEST not in names and not all(name == _LOCK or _is_partial(name) for name in names):
        raise OutputExistsError(f"{out} holds something that this command did not write; choose another output.")


def part_path(out: Path, number: int) -> Path:
    """The file of a part, numbered from 0."""
    return out / f"part-{number:05d}.parquet"


def has_manifest(out: Path) -> bool:
    """Whether a directory is the output of a run."""
    return (out / MANIFEST).is_file()


def write_part(path: Path, pieces: Sequence[pa.Table], embed: EmbeddingColumn) -> Part:
    """Encode the texts of a part and write it: the same bytes for the same rows.

    Args:
        path: Its file, which appears when it is on disk.
        pieces: Its rows.
        embed: What adds the embeddings.

    Raises:
        OutputError: If there is no room for it.
    """
    table = pa.concat_tables(pieces)
    schema = embed.schema(table.schema)
    plain = [column for column in _parquet_columns(schema) if not column.startswith(f"{EMBEDDING}.")]
    # Embeddings are not compressed: they would hardly be smaller, and take longer to read and write.
    codecs = dict.fromkeys(plain, "snappy")
    with (
        staged_file(path) as staging,
        staging.open("wb") as file,
        pq.ParquetWriter(file, schema, compression=codecs, use_dictionary=plain, write_statistics=plain) as writer,
    ):
        for start in range(0, table.num_rows, GROUP_ROWS):
            group = embed(table.slice(start, GROUP_ROWS).combine_chunks())
            writer.write_table(group, row_group_size=GROUP_ROWS)
    return Part(path.name, table.num_rows, table.column(embed.text_column).null_count, _sha256(path))


def read_part(path: Path) -> Part:
    """Describe a part that an earlier run has finished."""
    embeddings = pq.read_table(path, columns=[EMBEDDING]).column(0)
    return Part(path.name, len(embeddings), embeddings.null_count, _sha256(path))


def join_vectors(parts: Sequence[Path], file: Path) -> None:
    """Write the embeddings of all parts, without nulls, into a .npy file [rows, d] that appears when it is complete.

    Raises:
        OutputError: If there is no room for it.
    """
    rows = sum(pq.read_metadata(part).num_rows for part in parts)
    kind = pq.read_schema(parts[0]).field(EMBEDDING).type if parts else pa.list_(pa.float32(), 0)
    header = {"shape": (rows, kind.list_size), "fortran_order": False}
    header["descr"] = np.lib.format.dtype_to_descr(np.dtype(kind.value_type.to_pandas_dtype()))
    with staged_file(file) as staging, staging.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for part in parts:
            for batch in pq.ParquetFile(part).iter_batches(GROUP_ROWS, columns=[EMBEDDING]):
                stream.write(batch.column(0).flatten().to_numpy().data)


def remove_joined(out: Path, file: Path) -> None:
    """Remove the parts that a .npy file was made of, where the process that made it was killed before it could.

    Parts of a run that was to overwrite the file stay: their manifest is younger than the file.
    """
    manifest = out / MANIFEST
    if file.is_file() and manifest.is_file() and manifest.stat().st_mtime_ns <= file.stat().st_mtime_ns:
        with suppress(OutputExistsError), locked(out):  # if a run is at work there
            discard(out, file)


def _parquet_columns(schema: pa.Schema) -> list[str]:
    """The paths of the columns that Parquet stores: a list or a struct is made of several."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    stored = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [stored.column(index).path for index in range(len(stored))]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()

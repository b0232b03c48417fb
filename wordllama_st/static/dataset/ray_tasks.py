"""Parts encoded by the tasks of a Ray cluster.

A part is a task: it runs ``write_part``, the very function of the threads, under the same name, so that resuming,
checksums and the manifest are shared, and Ray does a part again whose worker has died. Ray Data's own stages would not
do here. Its readers have another idea of columns, types and damage than ours; its blocks end where its memory budget
says, and parts of equally many rows in the order of the files need a repartition of all rows, which also reads those
of finished parts; and its actors are restarted without end by default. For a pipeline of Ray Data's stages,
:class:`~wordllama_st.static.dataset.embedding.EmbedTexts` is a function for ``map_batches``.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]

from wordllama_st.errors import (
    ArgumentError,
    ClusterError,
    DatasetError,
    OutputError,
    WordLlamaSTError,
    reason,
    require,
)
from wordllama_st.static.dataset import output
from wordllama_st.static.dataset.embedding import EmbeddingColumn
from wordllama_st.static.dataset.inputs import InputFile
from wordllama_st.static.dataset.output import Part, write_part
from wordllama_st.static.dataset.reading import Chunk, read_rows, row_groups

#: How often a part is begun again whose worker has died.
_RETRIES = 3
#: Seconds in which a cluster's port must answer; Ray itself waits for minutes.
_PATIENCE = 10.0


class _Read(NamedTuple):
    """A stretch of rows of a file that a task reads: its first row, where it is cut, counted from there, and refs."""

    start: int
    cuts: list[int]
    is_read: Any
    pieces: Sequence[Any]


class RayTasks:
    """Parquet rows are read by tasks, a stretch of row groups each, and other files by the caller.

    How many rows a text file has is not known before it is read, and a part begins where the last one ended. A cluster
    is used as it is, and stays; without one, there is a cluster of this machine's cores until :meth:`close`.

    Args:
        address: Of a cluster, as for ``ray.init``. None takes the one that the process is connected to, then
            ``RAY_ADDRESS``, then a new one on this machine.
        count: Parts at a time; None takes twice as many as the cluster has cores, so that none has to wait.
        text_column: The column of texts.
        part_rows: Rows of each part but the last.

    Raises:
        MissingExtraError: If Ray is not installed.
        ArgumentError: If the process is connected to a cluster and an address is given, too.
        ClusterError: If no cluster answers at the address.
    """

    def __init__(self, address: str | None, count: int | None, text_column: str, part_rows: int) -> None:
        require("ray", "ray")
        self._count, self._text_column, self._part_rows = count, text_column, part_rows
        self._waiting: list[Future[Part]] = []
        self._embed: EmbeddingColumn | None = None
        self._is_ours = _connect(address, count)
        import ray

        # Ray copies a task's arguments into the worker; a list with a reference in it stays one, and the model is
        # loaded once in each worker, where its look-up of words then fills.
        self._encode_part = ray.remote(max_retries=_RETRIES)(_encode_part)
        self._read_groups = ray.remote(max_retries=_RETRIES)(_read_groups)

    @property
    def most_parts(self) -> int:
        import ray

        # Asked each time: a cluster that scales with its load grows while tasks wait.
        return self._count or max(1, 2 * int(ray.cluster_resources().get("CPU", 1)))

    def read(
        self, file: InputFile, schema: pa.Schema, begin: int, is_done: Callable[[int, int], bool]
    ) -> Iterator[Chunk]:
        import ray

        if file.kind != "parquet":
            yield from read_rows(file, schema, self._text_column, is_done)
            return
        reads = self._reads(file, schema, begin, is_done)
        ahead: deque[_Read] = deque()
        while True:
            while sum(read.cuts[-1] for read in ahead) < self.most_parts * self._part_rows:
                if (following := next(reads, None)) is None:
                    break
                ahead.append(following)
            if not ahead:
                return
            read = ahead.popleft()
            try:
                # No part may begin behind damage that is not known yet: a run that skips it has other rows there.
                with _clear_errors():
                    ray.get(read.is_read)
            except DatasetError:
                yield from _stretch(file, schema, self._text_column, read.start, read.start + read.cuts[-1])
            else:
                for (first, last), piece in zip(pairwise(read.cuts), read.pieces, strict=True):
                    yield Chunk(last - first, piece)

    def _reads(
        self, file: InputFile, schema: pa.Schema, begin: int, is_done: Callable[[int, int], bool]
    ) -> Iterator[_Read]:
        """Begin to read a file's stretches, each when it is asked for."""
        for start, stop in _stretches(row_groups(file), self._part_rows):
            ends = range((begin + start) // self._part_rows + 1, -(-(begin + stop) // self._part_rows))
            cuts = [0, *(end * self._part_rows - begin - start for end in ends), stop - start]
            if is_done(start, stop):
                yield _Read(start, cuts, [], [None] * (len(cuts) - 1))
            else:
                task = self._read_groups.options(num_returns=len(cuts))
                references: Any = task.remote(file, schema, self._text_column, start, cuts)
                yield _Read(start, cuts, references[0], references[1:])

    def fetch(self, pieces: Sequence[Any]) -> pa.Table:
        import ray

        with _clear_errors():
            return pa.concat_tables([ray.get(piece) if isinstance(piece, ray.ObjectRef) else piece for piece in pieces])

    def submit(self, path: Path, pieces: Sequence[Any], embed: EmbeddingColumn) -> Future[Part]:
        import ray

        if self._embed is not embed:
            self._embed, self._shared = embed, ray.put(embed)
        task = self._encode_part.options(name=path.name).remote(path.absolute(), [self._shared], *pieces)
        future: Future[Part] = task.future()
        self._waiting = [*(future for future in self._waiting if not future.done()), future]
        return future

    def result(self, future: Future[Part]) -> Part:
        with _clear_errors():
            return future.result()

    def close(self) -> None:
        import ray

        wait(self._waiting)
        if self._is_ours:
            ray.shutdown()


def _connect(address: str | None, count: int | None) -> bool:
    """Connect to a cluster or start one; return whether the connection is to be ended with the run."""
    # Before Ray is imported, which reads them then. Nothing is reported to Ray's makers, and a worker that the memory
    # monitor kills is not begun again without end.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(_RETRIES))
    import ray

    if ray.is_initialized():
        if address is not None:
            raise ArgumentError(f"This process is connected to a Ray cluster already; leave the address {address} out.")
        return False
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        host, _, port = address.rpartition("://")[2].rpartition(":")
        if host and port.isdecimal():
            socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        local: dict[str, Any] = {"num_cpus": count, "include_dashboard": False} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"No Ray cluster answers at {address}: {reason(error).rstrip('.')}. Start one with ray start --head, or "
            f"leave the address out for one on this machine."
        ) from error
    return True


def _stretches(counts: Sequence[int], part_rows: int) -> Iterator[tuple[int, int]]:
    """Join row groups to stretches of rows, each as large as a part at least, except the last."""
    start = stop = 0
    for number, count in enumerate(counts):
        stop += count
        if stop > start and (stop - start >= part_rows or number == len(counts) - 1):
            yield start, stop
            start = stop


def _read_groups(file: InputFile, schema: pa.Schema, text_column: str, start: int, cuts: Sequence[int]) -> list[Any]:
    """Read a stretch: None, which tells that it is read, and a table from each cut to the next."""
    chunks = _stretch(file, schema, text_column, start, start + cuts[-1])
    table = pa.concat_tables([chunk.table for chunk in chunks])
    return [None, *(table.slice(first, last - first) for first, last in pairwise(cuts))]


def _stretch(file: InputFile, schema: pa.Schema, text_column: str, start: int, stop: int) -> Iterator[Chunk]:
    chunks = read_rows(file, schema, text_column, lambda first, last: not start <= first < stop)
    return (chunk for chunk in chunks if chunk.table is not None)


def _encode_part(path: Path, shared: Sequence[Any], *pieces: pa.Table) -> Part:
    if not output.has_manifest(path.parent):
        raise OutputError(
            f"{path.parent} is not there on the machine {socket.gethostname()}; choose an output directory that all "
            f"machines of the cluster share."
        )
    return write_part(path, pieces, _loaded(shared[0]))


@lru_cache(maxsize=1)
def _loaded(reference: Any) -> EmbeddingColumn:
    import ray

    embed: EmbeddingColumn = ray.get(reference)
    return embed


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Raise the error of a task as it was raised there, and Ray's own as ours."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayError as error:
        cause: BaseException = error
        while isinstance(cause, RayTaskError) and cause.cause is not None:
            cause = cause.cause
        if isinstance(cause, WordLlamaSTError):
            raise cause from None
        if isinstance(cause, ImportError):
            raise ClusterError(
                f"The workers cannot run this package: {reason(cause)}. Install wordllama-st[ray] on every machine of "
                f"the cluster."
            ) from error
        if not isinstance(cause, RayError):
            raise cause from error
        raise ClusterError(
            f"Every Ray worker dies that takes a part, after {_RETRIES} retries: {reason(cause).rstrip('.')}. If "
            f"memory is short, use fewer cores (--threads). Run again: finished parts stay."
        ) from error

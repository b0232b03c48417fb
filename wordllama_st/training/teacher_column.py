"""The embedding column of a teacher, for collections of texts that go from files to files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from wordllama_st.errors import ArgumentError, OutputError, reason
from wordllama_st.static.dataset.embedding import EmbeddingColumn, StoredPrecision

#: What torch and the libraries below it read the number of their threads from, when a process starts.
THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class TeacherColumn(EmbeddingColumn):
    """The embedding column of a SentenceTransformer, of unit length.

    Args:
        teacher: The SentenceTransformer.
        text_column: The column of texts. A null has a null for an embedding.
        precision: As for :class:`~wordllama_st.static.dataset.EmbedTexts`.
        truncate_dim: Matryoshka dim to truncate embeddings to, before they are scaled.
        prompt_name: Of the teacher's prompt to put in front of each text; its default prompt if None.
        batch_size: Texts that are encoded together.
        pool: The teacher's processes, as :func:`teacher_pool` starts them; this process alone if None.
    """

    teacher: SentenceTransformer
    text_column: str
    precision: StoredPrecision = "float16"
    truncate_dim: int | None = None
    prompt_name: str | None = None
    batch_size: int = 32
    pool: Any = None
    ranges: npt.NDArray[np.float32] | None = None
    columns: tuple[str, ...] | None = None

    @property
    def dim(self) -> int:
        return self.truncate_dim or int(self.teacher.get_embedding_dimension() or 0)

    def vectors(self, texts: list[str]) -> npt.NDArray[np.float32]:
        try:
            found = self.teacher.encode(
                texts,
                prompt_name=self.prompt_name,
                batch_size=self.batch_size,
                normalize_embeddings=True,
                truncate_dim=self.truncate_dim,
                pool=self.pool,
                show_progress_bar=False,
            )
        except RuntimeError as error:  # of torch, as for memory that is short, or of a process that ended
            raise OutputError(
                f"The teacher failed: {reason(error)}. Finished parts stay: run again, with a smaller batch size if "
                f"memory was short."
            ) from error
        return np.asarray(found, np.float32).reshape(len(texts), self.dim)


@contextmanager
def teacher_pool(teacher: SentenceTransformer, devices: Sequence[str] | None) -> Iterator[Any]:
    """Start a process of sentence-transformers for each of several devices, and stop them when the block ends.

    Args:
        teacher: The model; it is moved to the device if there is only one.
        devices: As torch names them; ``"cpu"`` several times for several processes that share the cores. None is the
            device that the model is on.

    Yields:
        The pool that ``encode`` takes; None if there are not several devices.

    Raises:
        ArgumentError: If a device cannot be used.
    """
    for device in devices or ():
        try:
            torch.empty(1, device=device)
        except Exception as error:  # RuntimeError, AssertionError and others, by device
            raise ArgumentError(f"The device {device!r} cannot be used: {reason(error)}") from error
    if not devices or len(devices) == 1:
        if devices:
            teacher.to(devices[0])
        yield None
        return
    with _threads_shared(devices.count("cpu")):
        pool = teacher.start_multi_process_pool(list(devices))
    try:
        yield pool
    finally:
        teacher.stop_multi_process_pool(pool)


@contextmanager
def _threads_shared(processes: int) -> Iterator[None]:
    """Give each process that is started in the block its share of the cores; by default, each takes all of them."""
    before = os.environ.get(THREADS)
    if processes and before is None:
        os.environ[THREADS] = str(max(1, torch.get_num_threads() // processes))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(THREADS, None)

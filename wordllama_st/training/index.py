"""Indexes: documents with the vectors that an embedder has given them, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from wordllama_st.disk import temporary_file
from wordllama_st.errors import ArgumentError, DatasetError
from wordllama_st.training.distillation import CHUNK, MIN_TEXTS, SAMPLE, principal_axes, sample
from wordllama_st.training.static_model import SMALLER_AS_FACTORS

#: Vectors whose mean has at least this length are all alike: every query finds all documents or none.
ALL_ALIKE = 0.9999
#: Principal axes that are kept where the others would make a model at least twice as large; the others carry little.
LEARNED_DIM = 256
#: Documents that are held out, at most.
MAX_HELD_OUT = 500


@dataclass(frozen=True)
class Index:
    """Distinct documents and the leading principal components of their vectors.

    Attributes:
        texts: All documents, empty and repeated ones too.
        numbers: Which of them the index has, [n].
        components: Their vectors, of unit length, in the d leading principal axes: [n, d], in float16.
        axes: All axes, as the columns of [D, D].
        held_out: Places among the n of the documents that are not trained on, in order.
    """

    texts: Sequence[str]
    numbers: npt.NDArray[np.intp]
    components: npt.NDArray[np.float16]
    axes: npt.NDArray[np.float32]
    held_out: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def dim(self) -> int:
        """D, the dim of the vectors."""
        return len(self.axes)

    @property
    def leading_axes(self) -> npt.NDArray[np.float32]:
        """The axes [D, d] of the components."""
        return np.ascontiguousarray(self.axes[:, : self.components.shape[1]])

    @cached_property
    def trained(self) -> npt.NDArray[np.intp]:
        """The places of the other documents."""
        return np.delete(np.arange(len(self)), self.held_out)

    def documents(self, places: npt.NDArray[np.intp] | None = None) -> Iterator[str]:
        """Iterate over the documents at some places, or over all n."""
        return map(self.texts.__getitem__, self.numbers if places is None else self.numbers[places])

    def project(self, vectors: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float16]:
        """Project other vectors [m, D] of the space, of unit length, onto the d leading axes."""
        projected: npt.NDArray[np.float16] = (vectors.astype(np.float32) @ self.leading_axes).astype(np.float16)
        return projected


def distinct_documents(texts: Sequence[str]) -> npt.NDArray[np.intp]:
    """Return the numbers of the documents that are not empty and repeat none before them.

    Raises:
        DatasetError: If there are fewer than 100.
    """
    # Hashes of 64 bits, a million of which have two alike once in 10 million runs; a set of texts would be gigabytes.
    hashes = np.fromiter((hash(text) if text and not text.isspace() else 0 for text in texts), np.int64, len(texts))
    distinct, numbers = np.unique(hashes, return_index=True)
    numbers = np.sort(numbers[distinct != 0])
    if len(numbers) < MIN_TEXTS:
        raise DatasetError(
            f"There are {len(numbers)} different documents among {len(texts):,}; at least {MIN_TEXTS} are needed."
        )
    return numbers


def make_index(
    texts: Sequence[str], vectors: npt.NDArray[Any], *, dim: int | None, hold_out: float, seed: int
) -> Index:
    """Check documents and their vectors, leave out empty and repeated documents, and hold a share of the others out.

    Args:
        texts: n documents.
        vectors: Their vectors [n, D], of any length other than zero; possibly mapped from a file.
        dim: d, how many principal axes to keep, at most D. None keeps all, or 256 of 512 and more.
        seed: Of the choice of documents to hold out.

    Raises:
        ArgumentError: If there are not as many vectors as documents, one is zero or not finite, or all are alike.
        DatasetError: If there are fewer than 100 different documents.
    """
    if vectors.ndim != 2 or not vectors.shape[1] or not np.issubdtype(vectors.dtype, np.number):
        raise ArgumentError(f"The vectors are {vectors.dtype} of shape {list(vectors.shape)}, not numbers [n, D].")
    if len(texts) != len(vectors):
        raise ArgumentError(f"There are {len(texts):,} documents and {len(vectors):,} vectors; each needs one.")
    numbers = distinct_documents(texts)
    total = np.zeros(vectors.shape[1])
    for start, unit in unit_chunks(vectors, numbers):
        if len(bad := np.flatnonzero(~np.isfinite(unit).all(axis=1) | ~unit.any(axis=1))):
            raise ArgumentError(
                f"The vector of document {numbers[start + bad[0]] + 1:,} is zero or not finite; embed it again, or "
                f"leave the document out."
            )
        total += unit.sum(axis=0)
    if np.linalg.norm(total) / len(numbers) > ALL_ALIKE:
        raise ArgumentError("The vectors are all alike, so that nothing can be learned from them.")
    axes = principal_axes(unit for _, unit in unit_chunks(vectors, sample(numbers, SAMPLE, seed)))
    if dim is None and len(axes) >= SMALLER_AS_FACTORS * LEARNED_DIM:
        dim = LEARNED_DIM
    leading = np.ascontiguousarray(axes[:, :dim])
    with temporary_file() as file:  # of a million documents, they are most of a gigabyte
        for _, unit in unit_chunks(vectors, numbers):
            # Not into a mapping: where its disk is full, the process dies of SIGBUS.
            file.write((unit @ leading).astype(np.float16).data)
        file.flush()
        components = np.memmap(file, np.float16, "r+", shape=(len(numbers), leading.shape[1]))
    count = min(MAX_HELD_OUT, max(1, round(hold_out * len(numbers))))
    held_out = np.sort(np.random.default_rng(seed).choice(len(numbers), count, replace=False))
    return Index(texts, numbers, components, axes, held_out)


def unit_chunks(
    vectors: npt.NDArray[Any], numbers: npt.NDArray[np.intp]
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Read some of the vectors in chunks, scaled to unit length; zero or not finite where they have no direction."""
    for start in range(0, len(numbers), CHUNK):
        some = np.asarray(vectors[numbers[start : start + CHUNK]], np.float32)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            yield start, some / np.linalg.norm(some, axis=1, keepdims=True)

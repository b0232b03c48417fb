"""Checks that documents are embedded in the space that the model embeds queries in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from wordllama_st import StaticEncoder
from wordllama_st.errors import ArgumentError

#: Documents that tell whether their vectors are of the model's space.
SAMPLE = 32


class DocumentVectors:
    """What another embedder gives, checked and projected to where queries are compared with it.

    Args:
        encoder: The model that embeds the queries.
    """

    def __init__(self, encoder: StaticEncoder) -> None:
        self._encoder = encoder
        self._texts: list[str] = []
        self._vectors: list[list[float]] = []

    def to_space(self, texts: list[str], vectors: list[list[float]]) -> list[list[float]]:
        """Return the vectors to store, after a check of the first documents.

        Raises:
            ArgumentError: If the vectors are of another space than the queries.
        """
        if not vectors:
            return []
        space = self._encoder.table.space
        if space is None:
            _check_dim(self._encoder, len(vectors[0]))
            return vectors
        if len(self._texts) < SAMPLE:
            # Documents may come one by one, and a single one tells little.
            seen, seen_vectors = [*self._texts, *texts[:SAMPLE]], [*self._vectors, *vectors[:SAMPLE]]
            space.check(self._encoder.encode(seen), seen_vectors)
            self._texts, self._vectors = seen, seen_vectors
        return vectors if space.axes is None else space.project(vectors).tolist()


def check_stored(encoder: StaticEncoder, texts: list[str], vectors: npt.NDArray[np.float32]) -> None:
    """Check that vectors in a store, which queries are compared with as they are, are of the model's space.

    Raises:
        ArgumentError: If they are of another one.
    """
    _check_dim(encoder, vectors.shape[1])
    if (space := encoder.table.space) is not None:
        # A store that fits has been filled with vectors that were projected already.
        replace(space, dim=encoder.dim, axes=None).check(encoder.encode(texts), vectors)


def _check_dim(encoder: StaticEncoder, dim: int) -> None:
    if dim != encoder.dim:
        raise ArgumentError(
            f"The documents' vectors have {dim} dimensions, and the model's embeddings of queries, {encoder.dim}. Take "
            f"an embedder of the same space, or embed the documents by this model."
        )

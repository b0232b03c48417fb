"""The vector space of an index, in which a model that was adapted to that index embeds queries."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from wordllama_st.errors import ArgumentError
from wordllama_st.static.similarity import normalized

#: Embeddings of documents in another space have a cosine of about zero to their vectors, whatever the documents are; in
#: the model's own, documents of a kind that it never saw have at least this share of the cosine of those that it did.
SAME_SPACE = 1 / 3
#: The mean over fewer documents tells too little: one in twenty, alone, is below that share in its own space.
ENOUGH = 8


@dataclass(frozen=True)
class VectorSpace:
    """The fingerprint of a vector space: how well a model predicts the vectors of documents it was not trained on.

    Any vectors of documents tell whether they are of the space, so that a store may have grown or changed since.

    Attributes:
        dim: D, the dim of the vectors.
        cosine: Mean cosine similarity of the model's embeddings of held-out documents and their vectors.
        embedder: Name of the embedder that made the vectors, if known.
        axes: Axes [D, d] that the vectors are projected onto to be compared with the model's embeddings; None if they
            are compared as they are.
    """

    dim: int
    cosine: float
    embedder: str | None = None
    axes: npt.NDArray[np.float32] | None = field(default=None, compare=False)

    def project(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Turn vectors [n, D] of documents into those to compare the model's embeddings with, [n, d].

        Raises:
            ArgumentError: If they have another dim.
        """
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ArgumentError(
                f"The documents' vectors have {vectors.shape[-1]} dimensions, and {self._own}, {self.dim}. Take the "
                f"embedder of those, or adapt a model to these vectors."
            )
        return vectors if self.axes is None else normalized(vectors @ self.axes)

    def check(self, embeddings: npt.NDArray[Any], vectors: npt.ArrayLike) -> None:
        """Check that vectors are of this space; of fewer than 8, only the dim.

        Args:
            embeddings: The model's embeddings [n, d] of n texts; zeros, of texts without tokens, do not count.
            vectors: The vectors [n, D] that the texts have in a store, or that an embedder gives them.

        Raises:
            ArgumentError: If they are of another space.
        """
        vectors = self.project(vectors)
        counted = embeddings.any(axis=1)
        if counted.sum() < ENOUGH:
            return
        cosine = float((normalized(embeddings[counted]) * normalized(vectors[counted])).sum(axis=1).mean())
        if not cosine >= SAME_SPACE * self.cosine:
            raise ArgumentError(
                f"The documents' vectors are of another space: {self._own}, where its embeddings of documents have a "
                f"cosine of {self.cosine:.2f} to their vectors, and not {cosine:.2f} as here. Take the embedder of "
                f"that space, or adapt a model to these vectors."
            )

    @property
    def _own(self) -> str:
        return f"the model embeds queries in the space of {self.embedder or 'the vectors that it was adapted to'}"


def check_vectors(
    space: VectorSpace | None, embeddings: npt.NDArray[Any], vectors: npt.ArrayLike, *, stored: bool = False
) -> None:
    """Check that vectors of documents may be compared with a model's embeddings of queries.

    Args:
        space: The model's space; of None, only the dim is known.
        embeddings: The model's embeddings [n, d] of n documents.
        vectors: The vectors that an embedder gives them, or those of a store.
        stored: Whether they are compared as they are, so that of a space with axes they have to be projected already.

    Raises:
        ArgumentError: If they are of another space or dim.
    """
    width, dim = np.shape(vectors)[-1], embeddings.shape[1]
    if (space is None or stored) and width != dim:
        raise ArgumentError(
            f"The documents' vectors have {width} dimensions, and the model's embeddings of queries {dim}. Take an "
            f"embedder of the same space, embed the documents by this model, or adapt a model to these vectors."
        )
    if space is not None:
        (replace(space, dim=dim, axes=None) if stored else space).check(embeddings, vectors)

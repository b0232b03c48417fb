"""Checks that documents are embedded in the space that the model embeds queries in."""

from __future__ import annotations

from wordllama_st import StaticEncoder
from wordllama_st.static.space import check_vectors

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
            ArgumentError: If the vectors are of another space or dim than the queries.
        """
        if not vectors:
            return []
        space = self._encoder.table.space
        if len(self._texts) < SAMPLE:
            # Documents may come one by one, and a single one tells little.
            seen, seen_vectors = [*self._texts, *texts[:SAMPLE]], [*self._vectors, *vectors[:SAMPLE]]
            check_vectors(space, self._encoder.encode(seen), seen_vectors)
            self._texts, self._vectors = seen, seen_vectors
        return vectors if space is None or space.axes is None else space.project(vectors).tolist()

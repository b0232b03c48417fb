"""Documents and vectors of vector stores, read back for adaptation; the adapters for frameworks stand on this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wordllama_st.errors import ArgumentError, DatasetError

#: Rows that are read at a time.
_BATCH = 1000
#: How far from 1 a length may be where distances other than the cosine are compared.
_UNIT_TOLERANCE = 1e-2


class StoredDocuments(NamedTuple):
    """n documents of a store: their texts, metadata, and vectors [n, D]. A document without a text is left out."""

    texts: list[str]
    metadata: list[dict[str, Any]]
    vectors: npt.NDArray[np.float32]


def is_chroma(collection: object) -> bool:
    """Tell whether this is a collection of chromadb."""
    return type(collection).__module__.startswith("chromadb.")


def is_lancedb(table: object) -> bool:
    """Tell whether this is a table of lancedb."""
    return type(table).__module__.startswith("lancedb.")


def read_chroma(collection: Any, limit: int | None = None) -> StoredDocuments:
    """Read a collection of chromadb, or its first documents.

    Raises:
        ArgumentError: If the collection compares dot products or Euclidean distances of vectors whose lengths differ.
        DatasetError: If it has no documents with a text.
    """
    texts: list[str | None] = []
    metadata: list[dict[str, Any]] = []
    vectors: list[npt.NDArray[np.float32]] = []
    count = collection.count() if limit is None else min(limit, collection.count())
    for offset in range(0, count, _BATCH):
        batch = min(_BATCH, count - offset)
        found = collection.get(limit=batch, offset=offset, include=["documents", "metadatas", "embeddings"])
        texts += found["documents"]
        metadata += [dict(one or {}) for one in found["metadatas"]]
        vectors.append(np.asarray(found["embeddings"], np.float32))
    stored = with_texts(texts, metadata, vectors, f"The collection {collection.name}")
    settings = collection.configuration.get("hnsw") or {}
    compared = settings.get("space", (collection.metadata or {}).get("hnsw:space", "l2"))
    if compared != "cosine":
        check_lengths(stored.vectors, f"The collection {collection.name} compares vectors by {compared}")
    return stored


def read_lancedb(table: Any, limit: int | None = None, text: str = "text", vector: str = "vector") -> StoredDocuments:
    """Read a table of lancedb, or its first documents; other columns are metadata.

    Raises:
        DatasetError: If the table has no such columns, or no documents with a text.
    """
    names = list(table.schema.names)
    for column in (text, vector):
        if column not in names:
            raise DatasetError(f"The table {table.name} has no column {column!r}; it has {', '.join(names)}.")
    rows = table.to_arrow() if limit is None else table.search().limit(limit).to_arrow()
    vectors = [
        batch.column(vector).flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1).astype(np.float32)
        for batch in rows.to_batches()
        if len(batch)
    ]
    others = rows.drop_columns([text, vector]).to_pylist()
    return with_texts(rows[text].to_pylist(), others, vectors, f"The table {table.name}")


def with_texts(
    texts: Sequence[str | None],
    metadata: Sequence[dict[str, Any]],
    vectors: Sequence[npt.NDArray[np.float32]],
    name: str,
) -> StoredDocuments:
    """Leave out documents without a text.

    Raises:
        DatasetError: If none has one.
    """
    kept = [number for number, text in enumerate(texts) if text and not text.isspace()]
    if not kept:
        raise DatasetError(f"{name} has {len(texts)} documents, none of which has a text to learn from.")
    return StoredDocuments(
        [texts[number] or "" for number in kept],
        [metadata[number] for number in kept],
        np.concatenate([np.atleast_2d(part) for part in vectors])[kept],
    )


def check_lengths(vectors: npt.NDArray[np.float32], what: str) -> None:
    """Refuse vectors that are not of unit length, whose order a model that learns directions does not reproduce.

    Raises:
        ArgumentError: If a length is not 1.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    if np.abs(lengths - 1).max() > _UNIT_TOLERANCE:
        raise ArgumentError(
            f"{what}, and their lengths are {lengths.min():.3g} to {lengths.max():.3g}, of which adaptation learns "
            f"nothing. Make an index of vectors of unit length, or one that compares by the cosine."
        )


def unreadable(store: object) -> ArgumentError:
    """Return the error for a store that does not give its vectors back."""
    return ArgumentError(
        f"{type(store).__name__} does not give its documents and vectors back here. Pass both to adapt yourself: "
        f"adapt(model, texts, vectors=vectors)."
    )

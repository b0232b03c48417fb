"""Texts and vectors of the documents in a store, to adapt a model to or to check one against."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import iscoroutinefunction
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from wordllama_st.errors import ArgumentError

#: Documents that are read at a time; Chroma's cloud returns no more than 300.
_BATCH = 256
#: Vectors that were stored in half the precision, or quantized, have lengths this near to 1.
_UNIT_TOLERANCE = 0.02


def texts_and_vectors(store: Any) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Read the texts and vectors of all documents in a store, as `wordllama_st.adapt` takes them.

    Documents without a text or without a vector are left out, since nothing can be learned from them.

    Args:
        store: A `langchain_chroma.Chroma`, a collection of chromadb, an `InMemoryVectorStore`, or a table of LanceDB
            with the columns `text` and `vector`, as LangChain writes them.

    Returns:
        The n texts and their vectors [n, D], in the same order.

    Raises:
        ValueError: If the store is of another kind or has no such documents; if its vectors have different dimensions;
            or if they are not of unit length and the store compares their dot products or Euclidean distances.
    """
    return read_documents(store)


def read_documents(store: Any, limit: int | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Read the first documents of a store; all of them without a limit, and errors as `texts_and_vectors`."""
    name = type(store).__name__
    metric, documents = _open(store)
    usable = ((text, vector) for text, vector in documents if text and not text.isspace() and vector is not None)
    texts: list[str] = []
    rows: list[npt.NDArray[np.float32]] = []
    for text, vector in islice(usable, limit):
        texts.append(text)
        rows.append(np.asarray(vector, np.float32))
    if not texts:
        raise ArgumentError(f"The {name} has no documents with a text and a vector.")
    if len(dims := {row.size for row in rows}) > 1:
        raise ArgumentError(f"The vectors in the {name} have different dimensions: {sorted(dims)}.")
    vectors = np.stack(rows)
    if metric != "cosine":
        lengths = np.linalg.norm(vectors, axis=1)
        if len(others := np.flatnonzero(~(abs(lengths - 1) <= _UNIT_TOLERANCE))):
            raise ArgumentError(
                f"The vectors in the {name} are not of unit length (that of {texts[others[0]][:40]!r} has length "
                f"{lengths[others[0]]:.3g}), and it compares them by {metric!r}, where length counts. An adapted model "
                f"knows directions only: use a store that compares cosines, or one with vectors of unit length."
            )
    return texts, vectors


def _open(store: Any) -> tuple[str, Iterator[tuple[str | None, Any]]]:
    """Return how a store compares vectors, and its documents' texts and vectors."""
    if isinstance(held := getattr(store, "store", None), dict):  # InMemoryVectorStore
        return "cosine", ((document["text"], document["vector"]) for document in held.values())
    collection = getattr(store, "_collection", store)  # of LangChain's Chroma, or itself chromadb's
    configuration = getattr(collection, "configuration", None)
    if isinstance(configuration, dict) and not iscoroutinefunction(collection.get):
        index: dict[str, Any] = configuration.get("hnsw") or configuration.get("spann") or {}
        return str(index.get("space", "l2")), _chroma_documents(collection)
    if {"text", "vector"} <= set(getattr(getattr(store, "schema", None), "names", ())):  # LanceDB
        return _lance_metric(store), _lance_documents(store)
    raise ArgumentError(
        f"The documents of a {type(store).__name__} cannot be read here. Read their texts and vectors by other means, "
        f"and pass them to wordllama_st.adapt(model, texts, path, vectors=vectors)."
    )


def _chroma_documents(collection: Any) -> Iterator[tuple[str | None, Any]]:
    offset = 0
    while (found := collection.get(limit=_BATCH, offset=offset, include=["documents", "embeddings"]))["ids"]:
        yield from zip(found["documents"], found["embeddings"], strict=True)
        offset += len(found["ids"])


def _lance_documents(table: Any) -> Iterator[tuple[str | None, Any]]:
    for batch in table.search().select(["text", "vector"]).to_batches(_BATCH):
        yield from zip(batch["text"].to_pylist(), batch["vector"].to_numpy(zero_copy_only=False), strict=True)


def _lance_metric(table: Any) -> str:
    """Return the metric of the index of the vectors, by which queries compare, or the default of a table without."""
    for index in table.list_indices():
        if list(index.columns) == ["vector"]:
            return str(table.index_stats(index.name).distance_type)
    return "l2"

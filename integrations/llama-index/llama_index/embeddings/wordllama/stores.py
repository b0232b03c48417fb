"""The texts and vectors that a vector store holds, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_index.core.schema import MetadataMode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

#: Documents that are read from a store at a time.
BATCH_SIZE = 1000
#: Difference from 1 that a vector of unit length may have in a store: float16 rounds by less.
TOLERANCE = 0.01

Row = tuple[str, Any]


def texts_and_vectors(store: Any) -> tuple[list[str], npt.NDArray[np.float32]]:
    """
    Read the documents of a store and their vectors, to adapt a model to them by `wordllama_st.adapt`.

    A document's text is what was embedded: with its metadata, except for the keys that are excluded from embedding.
    Documents without text and documents without a vector, or with one of zeros, are left out.

    Args:
        store (Any): A `VectorStoreIndex`, over a `SimpleVectorStore` or one of the following; a `ChromaVectorStore`;
            or a `LanceDBVectorStore`.

    Returns:
        tuple[list[str], NDArray[np.float32]]: n texts and their vectors [n, D].

    Raises:
        ValueError: If the store is another one or has no documents; or if it compares vectors by dot product or
            Euclidean distance and they are not of unit length, since a model learns directions alone.

    """
    return read_documents(store)


def read_documents(store: Any, limit: int | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Read as `texts_and_vectors`, the first `limit` of the documents that are not left out."""
    rows, metric = _open(store)
    texts: list[str] = []
    batches: list[npt.NDArray[np.float32]] = []
    dims: set[int] = set()
    counted = islice((row for row in rows if _has_text_and_vector(*row)), limit)
    while batch := list(islice(counted, BATCH_SIZE)):
        texts += [text for text, _ in batch]
        dims |= {len(vector) for _, vector in batch}
        if len(dims) > 1:
            raise ValueError(f"The store has vectors of {' and of '.join(map(str, sorted(dims)))} dimensions.")
        batches.append(np.asarray([vector for _, vector in batch], np.float32))
        lengths = np.linalg.norm(batches[-1], axis=1)
        if metric != "cosine" and not (np.abs(lengths - 1) <= TOLERANCE).all():
            raise ValueError(
                f"The store compares vectors by {metric}, and they are not of unit length: the shortest of some has "
                f"length {lengths.min():.3g} and the longest {lengths.max():.3g}. A model learns the directions of "
                f"vectors alone; scale them to unit length, or use a store that compares cosines."
            )
    if not batches:
        raise ValueError(f"The {type(store).__name__} has no documents with a text and a vector.")
    return texts, np.concatenate(batches)


def _open(store: Any) -> tuple[Iterator[Row], str]:
    """Return the texts and vectors of a store, and how it compares vectors; a store is known by what it offers."""
    vector_store = getattr(store, "vector_store", store)
    collection = getattr(vector_store, "client", None)
    if hasattr(store, "docstore") and hasattr(getattr(vector_store, "data", None), "embedding_dict"):
        return _rows_of_index(store), "cosine"
    if hasattr(collection, "configuration") and hasattr(collection, "get"):
        return _rows_of_chroma(collection), _metric_of_chroma(collection)
    if hasattr(vector_store, "vector_column_name") and hasattr(vector_store, "_table"):
        # Its property `table` raises where there is none yet.
        if vector_store._table is None:
            return iter(()), "cosine"
        return _rows_of_lancedb(vector_store), _metric_of_lancedb(vector_store)
    raise ValueError(
        f"{type(vector_store).__name__} is not a store whose texts and vectors can be read: those are a "
        f"VectorStoreIndex over a SimpleVectorStore, a ChromaVectorStore and a LanceDBVectorStore. Pass the texts and "
        f"their vectors to wordllama_st.adapt yourself."
    )


def _rows_of_index(index: Any) -> Iterator[Row]:
    # The vectors are in the vector store, by ids that the index has the nodes of.
    nodes_dict, vectors = index.index_struct.nodes_dict, index.vector_store.data.embedding_dict
    for ids in _in_batches(nodes_dict):
        nodes = index.docstore.get_nodes([nodes_dict[id_] for id_ in ids], raise_error=False)
        by_id = {node.node_id: node for node in nodes}
        for id_ in ids:
            if (node := by_id.get(nodes_dict[id_])) is not None:
                yield node.get_content(metadata_mode=MetadataMode.EMBED), vectors.get(id_)


def _rows_of_chroma(collection: Any) -> Iterator[Row]:
    # By ids, since pages by offset shift when the collection changes.
    for ids in _in_batches(collection.get(include=[])["ids"]):
        found = collection.get(ids=ids, include=["documents", "embeddings", "metadatas"])
        vectors = [None] * len(ids) if found["embeddings"] is None else found["embeddings"]
        for text, metadata, vector in zip(found["documents"], found["metadatas"], vectors, strict=True):
            yield _embedded_text(metadata, text), vector


def _metric_of_chroma(collection: Any) -> str:
    configuration = collection.configuration
    index = configuration.get("hnsw") or configuration.get("spann") or {}
    return {"cosine": "cosine", "ip": "dot product"}.get(str(index.get("space")), "Euclidean distance")


def _rows_of_lancedb(store: Any) -> Iterator[Row]:
    columns = [store.text_key, store.vector_column_name]
    if "metadata" in store.table.schema.names:
        columns.append("metadata")
    for batch in store.table.search().select(columns).to_batches(BATCH_SIZE):
        texts = batch[store.text_key].to_pylist()
        vectors = batch[store.vector_column_name].to_numpy(zero_copy_only=False)
        metadatas = batch["metadata"].to_pylist() if "metadata" in columns else [None] * len(texts)
        for text, metadata, vector in zip(texts, metadatas, vectors, strict=True):
            yield _embedded_text(metadata, text), vector


def _metric_of_lancedb(store: Any) -> str:
    # Without an index on the vectors, the adapter searches by Euclidean distance.
    for index in store.table.list_indices():
        if store.vector_column_name in index.columns:
            metric = str(store.table.index_stats(index.name).distance_type).lower()
            return {"cosine": "cosine", "dot": "dot product"}.get(metric, "Euclidean distance")
    return "Euclidean distance"


def _embedded_text(metadata: dict[str, Any] | None, text: str | None) -> str:
    """Return what was embedded of a document: with metadata, if LlamaIndex stored it, and otherwise its text."""
    if not metadata or not metadata.get("_node_content"):
        return text or ""
    return metadata_dict_to_node(metadata, text=text).get_content(metadata_mode=MetadataMode.EMBED)


def _has_text_and_vector(text: str, vector: Any) -> bool:
    return bool(text.strip()) and vector is not None and bool(np.any(vector))


def _in_batches(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while batch := list(islice(rest, BATCH_SIZE)):
        yield batch

"""Documents and vectors of vector stores, for ``wordllama_st.adapt``."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from langchain_core.vectorstores import InMemoryVectorStore
from wordllama_st.data.stores import is_chroma, is_lancedb, read_chroma, read_lancedb, unreadable, with_texts


def texts_and_vectors(store: Any, *, limit: int | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Read the documents of a vector store, and the vectors that its embeddings have given them.

    Documents without a text are left out.

    Args:
        store: `Chroma`, a collection of chromadb, `LanceDB`, a table of lancedb, or `InMemoryVectorStore`.
        limit: Number of documents to read. None reads all.

    Returns:
        n texts, and their vectors [n, D].

    Raises:
        ValueError: If the store does not give its vectors back, has no documents with a text, or compares vectors by
            something else than the cosine and their lengths differ.
    """
    collection = getattr(store, "_collection", store)
    if is_chroma(collection):
        texts, _, vectors = read_chroma(collection, limit)
        return texts, vectors
    table = store.get_table() if hasattr(store, "get_table") else store
    if is_lancedb(table):
        texts, _, vectors = read_lancedb(table, limit)
        return texts, vectors
    if isinstance(store, InMemoryVectorStore):
        entries = list(islice(store.store.values(), limit))
        given = [np.asarray([entry["vector"] for entry in entries], np.float32)]
        texts, _, vectors = with_texts([entry["text"] for entry in entries], [{}] * len(entries), given, "The store")
        return texts, vectors
    raise unreadable(store)

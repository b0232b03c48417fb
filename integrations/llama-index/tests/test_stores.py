"""Texts and vectors of stores.

Protects: each store gives the texts that were embedded, metadata and all, with their vectors; documents without either
are left out; what a model cannot learn from is refused.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from conftest import FACTS
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.embeddings.wordllama import WordLlamaEmbedding, stores, texts_and_vectors
from llama_index.vector_stores.chroma import ChromaVectorStore
from llama_index.vector_stores.lancedb import LanceDBVectorStore

NAMES = ("simple", "chroma", "lancedb")


def chroma(space: str = "l2") -> ChromaVectorStore:
    client = chromadb.EphemeralClient()
    collection = client.create_collection(uuid.uuid4().hex, configuration={"hnsw": {"space": space}})
    return ChromaVectorStore(chroma_collection=collection)


def vector_store(name: str, path: Path) -> Any:
    if name == "simple":
        return SimpleVectorStore()
    return chroma() if name == "chroma" else LanceDBVectorStore(uri=str(path))


def nodes(embedding: WordLlamaEmbedding) -> list[TextNode]:
    made = [
        TextNode(text=fact, metadata={"number": number, "file": "facts.txt"}, excluded_embed_metadata_keys=["file"])
        for number, fact in enumerate(FACTS)
    ]
    return [node for node in embedding(made) if isinstance(node, TextNode)]


def fill(store: Any, some: list[TextNode], embedding: WordLlamaEmbedding) -> VectorStoreIndex:
    storage = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(some, storage_context=storage, embed_model=embedding)


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_those_that_were_embedded(
    name: str, embedding: WordLlamaEmbedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "BATCH_SIZE", 3)
    index = fill(vector_store(name, tmp_path), nodes(embedding), embedding)
    for source in [index] if name == "simple" else [index, index.vector_store]:
        texts, vectors = texts_and_vectors(source)
        assert sorted(texts) == sorted(f"number: {number}\n\n{fact}" for number, fact in enumerate(FACTS))
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, embedding.get_text_embedding_batch(texts), atol=1e-6)
    embedding.check_store(index)


def test_an_index_that_was_loaded_from_disk(embedding: WordLlamaEmbedding, tmp_path: Path) -> None:
    index = VectorStoreIndex(nodes(embedding), embed_model=embedding)
    index.storage_context.persist(str(tmp_path))
    loaded = load_index_from_storage(StorageContext.from_defaults(persist_dir=str(tmp_path)), embed_model=embedding)
    texts, vectors = texts_and_vectors(loaded)
    assert texts == [node.get_content(MetadataMode.EMBED) for node in nodes(embedding)]
    np.testing.assert_allclose(vectors, embedding.get_text_embedding_batch(texts), atol=1e-6)


def test_documents_of_other_programs_are_their_texts() -> None:
    store = chroma("cosine")
    store.client.add(ids=["a", "b"], embeddings=[[1, 2], [3, 4]], documents=["cats", "dogs"])
    texts, vectors = texts_and_vectors(store)
    assert dict(zip(texts, vectors.tolist(), strict=True)) == {"cats": [1, 2], "dogs": [3, 4]}


@pytest.mark.parametrize("name", NAMES)
def test_documents_without_text_or_vector_are_left_out(
    name: str, embedding: WordLlamaEmbedding, tmp_path: Path
) -> None:
    some = nodes(embedding)[:3]
    some += [TextNode(text=" ", embedding=some[0].embedding), TextNode(text="cats", embedding=[0.0] * 256)]
    index = fill(vector_store(name, tmp_path), some, embedding)
    assert len(texts_and_vectors(index)[0]) == 3


@pytest.mark.parametrize("name", ["l2", "ip", "lancedb"])
def test_vectors_that_are_not_of_unit_length_are_refused(
    name: str, embedding: WordLlamaEmbedding, tmp_path: Path
) -> None:
    store = vector_store(name, tmp_path) if name == "lancedb" else chroma(name)
    store.add([TextNode(text=fact, embedding=[3.0, 4.0]) for fact in FACTS])
    with pytest.raises(ValueError, match=r"compares vectors by (Euclidean distance|dot product), and they are not"):
        texts_and_vectors(store)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_lancedb_compares_cosines_where_its_index_does(tmp_path: Path) -> None:
    store = LanceDBVectorStore(uri=str(tmp_path))
    vectors = 2 * np.random.default_rng(0).normal(size=(300, 8))
    store.add([TextNode(text=f"Text {n}", embedding=vector) for n, vector in enumerate(vectors.tolist())])
    store.create_index(num_partitions=1, num_sub_vectors=2, metric="cosine")
    assert len(texts_and_vectors(store)[0]) == 300


@pytest.mark.parametrize("name", ["chroma", "lancedb"])
def test_an_empty_store_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="VectorStore has no documents"):
        texts_and_vectors(vector_store(name, tmp_path))


@pytest.mark.parametrize("store", [SimpleVectorStore(), object()])
def test_another_store_is_named(store: Any) -> None:
    with pytest.raises(ValueError, match=rf"{type(store).__name__} is not a store .* to wordllama_st\.adapt yourself"):
        texts_and_vectors(store)

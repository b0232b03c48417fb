"""Indexes of other embeddings: read from their stores, adapted to, and searched by static queries."""

from pathlib import Path
from typing import Any

import chromadb
import lancedb
import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_huggingface import HuggingFaceEmbeddings
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Router
from wordllama_st import StaticEncoder, adapt, static_model_from_pretrained

from langchain_wordllama import WordLlamaEmbeddings, texts_and_vectors

from .texts import TEXTS, THINGS

MODEL = "wordllama-l2-supercat-64"


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceEmbeddings:
    path = tmp_path_factory.mktemp("models") / "embedder"
    StaticEncoder.from_pretrained(MODEL).save_pretrained(path)
    return HuggingFaceEmbeddings(model_name=str(path), encode_kwargs={"normalize_embeddings": True})


@pytest.fixture(scope="module")
def vectors(embedder: HuggingFaceEmbeddings) -> list[list[float]]:
    return embedder.embed_documents(TEXTS)


def many(vectors: list[list[float]]) -> tuple[list[str], list[list[float]]]:
    """More documents than are read at a time."""
    return [f"{text} {copy}" for copy in range(5) for text in TEXTS], vectors * 5


def chroma(texts: list[str], vectors: list[list[float]], space: str = "cosine") -> Any:
    """Fill a collection, whose client is gone when the next one is filled."""
    client = chromadb.Client()
    if "index" in [collection.name for collection in client.list_collections()]:
        client.delete_collection("index")
    configuration: Any = {"hnsw": {"space": space}}
    collection = client.create_collection("index", configuration=configuration, embedding_function=None)
    ids = [str(number) for number in range(len(texts))]
    collection.add(ids=ids, documents=texts, embeddings=vectors)  # type: ignore[arg-type]
    return collection


def test_an_index_is_adapted_to_and_searched(embedder: HuggingFaceEmbeddings, tmp_path: Path) -> None:
    store = Chroma.from_texts(TEXTS, embedder, persist_directory=str(tmp_path / "index"))
    texts, vectors = texts_and_vectors(store)
    assert sorted(texts) == sorted(TEXTS)
    adapt(embedder.model_name, texts, tmp_path / "adapted", vectors=vectors, epochs=3, show_progress_bar=False)
    embeddings = WordLlamaEmbeddings(model=tmp_path / "adapted", documents=embedder)
    embeddings.check_store(store)
    searched = Chroma(persist_directory=str(tmp_path / "index"), embedding_function=embeddings)
    new = "Lemons from the castle in Lima."
    searched.add_texts([new], ids=["new"])
    np.testing.assert_allclose(
        searched.get("new", include=["embeddings"])["embeddings"], embedder.embed_documents([new]), atol=1e-6
    )
    for thing in THINGS:
        assert thing in searched.similarity_search(f"{thing} in Oslo", k=1)[0].page_content
    turned = InMemoryVectorStore(embeddings)
    turned.store = {
        str(number): {"text": text, "vector": vector[::-1]}
        for number, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    }
    with pytest.raises(ValueError, match="of another space"):
        embeddings.check_store(turned)


def test_collections_of_chroma(vectors: list[list[float]]) -> None:
    texts, expected = many(vectors)
    collection = chroma(texts, expected)
    read, found = texts_and_vectors(collection)
    assert read == texts
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    collection.add(ids=["without a text"], embeddings=[vectors[0]])
    assert texts_and_vectors(collection)[0] == texts


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_lengths_must_not_count_in_chroma(vectors: list[list[float]], space: str) -> None:
    assert texts_and_vectors(chroma(TEXTS, vectors, space))[0] == TEXTS
    long = (np.asarray(vectors) * 3).tolist()
    assert texts_and_vectors(chroma(TEXTS, long, "cosine"))[0] == TEXTS
    with pytest.raises(ValueError, match=f"Collection are not of unit length .* length 3.*'{space}', where length"):
        texts_and_vectors(chroma(TEXTS, long, space))


def test_tables_of_lancedb(vectors: list[list[float]], tmp_path: Path) -> None:
    texts, expected = many(vectors)
    database = lancedb.connect(tmp_path)
    rows: list[dict[str, Any]] = [
        {"id": text, "text": text, "vector": vector} for text, vector in zip(texts, expected, strict=True)
    ]
    table = database.create_table("index", [*rows, {"id": "none", "text": None, "vector": vectors[0]}])
    read, found = texts_and_vectors(table)
    assert read == texts
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    long = database.create_table("long", [{**row, "vector": [2 * value for value in row["vector"]]} for row in rows])
    with pytest.raises(ValueError, match=r"LanceTable are not of unit length .*'l2'"):
        texts_and_vectors(long)
    long.create_index("vector", config=lancedb.index.IvfFlat(distance_type="cosine", num_partitions=2))
    assert texts_and_vectors(long)[0] == texts
    other = database.create_table("other", [{"content": "a text", "vector": vectors[0]}])
    with pytest.raises(ValueError, match="LanceTable cannot be read here"):
        texts_and_vectors(other)


def test_documents_of_an_asymmetric_model_go_through_its_other_side(tmp_path: Path) -> None:
    document, query = static_model_from_pretrained(MODEL), static_model_from_pretrained(MODEL)
    query[0].embedding.weight.data = query[0].embedding.weight.data.flip(1)  # type: ignore[union-attr, operator]
    router = Router.for_query_document(query_modules=[query[0], Normalize()], document_modules=[document[0]])
    model = SentenceTransformer(modules=[router])
    model.save_pretrained(str(tmp_path / "model"))
    embeddings = WordLlamaEmbeddings(model=tmp_path / "model")
    expected = model.encode_document(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), model.encode_query(TEXTS[0]), rtol=0, atol=1e-6)
    assert embeddings.embed_documents([]) == []
    for setting in ({"dimensions": 32}, {"document_prompt": "passage: "}):
        with pytest.raises(ValueError, match=next(iter(setting))):
            WordLlamaEmbeddings(model=tmp_path / "model", **setting)  # type: ignore[arg-type]

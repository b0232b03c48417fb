"""A cache in front of the embeddings."""

from pathlib import Path

from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.storage import LocalFileStore

from langchain_wordllama import WordLlamaEmbeddings

TEXTS = ["one text", "another text", "größer als 東京"]


async def test_cached_vectors_are_the_same(embeddings: WordLlamaEmbeddings, tmp_path: Path) -> None:
    cached = CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        LocalFileStore(tmp_path),
        namespace=embeddings.model,
        query_embedding_cache=True,
        key_encoder="blake2b",
    )
    expected = embeddings.embed_documents(TEXTS)
    assert cached.embed_documents(TEXTS) == expected
    assert len(list(tmp_path.iterdir())) == len(TEXTS)
    assert cached.embed_documents(TEXTS) == expected
    assert await cached.aembed_documents([*TEXTS, "a new one"]) == [*expected, embeddings.embed_query("a new one")]
    assert cached.embed_query(TEXTS[0]) == expected[0]


def test_what_is_cached_is_not_embedded(embeddings: WordLlamaEmbeddings, tmp_path: Path) -> None:
    CacheBackedEmbeddings.from_bytes_store(
        embeddings, LocalFileStore(tmp_path), namespace="n", key_encoder="sha256"
    ).embed_documents(TEXTS)
    other_model = WordLlamaEmbeddings(dimensions=64)
    cached = CacheBackedEmbeddings.from_bytes_store(
        other_model, LocalFileStore(tmp_path), namespace="n", key_encoder="sha256"
    )
    assert cached.embed_documents(TEXTS) == embeddings.embed_documents(TEXTS)

"""Documents that other embeddings embed, in the space of which the model embeds queries."""

import copy
import pickle
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError
from wordllama_st import StaticEncoder
from wordllama_st.static.space import VectorSpace

from langchain_wordllama import WordLlamaEmbeddings, texts_and_vectors

TEXTS = ["How do I reset my password?", "The meaning of life is 42", "The express departs at noon.", ""]
TEXTS += [f"The {animal} sleeps in the garden." for animal in ("cat", "dog", "falcon", "hedgehog", "horse", "otter")]


@pytest.fixture(scope="module")
def encoder() -> StaticEncoder:
    return StaticEncoder.from_pretrained("wordllama-l2-supercat-64")


@pytest.fixture(scope="module")
def adapted(encoder: StaticEncoder, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that embeds queries in the space of wordllama-l2-supercat-64, roughly."""
    noise = np.random.default_rng(0).normal(scale=0.2, size=encoder.table.weight.shape)
    weight = (encoder.table.weight * (1 + noise)).astype(np.float32)
    path = tmp_path_factory.mktemp("models") / "adapted"
    space = VectorSpace(64, 0.9, "an embedder")
    StaticEncoder(replace(encoder.table, weight=weight, space=space)).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def projected(encoder: StaticEncoder, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that embeds queries in 16 axes of that space."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 16)))[0].astype(np.float32)
    weight = encoder.table.weight.astype(np.float32) @ axes
    path = tmp_path_factory.mktemp("models") / "projected"
    StaticEncoder(replace(encoder.table, weight=weight, space=VectorSpace(64, 0.9, axes=axes))).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def others() -> WordLlamaEmbeddings:
    return WordLlamaEmbeddings(model="wordllama-l2-supercat-64")


@pytest.fixture(scope="module")
def strangers(encoder: StaticEncoder, tmp_path_factory: pytest.TempPathFactory) -> WordLlamaEmbeddings:
    """Embeddings of another space with as many dimensions."""
    path = tmp_path_factory.mktemp("models") / "stranger"
    weight = np.ascontiguousarray(encoder.table.weight[:, ::-1])
    StaticEncoder(replace(encoder.table, weight=weight)).save_pretrained(path)
    return WordLlamaEmbeddings(model=path)


async def test_documents_have_the_vectors_of_the_other_embeddings(adapted: str, others: WordLlamaEmbeddings) -> None:
    embeddings = WordLlamaEmbeddings(model=adapted, documents=others)
    assert embeddings.embed_documents(TEXTS) == others.embed_documents(TEXTS)
    assert await embeddings.aembed_documents(TEXTS) == others.embed_documents(TEXTS)
    assert embeddings.embed_query(TEXTS[0]) == WordLlamaEmbeddings(model=adapted).embed_query(TEXTS[0])
    assert embeddings.embed_query(TEXTS[0]) != others.embed_query(TEXTS[0])
    assert embeddings.embed_documents([]) == await embeddings.aembed_documents([]) == []


async def test_async_calls_are_async_calls_of_the_other_embeddings(adapted: str, others: WordLlamaEmbeddings) -> None:
    class OnlyAsync(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise AssertionError

        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            return others.embed_documents(texts)

        def embed_query(self, text: str) -> list[float]:
            raise AssertionError

    embeddings = WordLlamaEmbeddings(model=adapted, documents=OnlyAsync())
    assert await embeddings.aembed_documents(TEXTS) == others.embed_documents(TEXTS)


def test_vectors_are_projected_to_where_queries_are(projected: str, others: WordLlamaEmbeddings) -> None:
    embeddings = WordLlamaEmbeddings(model=projected, documents=others)
    vectors = embeddings.embed_documents(TEXTS)
    np.testing.assert_allclose(vectors[:3], [embeddings.embed_query(text) for text in TEXTS[:3]], atol=1e-5)


async def test_embeddings_of_another_space_are_refused(
    adapted: str, others: WordLlamaEmbeddings, strangers: WordLlamaEmbeddings
) -> None:
    embeddings = WordLlamaEmbeddings(model=adapted, documents=strangers)
    message = "another space: the model embeds queries in the space of an embedder"
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            embeddings.embed_documents(TEXTS)
    with pytest.raises(ValueError, match=message):
        await embeddings.aembed_documents(TEXTS)
    wider = WordLlamaEmbeddings(model=adapted, documents=WordLlamaEmbeddings())
    with pytest.raises(ValueError, match=r"have 256 dimensions, and the model .* 64"):
        wider.embed_documents(TEXTS)


def test_documents_that_come_one_by_one_are_checked_together(adapted: str, others: WordLlamaEmbeddings) -> None:
    checked = [f"{text} {number}" for number in range(8) for text in TEXTS]
    embeddings = WordLlamaEmbeddings(model=adapted, documents=others)
    assert [embeddings.embed_documents([text])[0] for text in checked] == others.embed_documents(checked)


def test_without_a_space_dimensions_are_compared(others: WordLlamaEmbeddings, strangers: WordLlamaEmbeddings) -> None:
    embeddings = WordLlamaEmbeddings(model="wordllama-l2-supercat-64", documents=strangers)
    assert embeddings.embed_documents(TEXTS) == strangers.embed_documents(TEXTS)
    wider = WordLlamaEmbeddings(documents=others)
    with pytest.raises(ValueError, match="have 64 dimensions, and the model's embeddings of queries 256"):
        wider.embed_documents(TEXTS)


@pytest.mark.parametrize("setting", [{"dimensions": 32}, {"document_prompt": "passage: "}])
def test_settings_for_documents_are_refused(adapted: str, others: WordLlamaEmbeddings, setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"`{next(iter(setting))}` is for documents that the static model embeds"):
        WordLlamaEmbeddings(model=adapted, documents=others, **setting)
    with pytest.raises(ValidationError, match="instance of Embeddings"):
        WordLlamaEmbeddings(model=adapted, documents="all-MiniLM-L6-v2")


def test_copies_and_pickles_keep_the_other_embeddings(adapted: str, others: WordLlamaEmbeddings) -> None:
    embeddings = WordLlamaEmbeddings(model=adapted, documents=others)
    vectors = embeddings.embed_documents(TEXTS)
    pickled = pickle.loads(pickle.dumps(embeddings))
    updated = embeddings.model_copy(update={"query_prompt": "ask: "})
    for other in (copy.copy(embeddings), copy.deepcopy(embeddings), pickled):
        assert other == embeddings
        assert other.embed_documents(TEXTS) == vectors
    assert updated.documents is others
    assert embeddings != WordLlamaEmbeddings(model=adapted)


def test_a_dump_holds_the_other_embeddings_settings(adapted: str, others: WordLlamaEmbeddings) -> None:
    embeddings = WordLlamaEmbeddings(model=adapted, documents=others)
    dump = embeddings.model_dump()
    assert dump["documents"] == others.model_dump()
    with pytest.raises(ValidationError, match="instance of Embeddings"):  # not embedded by something else unnoticed
        WordLlamaEmbeddings(**dump)
    assert WordLlamaEmbeddings(**{**dump, "documents": others}) == embeddings


def test_a_store_in_memory(adapted: str, others: WordLlamaEmbeddings, strangers: WordLlamaEmbeddings) -> None:
    texts = [f"{text} {number}" for number in range(300) for text in TEXTS[:3]]
    store = InMemoryVectorStore.from_texts([*texts, "", "  "], others)
    read, vectors = texts_and_vectors(store)
    assert read == texts
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, np.asarray(others.embed_documents(texts), np.float32))
    embeddings = WordLlamaEmbeddings(model=adapted)
    embeddings.check_store(store)
    with pytest.raises(ValueError, match="of another space"):
        embeddings.check_store(InMemoryVectorStore.from_texts(texts, strangers))
    with pytest.raises(ValueError, match="have 256 dimensions"):
        embeddings.check_store(InMemoryVectorStore.from_texts(texts, WordLlamaEmbeddings()))


def test_a_store_of_projected_vectors(projected: str, others: WordLlamaEmbeddings) -> None:
    embeddings = WordLlamaEmbeddings(model=projected, documents=others)
    embeddings.check_store(InMemoryVectorStore.from_texts(TEXTS, embeddings))
    with pytest.raises(ValueError, match="have 64 dimensions"):  # queries of 16 do not search them
        embeddings.check_store(InMemoryVectorStore.from_texts(TEXTS, others))


def test_stores_that_cannot_be_read(others: WordLlamaEmbeddings) -> None:
    with pytest.raises(ValueError, match="documents of a Fraction cannot be read here"):
        texts_and_vectors(Fraction(1))
    with pytest.raises(ValueError, match="InMemoryVectorStore has no documents"):
        texts_and_vectors(InMemoryVectorStore(others))
    mixed = InMemoryVectorStore.from_texts(TEXTS, others)
    mixed.embedding = WordLlamaEmbeddings()
    mixed.add_texts(TEXTS)
    with pytest.raises(ValueError, match=r"different dimensions: \[64, 256\]"):
        texts_and_vectors(mixed)

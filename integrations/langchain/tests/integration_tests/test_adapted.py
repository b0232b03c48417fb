"""Models that embed queries in the space of other embeddings: adapted to a real store, and querying it."""

import pickle
from pathlib import Path

import lancedb
import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from wordllama_st import adapt
from wordllama_st.data.docstrings import extract_docstrings, installed_packages

from langchain_wordllama import WordLlamaEmbeddings, texts_and_vectors

#: Stands for the embedder that filled the store; its tokens and dims are not those of the models adapted to it.
EMBEDDER = WordLlamaEmbeddings(model="wordllama-l2-supercat-128")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    found = extract_docstrings(installed_packages()["numpy"], limit=400)
    return list(dict.fromkeys(docstring.body[:400] for docstring in found))[:250]


@pytest.fixture(scope="module")
def store(texts: list[str]) -> Chroma:
    return Chroma.from_texts(
        texts, EMBEDDER, collection_name="filled-elsewhere", collection_configuration={"hnsw": {"space": "cosine"}}
    )


@pytest.fixture(scope="module")
def models(store: Chroma, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories of a model adapted to the store, of one in 32 dims, and of an asymmetric one."""
    from wordllama_st import static_model_from_pretrained

    folder = tmp_path_factory.mktemp("models")
    documents, vectors = texts_and_vectors(store)
    source = "wordllama-l2-supercat-64"
    adapt(source, documents, folder / "queries", vectors=vectors, epochs=3)
    teacher = static_model_from_pretrained("wordllama-l2-supercat-128")
    adapt(source, documents, folder / "cut", teacher=teacher, asymmetric=folder / "pair", dim=32, epochs=3)
    return folder


def test_a_store_gives_its_texts_and_vectors(store: Chroma, texts: list[str], tmp_path: Path) -> None:
    vectors = np.asarray(EMBEDDER.embed_documents(texts), np.float32)
    table = lancedb.connect(tmp_path).create_table(
        "texts", [{"text": text, "vector": vector} for text, vector in zip(texts, vectors, strict=True)]
    )
    for filled in (store, store._collection, InMemoryVectorStore.from_texts(texts, EMBEDDER), table):
        found, given = texts_and_vectors(filled)
        order = [texts.index(text) for text in found]
        assert sorted(order) == list(range(len(texts)))
        np.testing.assert_allclose(given, vectors[order], atol=1e-6)
        assert len(texts_and_vectors(filled, limit=10)[0]) == 10


class Forgetful(VectorStore):
    """A store that does not give its vectors back."""

    def similarity_search(self, query: str, k: int = 4, **options: object) -> list[Document]:
        return []

    @classmethod
    def from_texts(cls, *arguments: object, **options: object) -> "Forgetful":  # type: ignore[override]
        return cls()


def test_stores_that_cannot_be_learned_from_are_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="Forgetful does not give its documents and vectors back"):
        texts_and_vectors(Forgetful())
    long = WordLlamaEmbeddings(model="wordllama-l2-supercat-128", normalize=False)
    dot = Chroma.from_texts(texts[:20], long, collection_name="dot", collection_configuration={"hnsw": {"space": "ip"}})
    with pytest.raises(ValueError, match="compares vectors by ip, and their lengths are"):
        texts_and_vectors(dot)


def test_a_store_filled_elsewhere_is_queried_as_it_is(store: Chroma, models: Path, texts: list[str]) -> None:
    embeddings = WordLlamaEmbeddings(model=models / "queries", documents=EMBEDDER)
    embeddings.check_store(store)
    queried = Chroma("filled-elsewhere", embeddings)
    found = [queried.similarity_search(text, k=5) for text in texts[:50]]
    assert sum(text in [one.page_content for one in five] for text, five in zip(texts, found, strict=False)) > 40
    assert embeddings.embed_documents(texts[:3]) == EMBEDDER.embed_documents(texts[:3])
    assert len(embeddings.embed_query("a query")) == 128
    queried.add_texts(["a further document about llamas"], ids=["further"])
    stored = queried.get("further", include=["embeddings"])["embeddings"][0]
    np.testing.assert_allclose(stored, EMBEDDER.embed_query("a further document about llamas"), atol=1e-6)
    queried.delete(["further"])


def test_documents_are_delegated_and_settings_survive(models: Path, texts: list[str]) -> None:
    embeddings = WordLlamaEmbeddings(model=models / "queries", documents=EMBEDDER)
    again = pickle.loads(pickle.dumps(embeddings))
    assert again.embed_documents(texts[:10]) == embeddings.embed_documents(texts[:10])
    assert "documents" not in embeddings.model_dump()
    assert embeddings.model_copy() == embeddings
    assert embeddings.embed_documents([]) == []


class Turned(Embeddings):
    """Embeddings of another space with the same dims."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector[::-1] for vector in EMBEDDER.embed_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def test_another_space_is_refused(models: Path, texts: list[str]) -> None:
    embeddings = WordLlamaEmbeddings(model=models / "queries", documents=Turned())
    with pytest.raises(ValueError, match="of another space"):
        embeddings.embed_documents(texts[:20])
    with pytest.raises(ValueError, match="of another space"):
        embeddings.check_store(InMemoryVectorStore.from_texts(texts, Turned()))
    with pytest.raises(ValueError, match="have 64 dimensions"):
        WordLlamaEmbeddings(
            model=models / "queries", documents=WordLlamaEmbeddings(model="wordllama-l2-supercat-64")
        ).embed_documents(texts[:20])
    with pytest.raises(ValueError, match="dimensions is for documents that the model embeds"):
        WordLlamaEmbeddings(model=models / "queries", documents=EMBEDDER, dimensions=32)


def test_an_asymmetric_model_brings_its_document_side(models: Path, texts: list[str]) -> None:
    from sentence_transformers import SentenceTransformer

    embeddings = WordLlamaEmbeddings(model=models / "pair")
    stock = SentenceTransformer(str(models / "pair"))
    np.testing.assert_allclose(embeddings.embed_documents(texts[:10]), stock.encode_document(texts[:10]), atol=1e-5)
    np.testing.assert_allclose(embeddings.embed_query(texts[0]), stock.encode_query(texts[0]), atol=1e-5)
    cut = WordLlamaEmbeddings(model=models / "cut", documents=EMBEDDER)
    np.testing.assert_allclose(cut.embed_documents(texts[:10]), stock.encode_document(texts[:10]), atol=1e-3)
    cut.check_store(InMemoryVectorStore.from_texts(texts, cut))

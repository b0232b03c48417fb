"""Vector stores that hold our vectors: in memory and on disk, behind a retriever and in a chain."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from langchain_wordllama import WordLlamaEmbeddings

COSINE = {"hnsw": {"space": "cosine"}}


@pytest.fixture(params=["memory", "chroma", "chroma, cosine"])
def store(request: pytest.FixtureRequest, embeddings: WordLlamaEmbeddings, tmp_path: Path) -> VectorStore:
    if request.param == "memory":
        return InMemoryVectorStore(embeddings)
    configuration = COSINE if "cosine" in request.param else None
    return Chroma("test", embeddings, str(tmp_path), collection_configuration=configuration)  # type: ignore[arg-type]


def test_questions_find_their_answers(store: VectorStore, documents: list[Document], answers: dict[str, str]) -> None:
    store.add_documents(documents)
    for question, answer in answers.items():
        assert store.similarity_search(question, k=1)[0].page_content == answer
        assert store.max_marginal_relevance_search(question, k=2, fetch_k=3)[0].page_content == answer


async def test_questions_find_their_answers_in_async_calls(
    store: VectorStore, documents: list[Document], answers: dict[str, str]
) -> None:
    await store.aadd_documents(documents)
    for question, answer in answers.items():
        assert (await store.asimilarity_search(question, k=1))[0].page_content == answer


def test_relevance_scores_are_cosines_where_the_space_is_cosine(
    embeddings: WordLlamaEmbeddings, documents: list[Document], answers: dict[str, str]
) -> None:
    store = Chroma.from_documents(
        documents,
        embeddings,
        collection_name="cosines",
        collection_configuration=COSINE,  # type: ignore[arg-type]
    )
    for question in answers:
        [(found, score)] = store.similarity_search_with_relevance_scores(question, k=1)
        cosine = np.dot(embeddings.embed_query(question), embeddings.embed_query(found.page_content))
        assert score == pytest.approx(cosine, abs=1e-5)
    store.delete_collection()


def test_an_empty_document_is_not_found_where_the_space_is_cosine(
    embeddings: WordLlamaEmbeddings, documents: list[Document], answers: dict[str, str], tmp_path: Path
) -> None:
    cosine = Chroma("cosine", embeddings, str(tmp_path), collection_configuration=COSINE)  # type: ignore[arg-type]
    euclidean = Chroma("euclidean", embeddings, str(tmp_path))
    for store in (InMemoryVectorStore(embeddings), cosine, euclidean):
        store.add_documents([*documents, Document("", id="empty")])
        found = [store.similarity_search(question, k=1)[0].page_content for question in answers]
        # Between unit vectors of a cosine below a half, the distance to the zero vector is the shorter one.
        assert found == list(answers.values()) if store is not euclidean else "" in found


def test_an_empty_query(embeddings: WordLlamaEmbeddings, documents: list[Document]) -> None:
    # The zero vector is as near to everything: Chroma returns anything, and the store in memory refuses it.
    chroma = Chroma.from_documents(documents, embeddings, collection_name="empty-query")
    assert len(chroma.similarity_search("", k=2)) == 2
    chroma.delete_collection()
    with pytest.raises(ValueError, match="NaN"):
        InMemoryVectorStore.from_documents(documents, embeddings).similarity_search("", k=2)


def test_a_store_on_disk_answers_the_same_in_another_process(
    embeddings: WordLlamaEmbeddings, documents: list[Document], answers: dict[str, str], tmp_path: Path
) -> None:
    store = Chroma.from_documents(documents, embeddings, persist_directory=str(tmp_path))
    here = [
        (found.page_content, score)
        for question in answers
        for found, score in store.similarity_search_with_score(question, k=3)
    ]
    code = (
        "import sys\n"
        "from langchain_chroma import Chroma\n"
        "from langchain_wordllama import WordLlamaEmbeddings\n"
        "store = Chroma(embedding_function=WordLlamaEmbeddings(), persist_directory=sys.argv[1])\n"
        "print([(found.page_content, score) for question in sys.argv[2:]\n"
        "       for found, score in store.similarity_search_with_score(question, k=3)])\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *answers], check=True, capture_output=True, text=True
    )
    assert there.stdout.strip() == repr(here)


def test_a_store_in_memory_can_be_dumped_and_loaded(
    embeddings: WordLlamaEmbeddings, documents: list[Document], answers: dict[str, str], tmp_path: Path
) -> None:
    InMemoryVectorStore.from_documents(documents, embeddings).dump(str(tmp_path / "store.json"))
    loaded = InMemoryVectorStore.load(str(tmp_path / "store.json"), embeddings)
    for question, answer in answers.items():
        assert loaded.similarity_search(question, k=1)[0].page_content == answer


async def test_a_retriever_in_a_chain(store: VectorStore, documents: list[Document], answers: dict[str, str]) -> None:
    store.add_documents(documents)
    prompts: list[str] = []

    def keep(messages: list[BaseMessage]) -> list[BaseMessage]:
        prompts.append(str(messages[-1].content))
        return messages

    context = store.as_retriever(search_kwargs={"k": 1}) | (lambda found: found[0].page_content)
    chain = (
        {"context": context, "question": RunnablePassthrough()}
        | ChatPromptTemplate.from_template("Answer from this: {context}\n\n{question}")
        | RunnableLambda(lambda prompt: keep(prompt.to_messages()))
        | FakeListChatModel(responses=["An answer."])
        | StrOutputParser()
    )
    expected = [f"Answer from this: {answer}\n\n{question}" for question, answer in answers.items()]
    assert [chain.invoke(question) for question in answers] == ["An answer."] * 4
    assert prompts == expected
    prompts.clear()
    await chain.abatch(list(answers))
    assert sorted(prompts) == sorted(expected)

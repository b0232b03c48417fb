"""The embedding in LlamaIndex's indexes and pipelines, and in two vector databases on disk.

Protects: indexes, ingestion with its cache and document store, semantic splitting, retrievers and query engines work
with it; an index on disk gives another process the same results.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import chromadb
import pytest
from conftest import FACTS, Recorder
from llama_index.core import Settings, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SemanticSplitterNodeParser, SentenceSplitter
from llama_index.core.schema import Document, NodeWithScore, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.embeddings.wordllama import WordLlamaEmbedding
from llama_index.vector_stores.chroma import ChromaVectorStore
from llama_index.vector_stores.lancedb import LanceDBVectorStore

#: A question and the number of the fact that answers it.
QUESTIONS = {
    "How do I change my password?": 7,
    "Who scored in the football match?": 6,
    "Why do volcanoes erupt?": 2,
    "Where does the cat sleep?": 0,
    "My package never came. Do I get my money back?": 1,
}

STORES: dict[str, Callable[[Path], BasePydanticVectorStore]] = {
    "chroma": lambda path: ChromaVectorStore(
        chroma_collection=chromadb.PersistentClient(str(path)).get_or_create_collection("facts")
    ),
    "lancedb": lambda path: LanceDBVectorStore(uri=str(path)),
}
#: The same, for a process of its own.
STORES_ELSEWHERE = {
    "chroma": (
        "import chromadb; from llama_index.vector_stores.chroma import ChromaVectorStore\n"
        "store = ChromaVectorStore(chroma_collection=chromadb.PersistentClient(sys.argv[1]).get_collection('facts'))\n"
    ),
    "lancedb": (
        "from llama_index.vector_stores.lancedb import LanceDBVectorStore\n"
        "store = LanceDBVectorStore(uri=sys.argv[1])\n"
    ),
}


def answers(index: VectorStoreIndex) -> list[list[tuple[str, float]]]:
    """What is found for each of the questions, and how well it fits."""
    retriever = index.as_retriever(similarity_top_k=3)
    return [found(retriever.retrieve(question)) for question in QUESTIONS]


def found(nodes: list[NodeWithScore]) -> list[tuple[str, float]]:
    return [(node.text, round(node.get_score(), 5)) for node in nodes]


def assert_right(index: VectorStoreIndex) -> None:
    assert [first[0][0] for first in answers(index)] == [FACTS[number] for number in QUESTIONS.values()]


def answers_elsewhere(code: str, *arguments: str) -> list[list[tuple[str, float]]]:
    """What an index that another Python process opens finds."""
    script = (
        "import json, sys\n"
        "from llama_index.core import Settings, StorageContext, VectorStoreIndex, load_index_from_storage\n"
        "from llama_index.embeddings.wordllama import WordLlamaEmbedding\n"
        f"{code}"
        "retriever = index.as_retriever(similarity_top_k=3)\n"
        "results = [retriever.retrieve(question) for question in json.loads(sys.argv[-1])]\n"
        "print(json.dumps([[(node.text, round(node.get_score(), 5)) for node in nodes] for nodes in results]))\n"
    )
    command = [sys.executable, "-c", script, *arguments, json.dumps(list(QUESTIONS))]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return [[(text, score) for text, score in nodes] for nodes in json.loads(result.stdout.splitlines()[-1])]


def test_an_index_in_memory(embedding: WordLlamaEmbedding, documents: list[Document]) -> None:
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    assert_right(index)
    index.insert(Document(text="Bees dance to tell where the flowers are."))
    nodes = index.as_retriever(similarity_top_k=1).retrieve("What does the dance of bees mean?")
    assert nodes[0].text.startswith("Bees")


def test_an_asynchronous_index_is_the_same(embedding: WordLlamaEmbedding, documents: list[Document]) -> None:
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    index_async = VectorStoreIndex.from_documents(documents, embed_model=embedding, use_async=True)
    retriever = index_async.as_retriever(similarity_top_k=3)
    assert [found(asyncio.run(retriever.aretrieve(question))) for question in QUESTIONS] == answers(index)


def test_settings_and_a_query_engine(embedding: WordLlamaEmbedding, documents: list[Document]) -> None:
    before = Settings._embed_model, Settings._llm
    try:
        Settings.embed_model, Settings.llm = embedding, MockLLM()
        engine = VectorStoreIndex.from_documents(documents).as_query_engine(similarity_top_k=1)
        response = engine.query("How do I change my password?")
        assert [node.text for node in response.source_nodes] == [FACTS[7]]
        assert FACTS[7] in str(response)  # the mock answers with its prompt, which the passage is in
        assert [node.text for node in asyncio.run(engine.aquery("Why do volcanoes erupt?")).source_nodes] == [FACTS[2]]
    finally:
        Settings._embed_model, Settings._llm = before


def test_an_index_on_disk_answers_another_process(
    embedding: WordLlamaEmbedding, documents: list[Document], tmp_path: Path
) -> None:
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    index.storage_context.persist(str(tmp_path))
    code = (
        "storage = StorageContext.from_defaults(persist_dir=sys.argv[1])\n"
        "index = load_index_from_storage(storage, embed_model=WordLlamaEmbedding())\n"
    )
    assert answers_elsewhere(code, str(tmp_path)) == answers(index)


@pytest.mark.parametrize("name", STORES)
def test_a_database_on_disk_answers_another_process(
    name: str, embedding: WordLlamaEmbedding, documents: list[Document], tmp_path: Path
) -> None:
    storage = StorageContext.from_defaults(vector_store=STORES[name](tmp_path))
    index = VectorStoreIndex.from_documents(documents, storage_context=storage, embed_model=embedding)
    assert_right(index)
    code = STORES_ELSEWHERE[name] + "index = VectorStoreIndex.from_vector_store(store, WordLlamaEmbedding())\n"
    assert answers_elsewhere(code, str(tmp_path)) == answers(index)


def test_ingestion_embeds_nothing_twice(
    embedding: WordLlamaEmbedding, documents: list[Document], tmp_path: Path, recorder: Recorder
) -> None:
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=8), embedding])
    nodes = pipeline.run(documents=documents)
    assert [node.get_content() for node in nodes] == FACTS
    assert recorder.chunks() == FACTS
    pipeline.cache.persist(str(tmp_path / "cache.json"))

    # An equal embedding made anew has the same entries of the cache, one with other settings has none.
    for other, embedded in ((WordLlamaEmbedding(), 0), (WordLlamaEmbedding(dimensions=64), len(FACTS))):
        recorder.events.clear()
        again = IngestionPipeline(
            transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=8), other],
            cache=IngestionCache.from_persist_path(str(tmp_path / "cache.json")),
        ).run(documents=documents)
        assert len(recorder.chunks()) == embedded
        assert [node.embedding == same.embedding for node, same in zip(again, nodes, strict=True)] == (
            [not embedded] * len(FACTS)
        )


def test_ingestion_with_a_document_store_embeds_what_changed(
    embedding: WordLlamaEmbedding, documents: list[Document], tmp_path: Path, recorder: Recorder
) -> None:
    store = STORES["chroma"](tmp_path)
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), embedding],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS,
        vector_store=store,
    )
    pipeline.run(documents=documents)
    recorder.events.clear()
    documents[3] = Document(text="The choir sings on Sunday morning.", id_=documents[3].id_)
    pipeline.run(documents=documents)
    assert recorder.chunks() == ["The choir sings on Sunday morning."]
    retriever = VectorStoreIndex.from_vector_store(store, embed_model=embedding).as_retriever(similarity_top_k=8)
    texts = {node.text for node in retriever.retrieve("When does the choir sing?")}
    assert texts == {*FACTS, "The choir sings on Sunday morning."} - {FACTS[3]}


def test_ingestion_on_two_processes(embedding: WordLlamaEmbedding, documents: list[Document]) -> None:
    serial = IngestionPipeline(transformations=[embedding]).run(documents=documents)
    parallel = IngestionPipeline(transformations=[embedding]).run(documents=documents, num_workers=2)
    vectors = {node.text: node.embedding for node in parallel if isinstance(node, TextNode)}
    assert vectors == {node.text: node.embedding for node in serial if isinstance(node, TextNode)}


def test_asynchronous_ingestion(embedding: WordLlamaEmbedding, documents: list[Document]) -> None:
    serial = IngestionPipeline(transformations=[embedding]).run(documents=documents)
    nodes = asyncio.run(IngestionPipeline(transformations=[embedding]).arun(documents=documents))
    assert [node.embedding for node in nodes] == [node.embedding for node in serial]


def test_splitting_by_meaning(embedding: WordLlamaEmbedding) -> None:
    cooking = (
        "Chop the onions and fry them in butter. Add the garlic and the tomatoes to the pan. "
        "Season the sauce with salt, pepper and basil. Boil the pasta and stir it into the sauce. "
    )
    astronomy = (
        "The telescope observes distant galaxies. Stars form in clouds of interstellar gas. "
        "The planets of a star are found by its dimming light. Astronomers measure the redshift of galaxies."
    )
    splitter = SemanticSplitterNodeParser(embed_model=embedding, breakpoint_percentile_threshold=85, buffer_size=1)
    nodes = splitter.get_nodes_from_documents([Document(text=cooking + astronomy)])
    assert [node.get_content().strip() for node in nodes] == [cooking.strip(), astronomy.strip()]

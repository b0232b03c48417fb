"""The ladder of retrieval: BM25, static models, models adapted to an index, the embedder, each alone and with BM25.

    python benchmarks/retrieval.py cranfield cacm --embedder all-MiniLM-L6-v2 --out ladder

FOLDERS are BEIR folders; their documents are learned as one collection, and queries and judgements are used for scores
alone. The embedder's vectors of the documents are kept in OUT.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

from sentence_transformers import SentenceTransformer

from wordllama_st import StaticEncoder, adapt, evaluate
from wordllama_st.data.corpus import read_corpus
from wordllama_st.evaluation import read_retrieval
from wordllama_st.training.teacher import CachedTeacher

RELEASED = "wordllama-l2-supercat-256"


class Ladder:
    """The documents of some BEIR folders, their vectors by an embedder, and models adapted to them."""

    def __init__(self, folders: list[str], embedder: str, out: Path) -> None:
        self.folders, self.embedder, self.out = folders, embedder, out
        self.texts = [text for folder in folders for text in read_corpus(folder).texts if text]
        start = time.perf_counter()
        self.teacher = CachedTeacher(SentenceTransformer(embedder, device="cpu"), out / "teacher", True)
        self.vectors = self.teacher.encode(self.texts, "document")
        print(f"{len(self.texts):,} documents; their vectors in {time.perf_counter() - start:.0f} s\n", flush=True)

    def adapt(self, name: str, source: str | None = None, **arguments: Any) -> dict[str, Path]:
        """Adapt a model, and time it; with a teacher there is an asymmetric model as well."""
        path, pair = self.out / name, self.out / f"{name}-pair"
        if "teacher" in arguments:
            arguments |= {"asymmetric": pair, "cache": self.out / "teacher"}
        start = time.perf_counter()
        adapt(source or self.embedder, self.texts, path, vectors=self.vectors, overwrite=True, **arguments)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        return {name: path} | ({f"{name}, asymmetric": pair} if "teacher" in arguments else {})

    def against_vectors(self, path: Path) -> dict[str, Any]:
        """Pair a model that was adapted without a teacher with the embedder, for its scores against the vectors."""
        from wordllama_st import static_model_from_pretrained
        from wordllama_st.training.asymmetric import make_asymmetric_model

        return {
            f"{path.name}, asymmetric": make_asymmetric_model(static_model_from_pretrained(path), self.teacher.model)
        }


def compare_query_times(static: Path, embedder: SentenceTransformer, queries: list[str]) -> str:
    """Encode queries one by one, with each model after a first pass over them, and state the medians."""
    encoder, medians = StaticEncoder.from_pretrained(static), []
    for encode in (encoder.encode, embedder.encode_query):
        taken = []
        for query in 2 * queries:
            start = time.perf_counter()
            encode(query)
            taken.append(time.perf_counter() - start)
        medians.append(median(taken[len(queries) :]))
    ours, theirs = medians
    return f"a query alone: static {1e6 * ours:.0f} µs, embedder {1e3 * theirs:.1f} ms, {theirs / ours:.0f}x"


def main() -> None:
    """Print the ladder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="BEIR folders")
    parser.add_argument("--embedder", required=True, help="a SentenceTransformer")
    parser.add_argument("--out", type=Path, required=True, help="directory of models and vectors")
    options = parser.parse_args()
    ladder = Ladder(options.folders, options.embedder, options.out)
    tasks = [read_retrieval(folder) for folder in options.folders]
    vectors_only = ladder.adapt("adapted")
    models: dict[str, Any] = {"released": RELEASED} | ladder.adapt("adapted-released", RELEASED)
    models |= vectors_only | ladder.against_vectors(vectors_only["adapted"])
    models |= ladder.adapt("adapted-teacher", teacher=options.embedder)
    print(compare_query_times(vectors_only["adapted"], ladder.teacher.model, list(tasks[0].queries.values())))
    print(evaluate(models | {"embedder": options.embedder}, tasks, bm25=True))


if __name__ == "__main__":
    main()

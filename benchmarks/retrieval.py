"""The ladder of retrieval: BM25, static models, models adapted to an index, the embedder, each alone and with BM25.

    python benchmarks/retrieval.py cranfield cacm --embedder all-MiniLM-L6-v2 --out ladder
    python benchmarks/retrieval.py cranfield cacm --embedder all-MiniLM-L6-v2 --out ladder --variants

FOLDERS are BEIR folders; their documents are learned as one collection, and queries and judgements are used for scores
alone. The embedder's vectors of the documents are kept in OUT.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any

from sentence_transformers import SentenceTransformer

from wordllama_st import StaticEncoder, adapt, evaluate
from wordllama_st.data.corpus import read_corpus
from wordllama_st.evaluation import read_retrieval
from wordllama_st.training import views
from wordllama_st.training.teacher import CachedTeacher

RELEASED = "wordllama-l2-supercat-256"


@contextmanager
def changed(module: Any, **values: object) -> Iterator[None]:
    """Set constants of a module while a block runs."""
    before = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


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
        arguments = {"vectors": self.vectors} | arguments
        start = time.perf_counter()
        texts = arguments.pop("texts", self.texts)
        adapt(source or self.embedder, texts, path, overwrite=True, **arguments)
        if name != "variant":
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
    """Print the ladder, or the variants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="BEIR folders")
    parser.add_argument("--embedder", required=True, help="a SentenceTransformer")
    parser.add_argument("--out", type=Path, required=True, help="directory of models and vectors")
    parser.add_argument("--variants", action="store_true", help="score what was tried, on the static side")
    options = parser.parse_args()
    ladder = Ladder(options.folders, options.embedder, options.out)
    tasks = [read_retrieval(folder) for folder in options.folders]
    if not options.variants:
        vectors_only = ladder.adapt("adapted")
        models: dict[str, Any] = {"released": RELEASED} | ladder.adapt("adapted-released", RELEASED)
        models |= vectors_only | ladder.against_vectors(vectors_only["adapted"])
        models |= ladder.adapt("adapted-teacher", teacher=options.embedder)
        print(compare_query_times(vectors_only["adapted"], ladder.teacher.model, list(tasks[0].queries.values())))
        print(evaluate(models | {"embedder": options.embedder}, tasks, bm25=True))
        return
    every_second = {"texts": ladder.texts[::2], "vectors": ladder.vectors[::2]}
    thousand = {"texts": ladder.texts[:1000], "vectors": ladder.vectors[:1000]}
    variants: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("as it is", {}, {}),
        ("another seed", {"seed": 1}, {}),
        ("5 epochs", {"epochs": 5}, {}),
        ("20 epochs", {"epochs": 20}, {}),
        ("batches of 256", {"batch_size": 256}, {}),
        ("batches of 1,024", {"batch_size": 1024}, {}),
        ("20% of the words left out", {}, {"LEFT_OUT": 0.2}),
        ("40% of the words left out", {}, {"LEFT_OUT": 0.4}),
        ("80% of the words left out", {}, {"LEFT_OUT": 0.8}),
        ("spans of 2 to 4 words", {}, {"SHORTEST_SPAN": 2, "LONGEST_SPAN": 4}),
        ("spans of 4 to 16 words", {}, {"SHORTEST_SPAN": 4, "LONGEST_SPAN": 16}),
        ("128 dims", {"dim": 128}, {}),
        ("256 dims", {"dim": 256}, {}),
        ("every dim", {"dim": ladder.vectors.shape[1]}, {}),
        ("every second document", every_second, {}),
        ("1,000 documents", thousand, {}),
    ]
    names = [*(task.name for task in tasks), "mean"]
    heads = "".join(f"{name:>14}{'+ BM25':>8}" for name in names)
    print(f"{'nDCG@10, static on both sides':<30}{heads}")
    for name, arguments, constants in variants:
        with changed(views, **constants):
            found = ladder.adapt("variant", **arguments)
        rankings = [row for row in evaluate(found, tasks, bm25=True).rankings if row.name != "BM25"]
        scores = [100 * fmean(one["ndcg@10"] for one in row.queries.values()) for row in rankings]
        scores += [fmean(scores[::2]), fmean(scores[1::2])]
        cells = "".join(f"{alone:>14.1f}{both:>8.1f}" for alone, both in zip(scores[::2], scores[1::2], strict=True))
        print(f"{name:<30}{cells}", flush=True)


if __name__ == "__main__":
    main()

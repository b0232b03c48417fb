"""The ladder of retrieval: BM25, static models, models adapted to an index, the embedder, each alone and with BM25.

    python benchmarks/retrieval.py cranfield cacm --embedder all-MiniLM-L6-v2 --out ladder
    python benchmarks/retrieval.py cranfield cacm --embedder all-MiniLM-L6-v2 --out ladder --variants

FOLDERS are BEIR folders; their documents are learned as one collection, and queries and judgements are used for scores
alone. The embedder's vectors of the documents are kept in OUT.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from sentence_transformers import SentenceTransformer

from wordllama_st import adapt, evaluate
from wordllama_st.data.corpus import read_corpus
from wordllama_st.evaluation import read_retrieval
from wordllama_st.training import views
from wordllama_st.training.teacher import CachedTeacher

RELEASED = "wordllama-l2-supercat-256"


@contextmanager
def changed(module: Any, **values: object) -> Any:
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
    """The documents of some BEIR folders with an embedder's vectors, and models that are adapted to them."""

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
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        return {name: path} | ({f"{name}, asymmetric": pair} if "teacher" in arguments else {})

    def against_vectors(self, path: Path) -> dict[str, Any]:
        """Pair a model that was adapted without a teacher with the embedder, for its scores against the vectors."""
        from wordllama_st import static_model_from_pretrained
        from wordllama_st.training.asymmetric import make_asymmetric_model

        return {
            f"{path.name}, asymmetric": make_asymmetric_model(static_model_from_pretrained(path), self.teacher.model)
        }


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
        print(evaluate(models | {"embedder": options.embedder}, tasks, bm25=True))
        return
    half = ladder.texts[::2]
    variants: dict[str, Callable[[str], dict[str, Path]]] = {
        "as it is": ladder.adapt,
        "another seed": lambda name: ladder.adapt(name, seed=1),
        "20 epochs": lambda name: ladder.adapt(name, epochs=20),
        "5 epochs": lambda name: ladder.adapt(name, epochs=5),
        "half the learning rate": lambda name: ladder.adapt(name, learning_rate=0.05 * 0.05),
        "learned in 384 dims": lambda name: ladder.adapt(name, dim=384),
        "learned in 128 dims": lambda name: ladder.adapt(name, dim=128),
        "every second document": lambda name: ladder.adapt(name, texts=half, vectors=ladder.vectors[::2]),
        "1,000 documents": lambda name: ladder.adapt(name, texts=ladder.texts[:1000], vectors=ladder.vectors[:1000]),
    }
    for left_out in (0.2, 0.4, 0.8):
        variants[f"{left_out:.0%} of the words left out"] = lambda name, share=left_out: _with(
            views, {"LEFT_OUT": share}, lambda: ladder.adapt(name)
        )
    for shortest, longest in ((2, 4), (4, 16), (16, 48)):
        variants[f"spans of {shortest} to {longest} words"] = lambda name, a=shortest, z=longest: _with(
            views, {"SHORTEST_SPAN": a, "LONGEST_SPAN": z}, lambda: ladder.adapt(name)
        )
    for smallest in (256, 4096):
        variants[f"batches of {smallest}"] = lambda name, size=smallest: ladder.adapt(name, batch_size=size)
    for name, make in variants.items():
        found = make(name.replace(" ", "-").replace("%", "").replace(",", ""))
        models = found | ladder.against_vectors(next(iter(found.values()))) if "dims" not in name else found
        scores = evaluate(models, tasks, bm25=True).rankings
        means: dict[str, list[float]] = {}
        for row in scores:
            means.setdefault(row.label, []).append(fmean(one["ndcg@10"] for one in row.queries.values()))
        cells = ("  ".join(f"{100 * value:.1f}" for value in [*found, fmean(found)]) for found in means.values())
        print(f"{name:<32}" + "   ".join(cells), flush=True)


def _with(module: Any, values: dict[str, Any], run: Callable[[], dict[str, Path]]) -> dict[str, Path]:
    with changed(module, **values):
        return run()


if __name__ == "__main__":
    main()

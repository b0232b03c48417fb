"""Tasks and models that the tests of evaluation share."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from texts import ANIMALS, made_up_pairs

from wordllama_st.evaluation import RetrievalTask, SimilarityTask
from wordllama_st.modules.stock import static_modules
from wordllama_st.static.formats.load import read_static_model

SMALL = "wordllama-l2-supercat-64"
PAIRS = made_up_pairs(60)
#: Pairs that tell the same, pairs that do not, and what lies between.
SCORED = [(*pair, 5.0) for pair in PAIRS[:20]] + [
    (PAIRS[i][0], PAIRS[i + shift][1], float(i % 3)) for i in range(20) for shift in (20, 33)
]
LABELLED = [(text, animal) for animal in ANIMALS[:3] for pair in made_up_pairs(900) for text in pair if animal in text]


def similarity(name: str = "same") -> SimilarityTask:
    first, second, scores = zip(*SCORED, strict=True)
    return SimilarityTask(name, first, second, scores)


def retrieval(name: str = "facts") -> RetrievalTask:
    queries, documents = zip(*PAIRS, strict=True)
    return RetrievalTask.from_pairs(name, queries[:40], documents[:40], documents[40:])


def labelled(kind: type[Any], each: int = 20, name: str = "animals") -> Any:
    rows = [row for animal in ANIMALS[:3] for row in [row for row in LABELLED if row[1] == animal][:each]]
    return kind(name, *zip(*rows, strict=True))


def stock(name: str = SMALL, **options: Any) -> SentenceTransformer:
    return SentenceTransformer(modules=static_modules(read_static_model(name)), device="cpu", **options)


def write(path: Path, header: Iterable[str] | None, rows: Iterable[Iterable[object]], **options: Any) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",", **options)
        writer.writerows([*([header] if header else []), *rows])
    return str(path)

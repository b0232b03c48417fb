"""The ``demo`` command: an embedder tuned on the docstrings of the installed packages, scored before and after."""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, NamedTuple

from wordllama_st.cli import options as opt
from wordllama_st.data.docstrings import Docstring, extract_installed_docstrings
from wordllama_st.errors import require
from wordllama_st.storage.staging import check_output

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from wordllama_st.data.datasets import TrainingData

DIMS = (256, 128, 64)
EPOCHS = 3
#: At least this share of the docstrings is held out, by whole packages, none of them so large that it decides alone.
HELD_OUT_SHARE = 0.15
LARGEST_HELD_OUT_SHARE = 0.08

#: What a person might ask of a library, answered out of the held-out packages.
SEARCHES = (
    "read a table from a text file",
    "retry when the connection fails",
    "split a string into words",
    "wait for several tasks to finish",
    "check that the input is valid",
)


class Corpus(NamedTuple):
    """Docstrings to train on, and those of other packages to be tested on."""

    train: list[Docstring]
    held_out: list[Docstring]


#: Task -> from a docstring to the query and to the document that answers it.
TASKS: dict[str, Callable[[Docstring], tuple[str, str]]] = {
    "name → summary": lambda docstring: (docstring.name, docstring.summary),
    "summary → body": lambda docstring: (docstring.summary, docstring.body),
}


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "demo",
        "tune the embedded model on the docstrings of this machine",
        "Train on the docstrings of the installed Python packages, some packages held out; bake at three dims; show "
        "retrieval on the held-out packages before and after, and a few searches. Needs no network.",
    )
    parser.add_argument(
        "--out", "-o", dest="path", type=Path, default=Path("demo-models"), metavar="DIR", help="default: ./%(default)s"
    )
    opt.add_overwrite(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read docstrings, train, bake at three dims, load the results with the stock class, and score them."""
    require("train", "torch", "sentence_transformers", "datasets", "accelerate")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # model cards would ask the Hub about datasets that are not there
    from sentence_transformers import SentenceTransformer

    from wordllama_st.baking import bake_dims
    from wordllama_st.codebook import Codebook
    from wordllama_st.evaluation.models import size_on_disk
    from wordllama_st.static.released import DEFAULT_MODEL
    from wordllama_st.training.build import build_model
    from wordllama_st.training.static_model import static_model_from_pretrained
    from wordllama_st.training.supervised import train_supervised

    start = time.perf_counter()
    name = options.path / "docstrings"
    for dim in DIMS:
        check_output(f"{name}-{dim}", overwrite=options.overwrite)

    codebook = Codebook.from_pretrained(DEFAULT_MODEL)
    print(f"Codebook    {codebook!r}")
    clock = time.perf_counter()
    corpus = split_by_package(extract_installed_docstrings())
    packages = sorted({docstring.package for docstring in corpus.held_out})
    print(
        f"Docstrings  {len(corpus.train):,} to train on, {len(corpus.held_out):,} held out: all of "
        f"{', '.join(packages)} ({_since(clock)})"
    )

    texts = (text for docstring in corpus.train for text in (docstring.name, docstring.summary, docstring.body))
    model = build_model(codebook, dim=DIMS[0], initialize="identity", token_weights="corpus", corpus=texts)
    model.model_card_data.generate_widget_examples = False
    data = {task: _training_data(corpus.train, task) for task in TASKS}
    seconds = train_supervised(model, data, dims=DIMS, epochs=EPOCHS, show_progress_bar=True)
    print(f"Training    {sum(len(part.rows) for part in data.values()) * EPOCHS:,} pairs in {seconds:.0f} s")
    clock = time.perf_counter()
    bake_dims(model, name, DIMS, overwrite=options.overwrite, show_progress_bar=True)
    print(f"Baking      {', '.join(f'{name}-{dim}' for dim in DIMS)} ({_since(clock)})\n")

    untuned = static_model_from_pretrained(DEFAULT_MODEL)
    tuned = {dim: SentenceTransformer(f"{name}-{dim}") for dim in DIMS}
    print(score_table(untuned, tuned, {dim: size_on_disk(Path(f"{name}-{dim}")) for dim in DIMS}, corpus.held_out))
    print(searches(untuned, tuned[DIMS[0]], corpus.held_out))
    print(f"All of it in {_since(start)}. To use the result, with nothing of wordllama-st installed:\n")
    print(f'    SentenceTransformer("{name}-{DIMS[0]}").encode(["some text"])')


def _since(start: float) -> str:
    return f"{time.perf_counter() - start:.0f} s"


def split_by_package(docstrings: dict[str, list[Docstring]]) -> Corpus:
    """Hold whole packages out, picked by a hash of their names, so that the same packages give the same split."""
    total = sum(map(len, docstrings.values()))
    corpus = Corpus([], [])
    for package in sorted(docstrings, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        found = docstrings[package]
        wanted = len(corpus.held_out) < HELD_OUT_SHARE * total and len(found) < LARGEST_HELD_OUT_SHARE * total
        (corpus.held_out if wanted else corpus.train).extend(found)
    return corpus


def _training_data(docstrings: Sequence[Docstring], task: str) -> TrainingData:
    from datasets import Dataset

    from wordllama_st.data.datasets import Kind, TrainingData

    anchors, positives = zip(*map(TASKS[task], docstrings), strict=True)
    rows = Dataset.from_dict({"anchor": anchors, "positive": positives})
    return TrainingData(rows, Kind.PAIRS, f"docstrings, {task}")


def score_table(
    untuned: SentenceTransformer,
    tuned: dict[int, SentenceTransformer],
    sizes: dict[int, int],
    held_out: Sequence[Docstring],
) -> str:
    """Retrieval among the held-out docstrings, a line for each dim and task."""
    from wordllama_st.training.supervised import retrieval_evaluator

    lines = [
        f"{'':16}{'':>5}{'':>9}  {'recall@10':^26}{'MRR@10':^26}".rstrip(),
        f"{'held-out task':16}{'dims':>5}{'size':>9}  {'untuned':>8}{'tuned':>8}{'':>10}{'untuned':>8}{'tuned':>8}",
    ]
    for task, pair in TASKS.items():
        queries, documents = zip(*map(pair, held_out), strict=True)
        for dim, model in tuned.items():
            evaluator = retrieval_evaluator(queries, documents, name=task, truncate_dim=dim)
            scores = [evaluator(untuned), evaluator(model)]
            line = f"{task:16}{dim:>5}{sizes[dim] / 1e6:>6.1f} MB  "
            for metric in ("recall@10", "mrr@10"):
                before, after = (score[f"{task}_cosine_{metric}"] for score in scores)
                line += f"{before:>8.3f}{after:>8.3f}{after / before - 1:>+8.0%}  "
            lines.append(line.rstrip())
    return "\n".join([*lines, ""])


def searches(untuned: SentenceTransformer, tuned: SentenceTransformer, held_out: Sequence[Docstring]) -> str:
    """The three best answers of each model to a few questions."""
    from sentence_transformers.util import semantic_search

    documents = [f"{docstring.summary} {docstring.body}" for docstring in held_out]
    found = {}
    for label, model in (("untuned", untuned), ("tuned", tuned)):
        questions, corpus = (
            model.encode(list(texts), batch_size=256, convert_to_tensor=True) for texts in (SEARCHES, documents)
        )
        found[label] = semantic_search(questions, corpus, top_k=3)
    lines = []
    for index, question in enumerate(SEARCHES):
        lines.append(f"“{question}”")
        for label, hits in found.items():
            for rank, hit in enumerate(hits[index]):
                docstring = held_out[int(hit["corpus_id"])]
                entry = shorten(f"{docstring.package} {docstring.name}: {docstring.summary}", 100, placeholder=" …")
                lines.append(f"  {label * (rank == 0):8} {hit['score']:.2f}  {entry}")
        lines.append("")
    return "\n".join(lines)

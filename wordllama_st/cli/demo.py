"""The main job, on what any machine has: an embedder tuned on docstrings, held against the one it started from."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten

from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import semantic_search
from tqdm.auto import tqdm

from wordllama_st.baking import bake
from wordllama_st.codebook import Codebook
from wordllama_st.data.datasets import Kind, TrainingData
from wordllama_st.data.docstrings import Docstring, harvest, installed_packages
from wordllama_st.evaluation.models import size_on_disk
from wordllama_st.modules.stock import static_modules
from wordllama_st.static import released
from wordllama_st.static.formats import wordllama as wordllama_format
from wordllama_st.storage.staging import check_output
from wordllama_st.training.build import build_model
from wordllama_st.training.supervised import retrieval_evaluator, train_supervised
from wordllama_st.training.trainer import since

DIMS = (256, 128, 64)
EPOCHS = 3
#: No package may drown the others.
MAX_PER_PACKAGE = 4000
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


@dataclass(frozen=True)
class Corpus:
    """Docstrings to train on, and those of other packages to be tested on."""

    train: list[Docstring]
    held_out: list[Docstring]


#: Task -> from a docstring to the query and to the document that answers it.
TASKS: dict[str, Callable[[Docstring], tuple[str, str]]] = {
    "name → summary": lambda docstring: (docstring.name, docstring.summary),
    "summary → body": lambda docstring: (docstring.summary, docstring.body),
}


def run(output: Path, *, overwrite: bool = False, echo: Callable[[str], None] = print) -> None:
    """Harvest docstrings, train, bake at three dims, load the results with the stock class, and show what came of it.

    Args:
        output: Directory for the baked models, ``docstrings-256`` and so on.
        overwrite: Whether to replace what is there.
        echo: Takes each line of the report.

    Raises:
        OutputExistsError: If a baked model is there already and ``overwrite`` is not set.
    """
    start = time.perf_counter()
    name = output / "docstrings"
    for dim in DIMS:
        check_output(f"{name}-{dim}", overwrite=overwrite)

    codebook = Codebook.from_pretrained(released.DEFAULT_MODEL)
    echo(f"Codebook    {codebook!r}")
    clock = time.perf_counter()
    corpus = split_by_package(harvest_installed())
    packages = sorted({docstring.package for docstring in corpus.held_out})
    echo(
        f"Docstrings  {len(corpus.train):,} to train on, {len(corpus.held_out):,} held out: all of "
        f"{', '.join(packages)} ({since(clock)})"
    )

    clock = time.perf_counter()
    texts = (text for docstring in corpus.train for text in (docstring.name, docstring.summary, docstring.body))
    model = build_model(codebook, dim=DIMS[0], initialize="identity", token_weights="corpus", corpus=texts)
    model.model_card_data.generate_widget_examples = False
    data = {task: _training_data(corpus.train, task) for task in TASKS}
    train_supervised(model, data, dims=DIMS, epochs=EPOCHS)
    echo(f"Training    {sum(len(part.rows) for part in data.values()) * EPOCHS:,} pairs in {since(clock)}")
    clock = time.perf_counter()
    bake(model, name, dim=DIMS, overwrite=overwrite, show_progress_bar=True)
    echo(f"Baking      {', '.join(f'{name}-{dim}' for dim in DIMS)} ({since(clock)})\n")

    untuned = wordllama_format.load(released.fetch(released.DEFAULT_MODEL))
    before = {dim: SentenceTransformer(modules=static_modules(untuned.truncated(dim))) for dim in DIMS}
    after = {dim: SentenceTransformer(f"{name}-{dim}") for dim in DIMS}
    sizes = {dim: size_on_disk(Path(f"{name}-{dim}")) for dim in DIMS}
    for line in score_table(before, after, sizes, corpus.held_out):
        echo(line)
    for line in searches(before[DIMS[0]], after[DIMS[0]], corpus.held_out):
        echo(line)
    echo(f"All of it in {since(start)}. To use the result, with nothing of wordllama-st installed:\n")
    echo(f'    SentenceTransformer("{name}-{DIMS[0]}").encode(["some text"])')


def harvest_installed() -> dict[str, list[Docstring]]:
    """The docstrings of every installed package, by package."""
    packages = installed_packages()
    with ProcessPoolExecutor() as executor:
        found = executor.map(partial(harvest, limit=MAX_PER_PACKAGE), packages.values())
        return dict(zip(packages, tqdm(found, "Reading docstrings", len(packages), unit="package"), strict=True))


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
    anchors, positives = zip(*map(TASKS[task], docstrings), strict=True)
    rows = Dataset.from_dict({"anchor": anchors, "positive": positives})
    return TrainingData(rows, Kind.PAIRS, f"docstrings, {task}")


def score_table(
    before: dict[int, SentenceTransformer],
    after: dict[int, SentenceTransformer],
    sizes: dict[int, int],
    held_out: Sequence[Docstring],
) -> list[str]:
    """Retrieval among the held-out docstrings, a line for each dim and task."""
    lines = [
        f"{'':16}{'':>5}{'':>9}  {'recall@10':^26}{'MRR@10':^26}".rstrip(),
        f"{'held-out task':16}{'dims':>5}{'size':>9}  {'untuned':>8}{'tuned':>8}{'':>10}{'untuned':>8}{'tuned':>8}",
    ]
    for task, pair in TASKS.items():
        queries, documents = zip(*map(pair, held_out), strict=True)
        for dim in before:
            evaluator = retrieval_evaluator(queries, documents, name=task)
            line = f"{task:16}{dim:>5}{sizes[dim] / 1e6:>6.1f} MB  "
            scores = [evaluator(model) for model in (before[dim], after[dim])]
            for metric in ("recall@10", "mrr@10"):
                untuned, tuned = (score[f"{task}_cosine_{metric}"] for score in scores)
                line += f"{untuned:>8.3f}{tuned:>8.3f}{tuned / untuned - 1:>+8.0%}  "
            lines.append(line.rstrip())
    return [*lines, ""]


def searches(before: SentenceTransformer, after: SentenceTransformer, held_out: Sequence[Docstring]) -> list[str]:
    """What each model finds for a few questions, best first."""
    lines = []
    documents = [f"{docstring.summary} {docstring.body}" for docstring in held_out]
    found = {}
    for label, model in (("untuned", before), ("tuned", after)):
        questions, corpus = (
            model.encode(list(texts), batch_size=256, convert_to_tensor=True) for texts in (SEARCHES, documents)
        )
        found[label] = semantic_search(questions, corpus, top_k=3)
    for index, question in enumerate(SEARCHES):
        lines.append(f"“{question}”")
        for label, hits in found.items():
            for rank, hit in enumerate(hits[index]):
                docstring = held_out[int(hit["corpus_id"])]
                entry = shorten(f"{docstring.package} {docstring.name}: {docstring.summary}", 100, placeholder=" …")
                lines.append(f"  {label * (rank == 0):8} {hit['score']:.2f}  {entry}")
        lines.append("")
    return lines

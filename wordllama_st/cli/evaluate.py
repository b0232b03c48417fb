"""The ``evaluate`` command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from wordllama_st.cli.options import Commands, add_json, add_overwrite, command, positive
from wordllama_st.errors import ArgumentError
from wordllama_st.static.precision import Precision

_TASKS = {
    "similarity": "two texts and how similar they are, on any scale",
    "retrieval": "a query and the document that answers it; a BEIR directory (DIR:SPLIT for a split); or nanobeir",
    "classification": "a text, or several that are joined, and a label",
    "clustering": "the same, with the labels to be recovered by k-means",
}


def add_command(commands: Commands) -> None:
    """Declare the command."""
    description = "Score static models and other SentenceTransformers on several tasks, at several dims and precisions."
    parser = command(commands, "evaluate", "score models on your files", description)
    add = parser.add_argument
    add("models", nargs="+", metavar="model", help="directory, released name or Hub id; NAME=MODEL gives it a name")
    columns = "FILE:COLUMN,COLUMN names the columns, or numbers them from 1 if a .csv or .tsv file has no header"
    tasks = parser.add_argument_group("tasks", f".csv, .tsv, .json, .jsonl or .parquet files; {columns}")
    for kind, content in _TASKS.items():
        tasks.add_argument(f"--{kind}", nargs="+", default=[], metavar="FILE", help=content)
    dims = "Matryoshka dims to truncate embeddings to, or `full` (default: each model's own)"
    add("--dims", nargs="+", type=_dim, metavar="DIM", help=dims)
    names = get_args(Precision)
    precisions = f"precisions to quantize embeddings to, of {', '.join(names)} (default: float32)"
    add("--precisions", nargs="+", choices=names, default=("float32",), metavar="PRECISION", help=precisions)
    bm25 = "rank the documents of retrieval by BM25 too, alone and together with each model"
    add("--bm25", action="store_true", help=bm25)
    add_json(parser)
    plot = "plot score by dim, or nDCG@10 by the time of a query if all is retrieval at one dim (.png, .svg or .pdf)"
    add("--plot", type=Path, metavar="FILE", help=plot)
    add("--speed-plot", type=Path, metavar="FILE", help="plot score by speed")
    cards = "write the scores into the cards (README.md) of these models, or of all that are local directories"
    add("--card", nargs="*", dest="cards", metavar="MODEL", help=cards)
    add_overwrite(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Score the models, print the report, write its files and print their paths."""
    from wordllama_st import evaluate, evaluation

    models = _named(options.models)
    outputs = {name: getattr(options, name) for name in ("json", "plot", "speed_plot", "cards", "overwrite")}
    files = evaluation.ReportFiles(models, **outputs)
    tasks = [getattr(evaluation, f"read_{kind}")(source) for kind in _TASKS for source in getattr(options, kind)]
    is_terminal = sys.stderr.isatty()
    settings = {name: getattr(options, name) for name in ("dims", "precisions", "bm25")}
    report = evaluate(models, tasks, **settings, show_progress_bar=is_terminal)
    print(report)
    for path in files.write(report):
        print(path)


def _dim(text: str) -> int | None:
    return None if text == "full" else positive(text)


def _named(sources: list[str]) -> dict[str, str]:
    """Name each model: NAME of NAME=MODEL, or else the model's own source."""
    named: dict[str, str] = {}
    for source in sources:
        name, equals, model = source.partition("=")
        if not equals or not name or not model or Path(source).exists():
            name = model = source
        if name in named:
            raise ArgumentError(f"Two models are called {name}; NAME=MODEL gives one another name.")
        named[name] = model
    return named

"""The ``evaluate`` command: models on the user's own data, side by side."""

from __future__ import annotations

import argparse
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from wordllama_st.cli.options import positive
from wordllama_st.errors import ArgumentError
from wordllama_st.static.precision import Precision
from wordllama_st.storage.staging import check_output_file, staged_file

if TYPE_CHECKING:
    from wordllama_st.evaluation import Report, Task

_COLUMNS = "FILE:COLUMN,COLUMN names the columns, or numbers them from 1 where a .csv or .tsv file has no header"
_FULL = "full"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="model",
        help="a static, trained or any other model's directory, a released model's name, or a Hub id; NAME=MODEL gives "
        "it a name in the tables",
    )
    tasks = parser.add_argument_group("what to score them on", f".csv, .tsv, .json, .jsonl or .parquet; {_COLUMNS}")
    tasks.add_argument(
        "--similarity", nargs="+", default=[], metavar="FILE", help="two texts and how alike they are, on any scale"
    )
    tasks.add_argument(
        "--retrieval",
        nargs="+",
        default=[],
        metavar="FILE",
        help="a query and the document that answers it; or a directory as BEIR has it (DIR:SPLIT for a split)",
    )
    tasks.add_argument(
        "--classification",
        nargs="+",
        default=[],
        metavar="FILE",
        help="a text, or several that are joined, and a label",
    )
    tasks.add_argument(
        "--clustering", nargs="+", default=[], metavar="FILE", help="likewise, with the labels to be found by k-means"
    )
    parser.add_argument(
        "--dims",
        nargs="+",
        type=_dim,
        metavar="DIM",
        help=f"Matryoshka dims to cut vectors to, or `{_FULL}` (default: each model's own)",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=get_args(Precision),
        default=["float32"],
        metavar="PRECISION",
        help=f"of the vectors, any of {', '.join(get_args(Precision))} (default: float32)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw score by dim (.png, .svg or .pdf)")
    parser.add_argument("--speed-plot", type=Path, metavar="FILE", help="draw score by speed")
    parser.add_argument(
        "--card",
        nargs="*",
        metavar="MODEL",
        help="write the scores into the cards (README.md) of these of the models, or of all that are local directories",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the files if they exist")


def run(options: argparse.Namespace, echo: Callable[[str], None]) -> None:
    """Score the models, and tell.

    Raises:
        ArgumentError: If there is nothing to score, or a dim that no model has, or --card and no local directory.
        DatasetError: If a file holds no such task.
        EvaluationError: If a model's vectors have no score.
        ModelLoadError: If a model cannot be loaded; likewise ModelUnavailableError and UnknownModelError.
        OutputExistsError: If an output exists.
    """
    models = _named(options.models)
    cards = {} if options.card is None else _cards(models, options.card)
    _check_outputs(options)
    from wordllama_st.evaluation import evaluate

    report = evaluate(
        models,
        _tasks(options),
        dims=options.dims,
        precisions=list(dict.fromkeys(options.precisions)),
        show_progress_bar=sys.stderr.isatty(),
    )
    echo(report.to_text())
    for path in _write(report, options, cards):
        echo(str(path))


def _tasks(options: argparse.Namespace) -> list[Task]:
    from wordllama_st import evaluation

    return [
        *map(evaluation.read_similarity, options.similarity),
        *map(evaluation.read_retrieval, options.retrieval),
        *map(evaluation.read_classification, options.classification),
        *map(evaluation.read_clustering, options.clustering),
    ]


def _check_outputs(options: argparse.Namespace) -> None:
    from wordllama_st.analysis.inspection_plot import check_plot

    for path in (options.plot, options.speed_plot):
        if path is not None:
            check_plot(path)
    for path in (options.json, options.plot, options.speed_plot):
        if path is not None:
            check_output_file(path, overwrite=options.overwrite)


def _write(report: Report, options: argparse.Namespace, cards: dict[str, Path]) -> list[Path]:
    """Write what was asked for, and return where."""
    from wordllama_st.evaluation.card import write_card
    from wordllama_st.evaluation.plots import plot_dims, plot_speed

    written: list[Path] = []
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(options.json) as staging:
            staging.write_text(report.to_json() + "\n", encoding="utf-8")
        written.append(options.json)
    for path, plot in ((options.plot, plot_dims), (options.speed_plot, plot_speed)):
        if path is not None:
            plot(report, path)
            written.append(path)
    return written + [write_card(directory, report, name) for name, directory in cards.items()]


def _named(sources: list[str]) -> dict[str, str]:
    """The models by name: the one in front of ``=``, or else the source itself."""
    named: dict[str, str] = {}
    for source in sources:
        name, equals, model = source.partition("=")
        if not equals or not name or not model or Path(source).exists():
            name = model = source
        if name in named:
            raise ArgumentError(f"Two models are called {name}; NAME=MODEL gives one another name.")
        named[name] = model
    return named


def _cards(models: dict[str, str], chosen: list[str]) -> dict[str, Path]:
    """The directories whose cards get scores, by model; refused before any work is done for them."""
    if unknown := [name for name in chosen if name not in models]:
        raise ArgumentError(f"--card names {unknown[0]}, which is none of the models: {', '.join(models)}.")
    local = {name: Path(source) for name, source in models.items() if Path(source).is_dir()}
    if other := [name for name in chosen if name not in local]:
        raise ArgumentError(f"--card writes into the directories of models; {other[0]} is none.")
    cards = {name: local[name] for name in chosen} or local
    if not cards:
        raise ArgumentError("--card writes into the directories of models; none of these is one.")
    installed = Path(sysconfig.get_path("purelib")).resolve()
    for name, directory in cards.items():
        if directory.resolve().is_relative_to(installed):
            raise ArgumentError(
                f"{name} belongs to an installed package, whose files stay as they are; name the models whose cards "
                f"are to be written: --card MODEL"
            )
    return cards


def _dim(text: str) -> int | None:
    return None if text == _FULL else positive(text)


def add_command(commands):  # type: ignore
    from wordllama_st.cli import options as opt

    parser = opt.command(commands, "evaluate", "x", "x")
    add_arguments(parser)
    parser.set_defaults(run=lambda options: run(options, print))

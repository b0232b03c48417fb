"""Options that several commands share."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import wordllama_st
from wordllama_st.storage.staging import check_output_file, write_text

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

#: What a command's namespace has beside the arguments of its recipe.
_OWN = ("command", "run", "json")


class Report(Protocol):
    """What a command prints, and writes as JSON."""

    def to_json(self) -> str: ...


def command(commands: Commands, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    """Declare a command: its name, its line in the list of commands, and the description that its help begins with."""
    return commands.add_parser(name, help=summary, description=description)


def recipe_arguments(options: argparse.Namespace, *, show_progress_bar: bool = True) -> dict[str, Any]:
    """Return a command's options as arguments of its recipe; progress is shown on a terminal, if at all."""
    arguments = {name: value for name, value in vars(options).items() if name not in _OWN}
    return arguments | {"show_progress_bar": show_progress_bar and sys.stderr.isatty()}


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare --out, the output directory, and --overwrite."""
    parser.add_argument("--out", "-o", dest="path", type=Path, required=True, metavar="DIR", help=what)
    add_overwrite(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Declare --overwrite."""
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")


def add_json(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare --json."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON, too")


def check_json(options: argparse.Namespace) -> None:
    """Refuse an existing file for the JSON report, before any work is done."""
    if options.json is not None:
        check_output_file(options.json, overwrite=options.overwrite)


def run_recipe(options: argparse.Namespace) -> None:
    """Run the recipe of a command's name, print its report, and write it as JSON if asked to, in the main process."""
    recipe = getattr(wordllama_st, options.command)
    from wordllama_st.training.processes import is_main_process, leave_processes, main_process_first

    with main_process_first():
        check_json(options)
    result = recipe(**recipe_arguments(options, show_progress_bar=is_main_process()))
    if is_main_process():
        print_report(result.report, options)
        print_saved(options.path, is_static=options.command != "train")
    leave_processes()


def print_report(report: Report, options: argparse.Namespace) -> None:
    """Print a report, and write it as JSON if asked to."""
    print(report)
    if options.json is not None:
        write_text(options.json, report.to_json() + "\n")
        print(options.json)


def print_saved(path: Path, *, is_static: bool = True) -> None:
    """Say where a model was saved, and what to do with it."""
    use, bake = f"Use it: SentenceTransformer({str(path)!r})", f"Next: wordllama-st bake {path} --out {path}-static"
    print(f"Saved {path}. {use if is_static else bake}")


def add_on_error(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare --on-error."""
    parser.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="stop at a damaged input, or skip what comes behind the damage (default: %(default)s)",
    )


def add_engine(group: argparse._ArgumentGroup) -> None:
    """Declare --engine and --address."""
    group.add_argument(
        "--engine",
        choices=("threads", "ray"),
        default="threads",
        help="encode with threads of this process, or with tasks of a Ray cluster whose machines share the files "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of the Ray cluster, or ray://HOST:PORT (default: RAY_ADDRESS, or a cluster of this machine's cores)",
    )


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a codebook's source."""
    parser.add_argument(
        "--tensor-name", metavar="KEY", help="the token table's key, if the architecture is unknown to transformers"
    )
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of the Hub repository")
    parser.add_argument("--token", help="for gated and private repositories (default: that of `hf auth login`)")


def add_datasets(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declare training data, and return the group of its options."""
    parser.add_argument(
        "datasets",
        nargs="+",
        metavar="dataset",
        help=".csv, .tsv, .json, .jsonl or .parquet file, or the id of a Hub dataset; several are trained together",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--columns", nargs="+", metavar="NAME", help="the columns to use, in order (default: all)")
    data.add_argument("--split", default="train", help="split of a Hub dataset (default: %(default)s)")
    data.add_argument(
        "--hold-out",
        type=proper_share,
        default=0.1,
        metavar="SHARE",
        help="share of the data to evaluate on (default: %(default)s)",
    )
    data.add_argument(
        "--mine-negatives",
        type=positive,
        metavar="N",
        help="give each pair N texts of other pairs as hard negatives, those that the untrained model finds nearest",
    )
    return data


def add_dims(group: argparse._ArgumentGroup) -> None:
    """Declare --dims and --binary, what embeddings are trained for."""
    group.add_argument(
        "--dims",
        type=positive,
        nargs="+",
        metavar="DIM",
        help="Matryoshka dims (default: DIM and its halves down to 64)",
    )
    group.add_argument("--binary", action="store_true", help="train sign embeddings, by straight-through estimation")


def add_training(
    group: argparse._ArgumentGroup,
    epochs: float | None = 3.0,
    epochs_help: str = "default: %(default)s",
    batch_size: str = "of each process; default: 256, fewer for little data",
) -> None:
    """Declare the hyperparameters of training."""
    group.add_argument("--epochs", type=positive_real, default=epochs, help=epochs_help)
    group.add_argument("--batch-size", type=positive, metavar="ROWS", help=batch_size)
    group.add_argument(
        "--learning-rate",
        type=positive_real,
        metavar="LR",
        help="default: 1e-3 for a projection, 0.05 of its root mean square for a table whose rows are trained",
    )
    group.add_argument("--seed", type=int, default=42, help="default: %(default)s")


def add_checkpoints(group: argparse._ArgumentGroup) -> None:
    """Declare --checkpoint-dir."""
    group.add_argument(
        "--checkpoint-dir", type=Path, metavar="DIR", help="keep checkpoints in DIR, and resume from the last of them"
    )


def positive(text: str) -> int:
    """Parse a positive integer."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def positive_real(text: str) -> float:
    """Parse a positive number."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def not_negative(text: str) -> float:
    """Parse a number that is not negative."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number from zero up")
    return number


def proper_share(text: str) -> float:
    """Parse a share from 0 up to, but not including, 1."""
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 up to 1")
    return share

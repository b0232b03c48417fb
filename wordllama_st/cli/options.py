"""What the commands' declarations share: outputs, kinds of numbers, and what must not be overwritten."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TypeAlias

from wordllama_st.errors import OutputExistsError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

ST = ("st", "torch", "sentence_transformers")
TRAIN = ("train", "torch", "sentence_transformers", "datasets", "accelerate")


def command(commands: Commands, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    """Declare a command: its name, a line for the list of all, and what its own help begins with."""
    return commands.add_parser(name, help=summary, description=description)


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare the output, and whether it may replace what is there."""
    parser.add_argument("--out", "-o", type=Path, required=True, metavar="DIR", help=what)
    add_overwrite(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Declare whether the output may replace what is there."""
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")


def check_apart(output: Path, *sources: str) -> None:
    """Refuse an output that would replace what it is made from."""
    for source in map(Path, sources):
        if source.exists() and source.resolve().is_relative_to(output.resolve()):
            raise OutputExistsError(f"{output} is, or holds, what it would be made from; choose another output.")


def positive(text: str) -> int:
    """A whole number from one up."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def positive_real(text: str) -> float:
    """A number above zero."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def not_negative(text: str) -> float:
    """A number from zero up."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number from zero up")
    return number


def proper_share(text: str) -> float:
    """A share from 0 up to 1."""
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 up to 1")
    return share

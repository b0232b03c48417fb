"""The ``compress`` command."""

from __future__ import annotations

import argparse
from pathlib import Path

import wordllama_st
from wordllama_st.cli import options as opt
from wordllama_st.cli.bake import add_dtype


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "compress",
        "make a static model of a codebook without training",
        "Make a static model of a codebook without training: principal components of its rows, and low weights for "
        "frequent tokens.",
    )
    parser.add_argument(
        "codebook", help="directory of a codebook, checkpoint or static model, or a released model's name"
    )
    opt.add_output(parser, "the static model's directory")
    parser.add_argument("--dim", type=opt.positive, default=256, help="dim of the embeddings (default: %(default)s)")
    parser.add_argument(
        "--corpus",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="files of texts to count tokens in (default: estimate frequencies from the order of the vocabulary)",
    )
    add_dtype(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compress a codebook."""
    wordllama_st.compress(**opt.recipe_arguments(options))
    opt.print_saved(options.path)

"""The ``bake`` command."""

from __future__ import annotations

import argparse
from typing import Any

import wordllama_st
from wordllama_st.cli import options as opt
from wordllama_st.storage.staging import check_output


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "bake",
        "turn a trained model into a static one",
        "Turn a trained model into a table of token embeddings that SentenceTransformer(DIR) loads with wordllama-st "
        "not installed, in any version since 3.2. The result is checked against the model before it is written.",
    )
    parser.add_argument("model", help="a directory that `train` or save_pretrained wrote")
    opt.add_output(parser, "the static model's directory; with --dims, DIR-256 and so on")
    dims = parser.add_mutually_exclusive_group()
    dims.add_argument(
        "--dim", type=opt.positive, help="Matryoshka dim to truncate the embeddings to (default: the model's own)"
    )
    dims.add_argument("--dims", type=opt.positive, nargs="+", metavar="DIM", help="several, each a model of its own")
    add_dtype(parser)
    parser.set_defaults(run=run)


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """Declare --dtype."""
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="default: %(default)s; int8 is for StaticEncoder, model2vec and sentence-transformers from 6.2 on",
    )


def run(options: argparse.Namespace) -> None:
    """Bake a model, at one dim or several."""
    check_output(None if options.dims else options.path, overwrite=options.overwrite, sources=[options.model])
    arguments: dict[str, Any] = opt.recipe_arguments(options)
    dim, dims, path = (arguments.pop(name) for name in ("dim", "dims", "path"))
    model = wordllama_st.model_from_pretrained(arguments.pop("model"))
    if not dims:
        wordllama_st.bake(model, path, dim=dim, **arguments)
        print(path)
        return
    for dim in wordllama_st.bake_dims(model, path, dims, **arguments):
        print(f"{path}-{dim}")

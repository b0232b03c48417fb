"""The command line: ``wordllama-st models | pull | extract | inspect | train | distill |
finetune | adapt | bake | evaluate | explain | encode | demo``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from wordllama_st import __version__
from wordllama_st.cli.options import ST, TRAIN, Commands, add_output, add_overwrite, check_apart, command, positive
from wordllama_st.cli.training_commands import add_adapt, add_distill, add_finetune, add_train
from wordllama_st.errors import ArgumentError, WordLlamaSTError, require
from wordllama_st.static import released
from wordllama_st.storage.staging import check_output

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from wordllama_st.codebook.codebook import Provenance


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, 1 for an error that one line on stderr explains, 130 if interrupted. (Wrong usage exits
        with 2, as argparse does.)
    """
    options = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore", module="torch")
    for library in ("sentence_transformers", "datasets", "pypdf"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # what they report as errors is raised as well
    try:
        options.run(options)
    except (WordLlamaSTError, OSError, SafetensorError) as error:
        print(f"wordllama-st {options.command}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nwordllama-st {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wordllama-st",
        description="Make a small, fast text embedder out of a large language model's token table.",
        epilog="A model of your own: extract a codebook, train on your data, bake.\n"
        "`wordllama-st COMMAND --help` explains each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_models(commands)
    _add_pull(commands)
    _add_extract(commands)
    _add_inspect(commands)
    add_train(commands)
    add_distill(commands)
    add_finetune(commands)
    add_adapt(commands)
    _add_bake(commands)
    _add_evaluate(commands)
    _add_explain(commands)
    _add_encode(commands)
    _add_demo(commands)
    return parser


def _add_models(commands: Commands) -> None:
    parser = command(commands, "models", "list the released models", "List the released models.")
    parser.set_defaults(run=_models)


def _models(options: argparse.Namespace) -> None:
    print(f"{'name':<36}{'dims':>5}  files")
    for name, model in released.RELEASED.items():
        where = "installed with wordllama" if model.embedded else f"https://hf.co/{model.repo_id}"
        print(f"{name:<36}{model.dim:>5}  {where}")


def _add_pull(commands: Commands) -> None:
    parser = command(
        commands,
        "pull",
        "write a released model as a directory",
        "Write a released model as a directory that SentenceTransformer(DIR) loads with wordllama-st not installed.",
    )
    parser.add_argument("name", help="one of `wordllama-st models`")
    parser.add_argument("--out", "-o", type=Path, metavar="DIR", help="default: ./NAME")
    parser.add_argument("--revision", help="branch, tag or commit of the model's Hub repository")
    add_overwrite(parser)
    parser.set_defaults(run=_pull)


def _pull(options: argparse.Namespace) -> None:
    from wordllama_st.static.formats import sentence_transformers, wordllama
    from wordllama_st.static.model_card import released_origin, static_model_card

    output = check_output(options.out or options.name, overwrite=options.overwrite)
    files = released.fetch(options.name, revision=options.revision)
    table = wordllama.load(files)
    rows, dim = table.weight.shape
    card = static_model_card(output.name, (rows, dim), released_origin(files))
    sentence_transformers.save(table, output, card=card, overwrite=options.overwrite)
    print(f"{output}: {rows:,} token vectors, {dim} dimensions, from {files.revision}")


def _add_extract(commands: Commands) -> None:
    parser = command(
        commands,
        "extract",
        "take the token table out of a language model",
        "Write a model's codebook, its token table and tokenizer, as a directory. No other weights are read.",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="source",
        help="a model on the Hub (ORG/MODEL; only the table is fetched), a checkpoint's or static model's directory, a "
        ".gguf file, a codebook, or a released model's name; several of one vocabulary are joined side by side",
    )
    add_output(parser, "the codebook's directory")
    _add_source_options(parser)
    parser.add_argument(
        "--zero-added-tokens", action="store_true", help="give added tokens that have no row in the table one of zeros"
    )
    parser.add_argument(
        "--scale", choices=("rms",), help="scale joined tables to equal length of rows, so that none drowns the others"
    )
    parser.set_defaults(run=_extract)


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tensor-name", metavar="KEY", help="the table's key, where the architecture is unknown")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of the Hub repository")
    parser.add_argument("--token", help="for gated and private repositories (default: that of `hf auth login`)")


def _extract(options: argparse.Namespace) -> None:
    from wordllama_st.codebook import Codebook

    check_output(options.out, overwrite=options.overwrite)
    check_apart(options.out, *options.sources)
    codebooks = [
        Codebook.from_pretrained(
            source,
            tensor_name=options.tensor_name,
            revision=options.revision,
            token=options.token,
            zero_added_tokens=options.zero_added_tokens,
            check=False,  # saving does, in the same pass
        )
        for source in options.sources
    ]
    joined = len(codebooks) > 1 or options.scale is not None
    codebook = Codebook.concat(codebooks, scale=options.scale) if joined else codebooks[0]
    codebook.save(options.out, overwrite=options.overwrite, show_progress_bar=sys.stderr.isatty())
    for part in codebooks:
        _print_origin(part.provenance)
    made = codebook.provenance
    for difference in made.tolerated:
        print(f"differs, and is no text's: {difference}")
    print(f"{options.out}: {list(made.shape)} {made.dtype}")


def _print_origin(made_from: Provenance) -> None:
    at = f" at {made_from.commit}" if made_from.commit else ""
    print(f"{made_from.source}{at}: {made_from.tensor_name or 'table'} {list(made_from.shape)} {made_from.dtype}")
    if made_from.trimmed_rows:
        print(f"  without {made_from.trimmed_rows:,} rows behind the tokenizer's last id")
    if made_from.zero_rows:
        print(f"  with {made_from.zero_rows:,} rows of zeros for added tokens")


def _add_inspect(commands: Commands) -> None:
    from wordllama_st.cli.inspect import add_arguments

    parser = command(
        commands,
        "inspect",
        "look at a language model's token table",
        "Tell what a token table is and what is odd about it: zero, duplicate and non-finite rows, lengths, and the "
        "tokens nearest to those named. Takes whatever `extract` takes, and writes nothing but the picture asked for.",
    )
    parser.add_argument("source", help="what `extract` takes")
    _add_source_options(parser)
    add_arguments(parser)
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from wordllama_st.cli.inspect import run
    from wordllama_st.codebook.find import find_table

    found = find_table(options.source, tensor_name=options.tensor_name, revision=options.revision, token=options.token)
    run(found, options, echo=print)


def _add_bake(commands: Commands) -> None:
    parser = command(
        commands,
        "bake",
        "turn a trained model into a static one",
        "Turn a trained model into a table of token vectors that SentenceTransformer(DIR) loads with wordllama-st "
        "not installed, in any version since 3.2. The result is checked against the model before it is written. With "
        "--no-train, make one of a token table as it is: principal components, and less for frequent tokens.",
    )
    parser.add_argument("model", help="a directory that `train` or save_pretrained wrote; with --no-train, a codebook")
    add_output(parser, "the static model's directory; with several dims, DIR-256 and so on")
    parser.add_argument(
        "--dim", type=positive, nargs="+", metavar="DIM", help="Matryoshka dims to cut to (default: the model's own)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="default: %(default)s; int8 is for StaticEncoder, model2vec and sentence-transformers from 6.2 on",
    )
    parser.add_argument("--no-train", action="store_true", help="make a model of a codebook or checkpoint as it is")
    parser.add_argument(
        "--corpus",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="with --no-train: plain text to count tokens in (default: guess by the vocabulary's order)",
    )
    parser.set_defaults(run=_bake)


def _bake(options: argparse.Namespace) -> None:
    require(*ST)
    check_apart(options.out, options.model)
    if options.corpus and not options.no_train:
        raise ArgumentError("--corpus is for --no-train: a trained model has its token weights.")
    from wordllama_st.baking import bake
    from wordllama_st.training.load import load_model

    dims = options.dim if options.dim and len(options.dim) > 1 else (options.dim or [None])[0]
    bake(
        _untrained(options) if options.no_train else load_model(options.model),
        options.out,
        dim=dims,
        dtype=options.dtype,
        overwrite=options.overwrite,
        show_progress_bar=True,
    )
    for output in [f"{options.out}-{dim}" for dim in dims] if isinstance(dims, list) else [options.out]:
        print(output)


def _untrained(options: argparse.Namespace) -> SentenceTransformer:
    from wordllama_st.codebook import Codebook
    from wordllama_st.training.build import build_model

    codebook = Codebook.from_pretrained(options.model)
    dim = max(options.dim or [256])
    if not options.corpus:
        return build_model(codebook, dim, token_weights="rank")
    require(*TRAIN)
    from wordllama_st.data.texts import read_texts

    return build_model(codebook, dim, token_weights="corpus", corpus=read_texts(options.corpus))


def _add_evaluate(commands: Commands) -> None:
    _add_implemented(
        commands,
        "evaluate",
        "score models on your files",
        "Score models, static ones and any other SentenceTransformer, on similarity, retrieval, classification and "
        "clustering, at several dims and precisions, with their size and speed.",
        extra=TRAIN,
    )


def _add_explain(commands: Commands) -> None:
    _add_implemented(
        commands,
        "explain",
        "see why two texts are similar",
        "Take the similarity of two texts apart into what each pair of their tokens contributes, exactly and without "
        "torch. Put -- before a text that begins with a dash.",
    )


def _add_encode(commands: Commands) -> None:
    _add_implemented(
        commands,
        "encode",
        "encode lines of text with a static model",
        "Encode lines of text with a static model, without torch, into a NumPy file with a row for each line.",
    )


def _add_implemented(
    commands: Commands, name: str, summary: str, description: str, extra: tuple[str, ...] = ()
) -> None:
    """Declare a command whose own module, cli.NAME, has both its arguments and what it does."""
    module = import_module(f"wordllama_st.cli.{name}")
    parser = command(commands, name, summary, description)
    module.add_arguments(parser)

    def run(options: argparse.Namespace) -> None:
        if extra:
            require(*extra)
        module.run(options, echo=print)

    parser.set_defaults(run=run)


def _add_demo(commands: Commands) -> None:
    parser = command(
        commands,
        "demo",
        "tune the embedded model on the docstrings of this machine",
        "Train on the docstrings of the installed Python packages, some packages held out; bake at three dims; show "
        "retrieval on the held-out packages before and after, and a few searches. Needs no network.",
    )
    parser.add_argument(
        "--out", "-o", type=Path, default=Path("demo-models"), metavar="DIR", help="default: ./%(default)s"
    )
    add_overwrite(parser)
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    require(*TRAIN)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # model cards would ask the Hub about datasets that are not there
    from wordllama_st.cli.demo import run

    run(options.out, overwrite=options.overwrite)


if __name__ == "__main__":
    sys.exit(main())

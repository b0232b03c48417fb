"""The command line: ``wordllama-st models | pull | extract | inspect | train | bake | encode | demo``."""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from safetensors import SafetensorError

from wordllama_st import __version__, models
from wordllama_st.errors import OutputExistsError, WordLlamaSTError
from wordllama_st.extras import require
from wordllama_st.staging import check_output

if TYPE_CHECKING:
    from wordllama_st.codebook.provenance import Provenance

ST = ("st", "torch", "sentence_transformers")
TRAIN = ("train", "torch", "sentence_transformers", "datasets", "accelerate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, 1 for an error that one line on stderr explains, 130 if interrupted. (Wrong usage exits
        with 2, as argparse does.)
    """
    options = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore", module="torch")
    for library in ("sentence_transformers", "datasets"):
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
    _add_train(commands)
    _add_bake(commands)
    _add_encode(commands)
    _add_demo(commands)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _command(commands: Commands, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=summary, description=description)


def _add_output(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--out", "-o", type=Path, required=True, metavar="DIR", help=what)
    _add_overwrite(parser)


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")


def _add_models(commands: Commands) -> None:
    parser = _command(commands, "models", "list the released models", "List the released models.")
    parser.set_defaults(run=_models)


def _models(options: argparse.Namespace) -> None:
    print(f"{'name':<36}{'dims':>5}  files")
    for name, model in models.RELEASED.items():
        where = "installed with wordllama" if model.embedded else f"https://hf.co/{model.repo_id}"
        print(f"{name:<36}{model.dim:>5}  {where}")


def _add_pull(commands: Commands) -> None:
    parser = _command(
        commands,
        "pull",
        "write a released model as a directory",
        "Write a released model as a directory that SentenceTransformer(DIR) loads with wordllama-st not installed.",
    )
    parser.add_argument("name", help="one of `wordllama-st models`")
    parser.add_argument("--out", "-o", type=Path, metavar="DIR", help="default: ./NAME")
    parser.add_argument("--revision", help="branch, tag or commit of the model's Hub repository")
    _add_overwrite(parser)
    parser.set_defaults(run=_pull)


def _pull(options: argparse.Namespace) -> None:
    from wordllama_st.formats import sentence_transformers, wordllama
    from wordllama_st.model_card import released_origin, static_model_card

    output = check_output(options.out or options.name, overwrite=options.overwrite)
    files = models.fetch(options.name, revision=options.revision)
    table = wordllama.load(files)
    rows, dim = table.weight.shape
    card = static_model_card(output.name, (rows, dim), released_origin(files))
    sentence_transformers.save(table, output, card=card, overwrite=options.overwrite)
    print(f"{output}: {rows:,} token vectors, {dim} dimensions, from {files.revision}")


def _add_extract(commands: Commands) -> None:
    parser = _command(
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
    _add_output(parser, "the codebook's directory")
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
    _check_apart(options.out, *options.sources)
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


def _check_apart(output: Path, *sources: str) -> None:
    """Refuse an output that would replace what it is made from."""
    for source in map(Path, sources):
        if source.exists() and source.resolve().is_relative_to(output.resolve()):
            raise OutputExistsError(f"{output} is, or holds, what it would be made from; choose another output.")


def _add_inspect(commands: Commands) -> None:
    from wordllama_st.inspect_command import add_arguments

    parser = _command(
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
    from wordllama_st.codebook.find import find_table
    from wordllama_st.inspect_command import run

    found = find_table(options.source, tensor_name=options.tensor_name, revision=options.revision, token=options.token)
    run(found, options, echo=print)


def _add_train(commands: Commands) -> None:
    parser = _command(
        commands,
        "train",
        "train an embedder over a codebook",
        "Train token weights and a projection over a frozen token table. The loss follows from the data's columns: "
        "two texts are pairs that belong together, three or more are triplets (anchor, positive, negatives), two "
        "texts and a number are scored pairs.",
    )
    parser.add_argument(
        "codebook", help="directory of a codebook, checkpoint, trained or static model, or a released model's name"
    )
    parser.add_argument("dataset", help=".csv, .tsv, .json, .jsonl or .parquet file, or the id of a Hub dataset")
    _add_output(parser, "the trained model's directory")
    data = parser.add_argument_group("data")
    data.add_argument("--columns", nargs="+", metavar="NAME", help="the columns to use, in order (default: all)")
    data.add_argument("--split", default="train", help="split of a Hub dataset (default: %(default)s)")
    data.add_argument(
        "--hold-out", type=_share, default=0.1, metavar="SHARE", help="rows kept for evaluation (default: %(default)s)"
    )
    model = parser.add_argument_group("model")
    model.add_argument("--dim", type=_positive, help="length of the vectors (default: 256)")
    model.add_argument(
        "--matryoshka-dims", type=_positive, nargs="+", metavar="DIM", help="default: DIM and its halves down to 64"
    )
    model.add_argument(
        "--initialize",
        choices=("pca", "identity", "random"),
        help="the projection's start (default: identity for the table of a released or static model, pca for others)",
    )
    model.add_argument(
        "--token-weights",
        choices=("ones", "stopwords", "rank"),
        help="what tokens count for at the start (default: ones)",
    )
    model.add_argument(
        "--hidden-features", type=_positive, metavar="N", help="project each token through a hidden layer"
    )
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=_positive_real, default=3.0, help="default: %(default)s")
    training.add_argument("--batch-size", type=_positive, metavar="ROWS", help="default: 256, fewer for little data")
    training.add_argument(
        "--learning-rate", type=_positive_real, default=1e-3, metavar="LR", help="default: %(default)s"
    )
    training.add_argument("--max-seq-length", type=_positive, metavar="N", help="tokens read of a text (default: all)")
    training.add_argument("--bf16", action="store_true", help="mixed precision")
    training.add_argument("--seed", type=int, default=42, help="default: %(default)s")
    training.add_argument(
        "--checkpoint-dir", type=Path, metavar="DIR", help="keep checkpoints there, and go on from the last of them"
    )
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    require(*TRAIN)
    check_output(options.out, overwrite=options.overwrite)
    _check_apart(options.out, options.codebook, options.dataset)
    from wordllama_st.train_command import train_and_save

    train_and_save(options, echo=print)


def _add_bake(commands: Commands) -> None:
    parser = _command(
        commands,
        "bake",
        "turn a trained model into a static one",
        "Turn a trained model into a table of token vectors that SentenceTransformer(DIR) loads with wordllama-st "
        "not installed, in any version since 3.2. The result is checked against the model before it is written.",
    )
    parser.add_argument("model", help="a directory that `train` or save_pretrained wrote")
    _add_output(parser, "the static model's directory; with several dims, DIR-256 and so on")
    parser.add_argument(
        "--dim", type=_positive, nargs="+", metavar="DIM", help="Matryoshka dims to cut to (default: the model's own)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="default: %(default)s; int8 is for StaticEncoder, model2vec and sentence-transformers from 6.2 on",
    )
    parser.set_defaults(run=_bake)


def _bake(options: argparse.Namespace) -> None:
    require(*ST)
    _check_apart(options.out, options.model)
    from wordllama_st.baking import bake
    from wordllama_st.load import load_model

    dims = options.dim if options.dim and len(options.dim) > 1 else (options.dim or [None])[0]
    bake(
        load_model(options.model),
        options.out,
        dim=dims,
        dtype=options.dtype,
        overwrite=options.overwrite,
        show_progress_bar=True,
    )
    for output in [f"{options.out}-{dim}" for dim in dims] if isinstance(dims, list) else [options.out]:
        print(output)


def _add_encode(commands: Commands) -> None:
    from wordllama_st.encode_command import add_arguments

    parser = _command(
        commands,
        "encode",
        "encode lines of text with a static model",
        "Encode lines of text with a static model, without torch, into a NumPy file with a row for each line.",
    )
    add_arguments(parser)
    parser.set_defaults(run=_encode)


def _encode(options: argparse.Namespace) -> None:
    from wordllama_st.encode_command import run

    run(options, echo=print)


def _add_demo(commands: Commands) -> None:
    parser = _command(
        commands,
        "demo",
        "tune the embedded model on the docstrings of this machine",
        "Train on the docstrings of the installed Python packages, some packages held out; bake at three dims; show "
        "retrieval on the held-out packages before and after, and a few searches. Needs no network.",
    )
    parser.add_argument(
        "--out", "-o", type=Path, default=Path("demo-models"), metavar="DIR", help="default: ./%(default)s"
    )
    _add_overwrite(parser)
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    require(*TRAIN)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # model cards would ask the Hub about datasets that are not there
    from wordllama_st.demo import run

    run(options.out, overwrite=options.overwrite)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _positive_real(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 up to 1")
    return share


if __name__ == "__main__":
    sys.exit(main())

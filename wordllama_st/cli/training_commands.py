"""The commands that train, as the command line declares them: ``train | distill | finetune | adapt``."""

from __future__ import annotations

import argparse
from pathlib import Path

from wordllama_st.cli.options import (
    TRAIN,
    Commands,
    add_output,
    check_apart,
    command,
    not_negative,
    positive,
    positive_real,
    proper_share,
)
from wordllama_st.errors import require
from wordllama_st.storage.staging import check_output

#: How much fine-tuning holds a token's vector to where it started, unless told otherwise; found by measuring.
STAY_CLOSE = 30.0


def add_train(commands: Commands) -> None:
    """Declare ``train``."""
    parser = command(
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
    _add_datasets(parser)
    add_output(parser, "the trained model's directory")
    model = parser.add_argument_group("model")
    model.add_argument("--dim", type=positive, help="length of the vectors (default: 256)")
    model.add_argument(
        "--matryoshka-dims", type=positive, nargs="+", metavar="DIM", help="default: DIM and its halves down to 64"
    )
    model.add_argument(
        "--initialize",
        choices=("pca", "identity", "random"),
        help="the projection's start (default: identity for the table of a released or static model, pca for others)",
    )
    model.add_argument(
        "--token-weights",
        choices=("ones", "stopwords", "rank"),
        help="what tokens count for at the start (default: ones); by rank, less for the first of the vocabulary",
    )
    model.add_argument(
        "--hidden-features", type=positive, metavar="N", help="project each token through a hidden layer"
    )
    model.add_argument("--binary", action="store_true", help="train sign embeddings, by straight-through estimation")
    training = parser.add_argument_group("training")
    _add_training(training, epochs=3.0)
    training.add_argument("--max-seq-length", type=positive, metavar="N", help="tokens read of a text (default: all)")
    training.add_argument("--bf16", action="store_true", help="mixed precision")
    _add_checkpoints(training)
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    require(*TRAIN)
    check_output(options.out, overwrite=options.overwrite)
    check_apart(options.out, options.codebook, *options.datasets)
    from wordllama_st.cli.train import train_and_save

    train_and_save(options, echo=print)


def _add_datasets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "datasets",
        nargs="+",
        metavar="dataset",
        help=".csv, .tsv, .json, .jsonl or .parquet file, or the id of a Hub dataset; several are trained together",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--columns", nargs="+", metavar="NAME", help="the columns to use, in order (default: all)")
    data.add_argument("--split", default="train", help="split of a Hub dataset (default: %(default)s)")
    _add_hold_out(data, 0.1)
    data.add_argument(
        "--mine-negatives",
        type=positive,
        metavar="N",
        help="give each pair the N texts of others that the untrained model finds nearest, as hard negatives",
    )


def _add_hold_out(group: argparse._ArgumentGroup, share: float) -> None:
    group.add_argument(
        "--hold-out",
        type=proper_share,
        default=share,
        metavar="SHARE",
        help="for evaluation (default: %(default)s)",
    )


def _add_training(
    group: argparse._ArgumentGroup, epochs: float, batch_size: str = "default: 256, fewer for little data"
) -> None:
    group.add_argument("--epochs", type=positive_real, default=epochs, help="default: %(default)s")
    group.add_argument("--batch-size", type=positive, metavar="ROWS", help=batch_size)
    group.add_argument(
        "--learning-rate",
        type=positive_real,
        metavar="LR",
        help="default: 1e-3 for a projection, 0.05 of its root mean square for a table whose rows are trained",
    )
    group.add_argument("--seed", type=int, default=42, help="default: %(default)s")


def _add_checkpoints(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--checkpoint-dir", type=Path, metavar="DIR", help="keep checkpoints there, and go on from the last of them"
    )


def _add_closeness(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--stay-close",
        type=not_negative,
        default=STAY_CLOSE,
        metavar="STRENGTH",
        help="how much each token's vector is held to where it started (default: %(default)s)",
    )


def add_distill(commands: Commands) -> None:
    """Declare ``distill``."""
    parser = command(
        commands,
        "distill",
        "make a static model that takes after a teacher, from plain text",
        "Make a static model of a token table that takes after any SentenceTransformer, from unlabelled plain text. "
        "The teacher's vectors are computed once and kept; an interrupted run goes on where it stopped.",
    )
    parser.add_argument(
        "codebook", help="directory of a codebook, checkpoint or static model, or a released model's name"
    )
    parser.add_argument(
        "texts", nargs="+", type=Path, help="UTF-8, a text a line; or .csv, .tsv, .json, .jsonl, .parquet: all texts"
    )
    add_output(parser, "the static model's directory")
    teacher = parser.add_argument_group("teacher")
    teacher.add_argument("--teacher", required=True, help="a SentenceTransformer's directory, or its id on the Hub")
    teacher.add_argument("--cache", type=Path, metavar="DIR", help="where to keep its vectors (default: OUT-teacher)")
    teacher.add_argument("--teacher-batch-size", type=positive, default=32, metavar="N", help="default: %(default)s")
    teacher.add_argument("--teacher-bf16", action="store_true", help="run it in bfloat16, faster on many processors")
    teacher.add_argument("--teacher-prompt", metavar="NAME", help="one of its prompts, to put in front of each text")
    teacher.add_argument("--teacher-similarity", choices=("cosine",), help="what to compare its vectors by instead")
    training = parser.add_argument_group("training")
    training.add_argument("--dim", type=positive, default=256, help="length of the vectors (default: %(default)s)")
    training.add_argument(
        "--every-row", action="store_true", help="train every row of the table, not projection and token weights alone"
    )
    training.add_argument("--binary", action="store_true", help="train sign embeddings, by straight-through estimation")
    _add_training(training, epochs=2.0, batch_size="default: 1,024, fewer for few texts")
    _add_checkpoints(training)
    parser.set_defaults(run=_distill)


def _distill(options: argparse.Namespace) -> None:
    require(*TRAIN)
    check_apart(options.out, options.codebook, *map(str, options.texts))
    from wordllama_st.cli.distill import run

    run(options, echo=print)


def add_finetune(commands: Commands) -> None:
    """Declare ``finetune``."""
    parser = command(
        commands,
        "finetune",
        "train a static model further, released or your own",
        "Train every row of a static model's table on your data. Tokens that are not in it stay where they are, and "
        "the others are held to where they started.",
    )
    parser.add_argument("model", help="directory of a static model, a released model's name, or a Hub id")
    _add_datasets(parser)
    add_output(parser, "the static model's directory")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--matryoshka-dims", type=positive, nargs="+", metavar="DIM", help="default: the model's and its halves to 64"
    )
    training.add_argument("--binary", action="store_true", help="train sign embeddings, by straight-through estimation")
    _add_closeness(training)
    _add_training(training, epochs=3.0)
    training.add_argument("--bf16", action="store_true", help="mixed precision")
    _add_checkpoints(training)
    parser.set_defaults(run=_finetune)


def _finetune(options: argparse.Namespace) -> None:
    require(*TRAIN)
    check_apart(options.out, options.model, *options.datasets)
    from wordllama_st.cli.finetune import run

    run(options, echo=print)


def add_adapt(commands: Commands) -> None:
    """Declare ``adapt``."""
    parser = command(
        commands,
        "adapt",
        "let a static model learn a folder of documents, without labels",
        "Form pairs from documents' structure (titles and sections, neighbouring passages, names and docstrings), "
        "hold some documents out, train on the others, and show what retrieval among the held-out ones was and is.",
    )
    parser.add_argument("model", help="directory of a static model, a released model's name, or a Hub id")
    parser.add_argument("folder", type=Path, help="text, Markdown, HTML, Python and PDF files, folders within it too")
    add_output(parser, "the static model's directory")
    _add_hold_out(parser.add_argument_group("data"), 0.15)
    training = parser.add_argument_group("training")
    _add_closeness(training)
    _add_training(training, epochs=3.0)
    parser.set_defaults(run=_adapt)


def _adapt(options: argparse.Namespace) -> None:
    require(*TRAIN)
    check_apart(options.out, options.model, str(options.folder))
    from wordllama_st.cli.adapt import run

    run(options, echo=print)

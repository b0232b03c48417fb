"""The ``adapt`` command."""

from __future__ import annotations

from pathlib import Path

from wordllama_st.cli import options as opt
from wordllama_st.static.released import DEFAULT_MODEL


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "adapt",
        "adapt a static model to documents, without labels",
        "Adapt a static model to the vectors that an embedder has given documents, so that its queries search the "
        "index as it is, without the embedder. Without vectors and without a teacher, adapt it to the structure of a "
        "folder of documents. Some documents are held out, and retrieval of them is scored.",
    )
    parser.add_argument(
        "model",
        nargs="?",
        default=DEFAULT_MODEL,
        help="directory of a static model, a released model's name, or a Hub id; for vectors, best the embedder that "
        "made them or what was distilled from it (default: %(default)s)",
    )
    parser.add_argument(
        "documents",
        type=Path,
        help=".parquet, .jsonl, .json, .csv or .tsv file, plain text with a document in each line, BEIR folder, or "
        "folder of text, Markdown, HTML, Python and PDF files at any depth",
    )
    opt.add_output(parser, "the static model's directory")
    opt.add_json(parser)
    index = parser.add_argument_group("vectors")
    index.add_argument("--vectors", type=Path, metavar="FILE", help=".npy file of the documents' vectors, in order")
    index.add_argument("--vectors-column", metavar="NAME", help="the column of vectors of a .parquet or .jsonl file")
    index.add_argument("--text-column", metavar="NAME", help="the column of documents (default: title and text)")
    index.add_argument(
        "--teacher",
        help="the embedder, a SentenceTransformer's directory or its id on the Hub: it encodes documents that have no "
        "vectors, and parts of documents as queries",
    )
    index.add_argument(
        "--queries",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="queries, of a log for example, for the teacher to encode",
    )
    index.add_argument("--cache", type=Path, metavar="DIR", help="where to keep its embeddings (default: OUT-teacher)")
    index.add_argument(
        "--asymmetric",
        type=Path,
        metavar="DIR",
        help="write a SentenceTransformer, too, whose queries go through the model and documents through the teacher",
    )
    index.add_argument(
        "--dim", type=opt.positive, help="compare in the leading principal axes of the vectors, not in their own space"
    )
    index.add_argument(
        "--similarity", type=Path, nargs="+", metavar="FILE", help="scored pairs, to report how similarities change"
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--hold-out",
        type=opt.proper_share,
        metavar="SHARE",
        help="share of the documents to evaluate on (default: 0.02 with vectors, 0.15 without)",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--stay-close",
        type=opt.not_negative,
        metavar="STRENGTH",
        help="without vectors: how strongly each token's embedding is held to its start (default: 30)",
    )
    opt.add_training(
        training,
        epochs=None,
        epochs_help="default: 10 with vectors, 3 without",
        batch_size="default: 1,024 with vectors, 256 without, fewer for little data",
    )
    parser.set_defaults(run=opt.run_recipe)

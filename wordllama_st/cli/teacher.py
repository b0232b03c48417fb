"""The ``teacher`` command."""

from __future__ import annotations

import argparse

from wordllama_st.cli import options as opt


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "teacher",
        "encode texts with a teacher, for distill",
        "Encode texts with a SentenceTransformer, into a directory of Parquet files with all columns and an embedding, "
        "which distill reads. A run that was killed goes on where it was when the same command is given again.",
    )
    parser.add_argument("teacher", help="a SentenceTransformer's directory, or its id on the Hub")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="input",
        help=".parquet, .jsonl, .csv or .tsv, or UTF-8 with a text a line; a directory, a glob, or a URL as "
        "s3://bucket/texts/*.parquet",
    )
    opt.add_output(parser, "the directory of Parquet files")
    opt.add_json(parser)
    parser.add_argument(
        "--text-column", metavar="NAME", help="the column of texts (default: the only one that has texts)"
    )
    parser.add_argument("--prompt-name", metavar="NAME", help="the teacher's prompt to put in front of each text")
    parser.add_argument(
        "--precision",
        choices=("float16", "float32"),
        default="float16",
        help="of the embeddings (default: %(default)s)",
    )
    parser.add_argument("--dim", type=opt.positive, help="Matryoshka dim to truncate to (default: the teacher's own)")
    parser.add_argument(
        "--similarity", choices=("cosine",), help="compare its embeddings by this instead of its own function"
    )
    opt.add_on_error(parser)
    speed = parser.add_argument_group("speed")
    speed.add_argument("--batch-size", type=opt.positive, default=32, metavar="N", help="default: %(default)s")
    speed.add_argument("--bf16", action="store_true", help="run it in bfloat16, faster on many processors")
    speed.add_argument(
        "--devices",
        nargs="+",
        metavar="DEVICE",
        help="cuda:0 cuda:1, a process for each; cpu several times for several processes that share the cores "
        "(default: the first GPU, or the CPU)",
    )
    opt.add_engine(speed)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Encode the texts, and print the report."""
    from wordllama_st import embed_with_teacher

    opt.check_json(options)
    opt.print_report(embed_with_teacher(**opt.recipe_arguments(options)), options)

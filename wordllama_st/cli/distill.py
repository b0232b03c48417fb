"""The ``distill`` command."""

from __future__ import annotations

from pathlib import Path

from wordllama_st.cli import options as opt


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "distill",
        "distill a SentenceTransformer into a static model, from unlabelled text",
        "Distill a SentenceTransformer into a static model over a codebook, from unlabelled text. The teacher's "
        "embeddings are computed once and kept; an interrupted run resumes where it stopped. Without --teacher, they "
        "are read with the texts, from the output of the teacher command.",
    )
    parser.add_argument(
        "codebook", help="directory of a codebook, checkpoint or static model, or a released model's name"
    )
    parser.add_argument(
        "texts",
        nargs="+",
        type=Path,
        help="UTF-8, one text a line; or .csv, .tsv, .json, .jsonl, .parquet: all columns of texts. Without --teacher, "
        "directories that the teacher command wrote, or .parquet and .jsonl files with embeddings",
    )
    opt.add_output(parser, "the static model's directory")
    opt.add_json(parser)
    teacher = parser.add_argument_group("teacher")
    teacher.add_argument("--teacher", help="a SentenceTransformer's directory, or its id on the Hub")
    teacher.add_argument("--text-column", metavar="NAME", help="without --teacher: the column of texts")
    teacher.add_argument(
        "--vectors-column", metavar="NAME", help="without --teacher: the column of embeddings (default: embedding)"
    )
    teacher.add_argument(
        "--cache", type=Path, metavar="DIR", help="where to keep its embeddings (default: OUT-teacher)"
    )
    teacher.add_argument(
        "--teacher-batch-size", type=opt.positive, default=32, metavar="N", help="default: %(default)s"
    )
    teacher.add_argument("--teacher-bf16", action="store_true", help="run it in bfloat16, faster on many processors")
    teacher.add_argument("--teacher-prompt-name", metavar="NAME", help="one of its prompts, in front of each text")
    teacher.add_argument(
        "--teacher-similarity", choices=("cosine",), help="compare its embeddings by this instead of its own function"
    )
    training = parser.add_argument_group("training")
    training.add_argument("--dim", type=opt.positive, default=256, help="dim of the embeddings (default: %(default)s)")
    training.add_argument(
        "--every-row", action="store_true", help="train every row of the table, not projection and token weights alone"
    )
    training.add_argument("--binary", action="store_true", help="train sign embeddings, by straight-through estimation")
    opt.add_training(training, epochs=2.0, batch_size="of each process; default: 1,024, fewer for few texts")
    opt.add_checkpoints(training)
    parser.set_defaults(run=opt.run_recipe)

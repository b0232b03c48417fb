"""The ``finetune`` command."""

from __future__ import annotations

from wordllama_st.cli import options as opt


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "finetune",
        "train a static model further, released or your own",
        "Train every row of a static model's table on your data. Tokens that the data does not contain do not move; "
        "the others are held to their start.",
    )
    parser.add_argument("model", help="directory of a static model, a released model's name, or a Hub id")
    opt.add_datasets(parser).add_argument(
        "--vectors-column",
        metavar="NAME",
        help="column of the vectors of documents that answer the queries in the other column: trains queries alone",
    )
    opt.add_output(parser, "the static model's directory")
    opt.add_json(parser)
    training = parser.add_argument_group("training")
    opt.add_dims(training)
    training.add_argument(
        "--stay-close",
        type=opt.not_negative,
        default=30.0,
        metavar="STRENGTH",
        help="how strongly each token's embedding is held to its start (default: %(default)s)",
    )
    opt.add_training(training)
    training.add_argument("--bf16", action="store_true", help="train in mixed precision")
    opt.add_checkpoints(training)
    parser.set_defaults(run=opt.run_recipe)

"""The ``train`` command."""

from __future__ import annotations

from wordllama_st.cli import options as opt


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "train",
        "train an embedder over a codebook",
        "Train token weights and a projection over a frozen codebook. The loss follows from the columns of the data: "
        "two texts are pairs that belong together, three or more are triplets (anchor, positive, negatives), two texts "
        "and a number are scored pairs.",
    )
    parser.add_argument(
        "codebook", help="directory of a codebook, checkpoint, trained or static model, or a released model's name"
    )
    opt.add_datasets(parser)
    opt.add_output(parser, "the trained model's directory")
    opt.add_json(parser)
    model = parser.add_argument_group("model")
    model.add_argument("--dim", type=opt.positive, help="dim of the embeddings (default: 256)")
    opt.add_dims(model)
    model.add_argument(
        "--initialize",
        choices=("pca", "identity", "random"),
        help="start of the projection (default: identity for the table of a released or static model, pca for others)",
    )
    model.add_argument(
        "--token-weights",
        choices=("ones", "stopwords", "rank"),
        help="what tokens count for at the start (default: ones); rank: less for those early in the vocabulary",
    )
    model.add_argument(
        "--hidden-features", type=opt.positive, metavar="N", help="project each token through a hidden layer"
    )
    model.add_argument("--max-seq-length", type=opt.positive, metavar="N", help="tokens read of a text (default: all)")
    training = parser.add_argument_group("training")
    opt.add_training(training)
    training.add_argument("--bf16", action="store_true", help="train in mixed precision")
    opt.add_checkpoints(training)
    parser.set_defaults(run=opt.run_recipe)

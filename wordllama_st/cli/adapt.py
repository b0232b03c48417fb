"""The ``adapt`` command."""

from __future__ import annotations

from pathlib import Path

from wordllama_st.cli import options as opt


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "adapt",
        "adapt a static model to a folder of documents, without labels",
        "Form pairs from documents' structure (titles and sections, neighbouring passages, names and docstrings), "
        "hold some documents out, train on the others, and score retrieval among the held-out ones before and after.",
    )
    parser.add_argument("model", help="directory of a static model, a released model's name, or a Hub id")
    parser.add_argument("folder", type=Path, help="text, Markdown, HTML, Python and PDF files, at any depth")
    opt.add_output(parser, "the static model's directory")
    opt.add_json(parser)
    opt.add_hold_out(parser.add_argument_group("data"), 0.15)
    training = parser.add_argument_group("training")
    opt.add_stay_close(training)
    opt.add_training(training)
    parser.set_defaults(run=opt.run_recipe)

"""``wordllama-st inspect``: what a token table is and what is unusual about it, as text, as JSON and as a plot."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wordllama_st.cli.options import (
    Commands,
    add_json,
    add_overwrite,
    add_source_options,
    check_json,
    command,
    positive,
    print_report,
)


def add_command(commands: Commands) -> None:
    """Declare the command."""
    what = "what a token table is and what is unusual about it: zero, duplicate and non-finite rows"
    description = f"Report {what}, norms, and the tokens nearest to those named."
    parser = command(commands, "inspect", "inspect a language model's token table", description)
    parser.add_argument("source", help="a model, directory or file, as for `extract`")
    add_source_options(parser)
    parser.add_argument("--tokens", nargs="+", default=[], metavar="TOKEN", help="show the tokens nearest to these")
    parser.add_argument("--neighbors", type=positive, default=8, metavar="N", help="how many of each (default: 8)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot norms and spectrum (.png, .svg or .pdf)")
    add_json(parser)
    add_overwrite(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Inspect a token table."""
    from wordllama_st.analysis import inspect_table, plot_table
    from wordllama_st.analysis.plot_file import check_plot
    from wordllama_st.codebook import find_table
    from wordllama_st.storage.staging import check_output_file

    if options.plot:
        check_plot(options.plot)
        check_output_file(options.plot, overwrite=options.overwrite)
    check_json(options)
    show_progress_bar = sys.stderr.isatty()
    found = find_table(options.source, tensor_name=options.tensor_name, revision=options.revision, token=options.token)
    report = inspect_table(found, options.tokens, options.neighbors, show_progress_bar=show_progress_bar)
    print_report(report, options)
    if options.plot:
        plot_table(report, options.plot, show_progress_bar=show_progress_bar)
        print(options.plot)

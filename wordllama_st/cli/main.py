"""The command line, ``wordllama-st COMMAND``: each command in a module of its own."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from safetensors import SafetensorError

from wordllama_st import __version__
from wordllama_st.errors import WordLlamaSTError

#: The modules of the commands, in the order of the help.
COMMANDS = (
    "models", "extract", "inspect", "compress", "train", "teacher", "distill", "finetune", "adapt", "bake", "evaluate",
    "explain", "encode", "demo",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0; 1 for an error, which one line on stderr explains; 130 if interrupted. (argparse exits with 2
        for wrong usage.)
    """
    options = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore", module="torch")
    warnings.filterwarnings("ignore", category=FutureWarning)  # of the libraries to each other
    for library in ("sentence_transformers", "datasets", "pypdf"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # what they log as errors is raised as well
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
    for name in COMMANDS:
        import_module(f"wordllama_st.cli.{name}").add_command(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

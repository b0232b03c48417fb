"""The ``extract`` command."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from wordllama_st.cli import options as opt

if TYPE_CHECKING:
    from wordllama_st.codebook import Provenance


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "extract",
        "extract the codebook of a language model",
        "Write a model's codebook, its input embedding matrix and tokenizer, as a directory. No other weight is read.",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="source",
        help="a model on the Hub (ORG/MODEL; only the table is fetched), a checkpoint's or static model's directory, a "
        ".gguf file, a codebook, or a released model's name; several of one vocabulary are joined side by side",
    )
    opt.add_output(parser, "the codebook's directory")
    opt.add_source_options(parser)
    parser.add_argument(
        "--zero-added-tokens", action="store_true", help="give added tokens without a row in the table a row of zeros"
    )
    parser.add_argument("--scale", choices=("rms",), help="scale the rows of joined tables to equal root mean square")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Extract a codebook, or join several."""
    from wordllama_st.codebook import Codebook
    from wordllama_st.storage.staging import check_output

    check_output(options.path, overwrite=options.overwrite, sources=options.sources)
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
    codebook.save(options.path, overwrite=options.overwrite, show_progress_bar=sys.stderr.isatty())
    for part in codebooks:
        _print_origin(part.provenance)
    for difference in codebook.provenance.tolerated:
        print(f"differs in a token that no text contains: {difference}")
    print(f"{options.path}: {list(codebook.provenance.shape)} {codebook.provenance.dtype}")


def _print_origin(origin: Provenance) -> None:
    at = f" at {origin.commit}" if origin.commit else ""
    print(f"{origin.source}{at}: {origin.tensor_name or 'table'} {list(origin.shape)} {origin.dtype}")
    if origin.trimmed_rows:
        print(f"  without {origin.trimmed_rows:,} rows beyond the tokenizer's last id")
    if origin.zero_rows:
        print(f"  with {origin.zero_rows:,} rows of zeros for added tokens")

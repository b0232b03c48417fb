"""The ``encode`` command: lines of text to a NumPy file of their vectors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np

from wordllama_st.errors import ArgumentError
from wordllama_st.static import StaticEncoder
from wordllama_st.static.precision import Precision
from wordllama_st.storage.staging import check_output_file, staged_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", help="directory of a static model, a released model's name, or a Hub id")
    parser.add_argument("files", nargs="*", type=Path, metavar="file", help="UTF-8, a text a line (default: stdin)")
    parser.add_argument("--out", "-o", type=Path, required=True, metavar="FILE.npy", help="the vectors, a row a line")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument("--dim", type=int, metavar="DIM", help="Matryoshka dim to cut to (default: the model's own)")
    parser.add_argument("--normalize", action="store_true", help="scale vectors to unit length")
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="float32", help="of the vectors (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="0 for all cores (default: %(default)s)")


def run(options: argparse.Namespace, echo: Callable[[str], None]) -> None:
    """Encode the lines.

    Raises:
        OutputExistsError: If the output exists.
        ArgumentError: If a file is not UTF-8.
        ModelLoadError: If the model is no static model.
    """
    check_output_file(options.out, overwrite=options.overwrite)
    encoder = StaticEncoder.from_pretrained(options.model)
    vectors = encoder.encode(
        _lines(options.files),
        precision=options.precision,
        normalize_embeddings=options.normalize,
        truncate_dim=options.dim,
        show_progress_bar=sys.stderr.isatty(),
        num_threads=options.threads or None,
    )
    with staged_file(options.out) as path, path.open("wb") as file:
        np.save(file, vectors)
    echo(f"{options.out}: {list(vectors.shape)} {vectors.dtype}")


def _lines(files: list[Path]) -> Iterator[str]:
    paths: list[Path | None] = [*files] or [None]
    for path in paths:
        name = "standard input" if path is None else str(path)
        # A text may have any of the other characters that str.splitlines takes for the end of a line.
        content = sys.stdin.buffer.read() if path is None else path.read_bytes()
        try:
            yield from content.decode("utf-8").removesuffix("\n").split("\n") if content else ()
        except UnicodeDecodeError as error:
            raise ArgumentError(f"{name} is not UTF-8 at byte {error.start}; convert it: iconv -t utf-8.") from error


def add_command(commands):  # type: ignore
    from wordllama_st.cli import options as opt

    parser = opt.command(commands, "encode", "x", "x")
    add_arguments(parser)
    parser.set_defaults(run=lambda options: run(options, print))

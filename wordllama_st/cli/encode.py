"""The ``encode`` command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from wordllama_st.cli import options as opt
from wordllama_st.static.precision import Precision


def add_command(commands: opt.Commands) -> None:
    """Declare the command."""
    parser = opt.command(
        commands,
        "encode",
        "encode texts with a static model",
        "Encode texts with a static model, without torch, into a NumPy file with one row per text.",
    )
    parser.add_argument("model", help="directory of a static model, a released model's name, or a Hub id")
    parser.add_argument(
        "sources",
        nargs="*",
        type=Path,
        metavar="file",
        help="UTF-8, one text a line; or .csv, .tsv, .json, .jsonl, .parquet: a column of texts (default: stdin)",
    )
    parser.add_argument("--column", metavar="NAME", help="the column of texts (default: the only one that has texts)")
    parser.add_argument("--out", "-o", dest="path", type=Path, required=True, metavar="FILE.npy", help="the embeddings")
    opt.add_overwrite(parser)
    parser.add_argument("--dim", type=opt.positive, help="Matryoshka dim to truncate to (default: the model's own)")
    parser.add_argument("--normalize", action="store_true", help="scale embeddings to unit length")
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="float32", help="of the embeddings (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="0 for all cores (default: %(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Encode the texts, and save their embeddings."""
    import numpy as np

    from wordllama_st.data.texts import read_column
    from wordllama_st.static import StaticEncoder
    from wordllama_st.storage.staging import check_output_file, staged_file

    check_output_file(options.path, overwrite=options.overwrite)
    encoder = StaticEncoder.from_pretrained(options.model)
    embeddings = encoder.encode(
        read_column(options.sources or [sys.stdin.buffer], options.column),
        precision=options.precision,
        normalize_embeddings=options.normalize,
        truncate_dim=options.dim,
        show_progress_bar=sys.stderr.isatty(),
        num_threads=options.threads or None,
    )
    with staged_file(options.path) as staging, staging.open("wb") as file:
        np.save(file, embeddings)
    print(f"{options.path}: {list(embeddings.shape)} {embeddings.dtype}")

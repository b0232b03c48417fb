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
        "Encode texts with a static model, without torch: into a NumPy file with one row per text, or into a directory "
        "of Parquet files with all columns and an embedding. Directories, globs, URLs and Parquet files are encoded "
        "part by part, so they need not fit in memory. A run that was killed "
        "goes on where it was when the same command is given again.",
    )
    parser.add_argument("model", help="directory of a static model, a released model's name, or a Hub id")
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="input",
        help="UTF-8, one text a line; or .csv, .tsv, .json, .jsonl, .parquet: a column of texts (default: stdin); "
        "also a directory, a glob or a URL as s3://bucket/texts/*.parquet",
    )
    parser.add_argument(
        "--text-column",
        "--column",
        metavar="NAME",
        help="the column of texts (default: the only one that has texts)",
    )
    parser.add_argument(
        "--out", "-o", dest="path", type=Path, required=True, metavar="OUT", help="a FILE.npy, or a directory"
    )
    opt.add_overwrite(parser)
    parser.add_argument("--dim", type=opt.positive, help="Matryoshka dim to truncate to (default: the model's own)")
    parser.add_argument("--normalize", action="store_true", help="scale embeddings to unit length")
    parser.add_argument(
        "--precision",
        choices=[*get_args(Precision), "float16"],
        default="float32",
        help="of the embeddings; float16 for collections only (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="0 for all cores (default: 1 for a NumPy file, all for Parquet)"
    )
    parquet = parser.add_argument_group("collections")
    parquet.add_argument(
        "--id-column", metavar="NAME", help="the only column to keep beside the embedding (default: all)"
    )
    parquet.add_argument("--prompt-name", metavar="NAME", help="the model's prompt to put in front of each text")
    opt.add_on_error(parquet)
    opt.add_engine(parquet)
    opt.add_json(parquet)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Encode the texts, and save their embeddings."""
    if not options.sources or (options.path.suffix == ".npy" and not _is_collection(options)):
        _write_numpy(options)
    else:
        _write_dataset(options)


def _is_collection(options: argparse.Namespace) -> bool:
    """Whether inputs are read part by part; a .npy file of a few plain files needs no extra."""
    if options.engine != "threads" or options.id_column is not None or options.on_error != "stop":
        return True
    return any(
        "://" in source or set("*?[") & set(source) or Path(source).is_dir() or Path(source).suffix == ".parquet"
        for source in options.sources
    )


def _write_numpy(options: argparse.Namespace) -> None:
    import numpy as np

    from wordllama_st.data.texts import read_column
    from wordllama_st.static import StaticEncoder
    from wordllama_st.storage.staging import check_output_file, staged_file

    check_output_file(options.path, overwrite=options.overwrite)
    encoder = StaticEncoder.from_pretrained(options.model)
    embeddings = encoder.encode(
        read_column(options.sources or [sys.stdin.buffer], options.text_column),
        prompt_name=options.prompt_name,
        precision=options.precision,
        normalize_embeddings=options.normalize,
        truncate_dim=options.dim,
        show_progress_bar=sys.stderr.isatty(),
        num_threads=1 if options.threads is None else options.threads or None,
    )
    with staged_file(options.path) as staging, staging.open("wb") as file:
        np.save(file, embeddings)
    print(f"{options.path}: {list(embeddings.shape)} {embeddings.dtype}")


def _write_dataset(options: argparse.Namespace) -> None:
    from wordllama_st import encode_dataset

    opt.check_json(options)
    report = encode_dataset(
        options.model,
        options.sources,
        options.path,
        text_column=options.text_column,
        id_column=options.id_column,
        precision=options.precision,
        normalize=options.normalize,
        truncate_dim=options.dim,
        prompt_name=options.prompt_name,
        num_threads=options.threads or None,
        engine=options.engine,
        address=options.address,
        on_error=options.on_error,
        overwrite=options.overwrite,
        show_progress_bar=sys.stderr.isatty(),
    )
    opt.print_report(report, options)

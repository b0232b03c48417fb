"""The ``models`` and ``pull`` commands: the released models."""

from __future__ import annotations

import argparse
from pathlib import Path

from wordllama_st.cli import options as opt
from wordllama_st.static import released


def add_command(commands: opt.Commands) -> None:
    """Declare both commands."""
    parser = opt.command(commands, "models", "list the released models", "List the released models.")
    parser.set_defaults(run=run)
    parser = opt.command(
        commands,
        "pull",
        "write a released model as a directory",
        "Write a released model as a directory that SentenceTransformer(DIR) loads with wordllama-st not installed.",
    )
    parser.add_argument("name", help="one of `wordllama-st models`")
    parser.add_argument("--out", "-o", dest="path", type=Path, metavar="DIR", help="default: ./NAME")
    parser.add_argument("--revision", help="branch, tag or commit of the model's Hub repository")
    opt.add_overwrite(parser)
    parser.set_defaults(run=run_pull)


def run(options: argparse.Namespace) -> None:
    """List the released models."""
    print(f"{'name':<36}{'dims':>5}  files")
    for name, model in released.RELEASED.items():
        where = "installed with wordllama" if model.embedded else f"https://hf.co/{model.repo_id}"
        print(f"{name:<36}{model.dim:>5}  {where}")


def run_pull(options: argparse.Namespace) -> None:
    """Write a released model as a directory."""
    from wordllama_st.static.formats.save import pull

    path = options.path or Path(options.name)
    table, files = pull(options.name, path, revision=options.revision, overwrite=options.overwrite)
    print(f"{path}: {table.num_tokens:,} token embeddings, {table.dim} dimensions, from {files.revision}")

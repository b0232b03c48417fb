"""Directories and files that appear under their final name only when they are complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wordllama_st.errors import OutputExistsError

#: A directory with one of these is a saved model or codebook, which overwriting may replace as a whole.
OVERWRITABLE = ("modules.json", "codebook.json", "tokenizers/tokenizer.json")


def check_output(path: str | Path, *, overwrite: bool = False) -> Path:
    """Refuse an output directory that exists, before any work is done for it.

    Raises:
        OutputExistsError: If ``path`` is a file; or a directory with content, unless ``overwrite`` is set and the
            content is a model or a codebook.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise OutputExistsError(f"{path} is a file; the output is a directory.")
    if path.is_dir() and any(path.iterdir()):
        if not overwrite:
            raise OutputExistsError(f"{path} already exists; choose another output, or overwrite it on purpose.")
        if not any((path / name).is_file() for name in OVERWRITABLE):
            raise OutputExistsError(f"{path} holds something that is no model or codebook, and is not overwritten.")
    return path


def check_output_file(path: Path, *, overwrite: bool = False) -> None:
    """Refuse an output file that exists, before any work is done for it.

    Raises:
        OutputExistsError: If ``path`` is a directory; or a file, unless ``overwrite`` is set.
    """
    if path.exists() and (path.is_dir() or not overwrite):
        raise OutputExistsError(f"{path} already exists; choose another output, or overwrite it on purpose.")


@contextmanager
def staged_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory beside ``path`` that takes its place when the block ends without an error.

    Whatever stood at ``path`` stays untouched until then, and for good if the block fails or the process is killed in
    it. (Two directories cannot change places in one step. A process killed at the very moment in which the new one
    replaces the old leaves the old one whole, under ``.NAME.….partial/replaced``.)

    Raises:
        OutputExistsError: As :func:`check_output`.
    """
    path = check_output(path, overwrite=overwrite).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    content, replaced = staging / path.name, staging / "replaced"
    try:
        content.mkdir()
        yield content
        if path.exists():
            # A rename cannot replace a directory that has entries, so the old one steps aside first.
            path.rename(replaced)
        content.rename(path)
    finally:
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` that is renamed to it when the block ends without an error.

    Readers that have the old file mapped keep the old bytes, and so do its hard links.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield staging
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)

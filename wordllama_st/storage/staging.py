"""Directories and files that appear under their final name only when they are complete."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from wordllama_st.disk import naming_full_disk
from wordllama_st.errors import ModelLoadError, OutputExistsError, reason

try:
    import fcntl
except ImportError:  # Windows, where what killed processes leave stays
    fcntl = None  # type: ignore[assignment]

#: What the names of staging directories end with, as tempfile makes them.
_SUFFIX = ".????????.partial"
#: A directory with one of these is a saved model or codebook, which overwriting may replace.
OVERWRITABLE = ("modules.json", "codebook.json", "tokenizers/tokenizer.json")
#: What there may be in it; with anything else, such as a .git, it is not only a model's.
_is_ours = re.compile(
    r"README\.md|(modules|config|config_sentence_transformers|router_config|tokenizer)\.json|model\.safetensors"
    r"|(codebook|vector_space)\.(json|safetensors)|weights|tokenizers|([a-z]+_)?\d+_\w+"
).fullmatch


def check_output(path: str | Path | None, *, overwrite: bool = False, sources: Iterable[object] = ()) -> None:
    """Refuse an output directory that exists, before any work is done for it.

    First, what killed processes left of it is removed, or put back if one of them was just about to replace it.

    Args:
        path: The output directory; None, where nothing is saved, is fine.
        overwrite: Whether it may replace a model or codebook.
        sources: What the output is made from. Those that are paths on disk must not be replaced by it.

    Raises:
        OutputExistsError: If ``path`` is a file; or a directory with content, unless ``overwrite`` is set and the
            content is a model or a codebook, and nothing else; or if it is or contains one of the sources.
    """
    if path is None:
        return
    path = Path(path)
    with _lock(path.parent.resolve()):
        remove_leftovers(path.absolute().parent, path.absolute().name)
        _check_directory(path, overwrite=overwrite)
    for source in (Path(source) for source in sources if isinstance(source, (str, Path))):
        if source.exists() and source.resolve().is_relative_to(path.resolve()):
            raise OutputExistsError(f"{path} is, or holds, what it would be made from; choose another output.")


def _check_directory(path: Path, *, overwrite: bool) -> None:
    """Refuse what :func:`check_output` refuses, but for its sources."""
    if path.exists() and not path.is_dir():
        raise OutputExistsError(f"{path} is a file; the output is a directory.")
    if path.is_dir() and any(path.iterdir()):
        if not overwrite:
            raise OutputExistsError(f"{path} already exists; choose another output, or overwrite it on purpose.")
        if not any((path / name).is_file() for name in OVERWRITABLE):
            raise OutputExistsError(f"{path} holds something that is no model or codebook, and is not overwritten.")
        if unrelated := sorted(entry.name for entry in path.iterdir() if not _is_ours(entry.name)):
            listed = f"{', '.join(unrelated[:5])}{', …' if len(unrelated) > 5 else ''}"
            raise OutputExistsError(
                f"{path} also holds {listed}, which overwriting would delete; move that away, or choose another output."
            )


def check_output_file(path: Path, *, overwrite: bool = False) -> None:
    """Refuse an output file that exists, before any work is done for it.

    First, what killed processes left of it is removed.

    Raises:
        OutputExistsError: If ``path`` is a directory; or a file, unless ``overwrite`` is set.
    """
    remove_leftovers(path.parent, path.name)
    if path.exists() and (path.is_dir() or not overwrite):
        raise OutputExistsError(f"{path} already exists; choose another output, or overwrite it on purpose.")


@contextmanager
def staged_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory beside ``path`` that takes its place when the block ends without an error.

    Whatever stood at ``path`` stays untouched until then, and for good if the block fails or the process is killed in
    it. (Two directories cannot change places in one step. A process killed at the very moment in which the new one
    replaces the old leaves the old one whole, under ``.NAME.….partial/NAME.replaced``; the next run puts it back.) What
    is written is on disk before it has its name, so that a power cut leaves the old or the new, whole.

    Of several that write to one path at once, the first wins; with ``overwrite``, the last.

    Raises:
        OutputExistsError: As :func:`check_output`, which is asked again before the directory takes its place.
        OutputError: If there is no room for it.
    """
    check_output(path, overwrite=overwrite)
    path = Path(path).absolute()
    with naming_full_disk(path), _own_directory(path) as staging:
        content, replaced = staging / path.name, _aside(staging, path)
        content.mkdir()
        yield content
        for folder, _, names in os.walk(content):
            for name in (*names, ""):
                _sync(Path(folder, name))
        with _lock(path.parent.resolve()):
            _check_directory(path, overwrite=overwrite)
            try:
                if path.exists():
                    # No rename replaces a directory that has entries, so the old one steps aside first.
                    path.rename(replaced)
                content.rename(path)
            finally:
                if content.exists() and replaced.exists():
                    replaced.rename(path)
        _sync(path.parent)


def _aside(staging: Path, path: Path) -> Path:
    """Where what is replaced steps aside."""
    return staging / f"{path.name}.replaced"


@contextmanager
def _own_directory(path: Path) -> Iterator[Path]:
    """Yield a new directory beside ``path`` whose name nobody can foresee, locked until it is removed at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        while True:
            staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
            held.enter_context(_lock(staging))
            if staging.exists():  # and was not removed as a dead process's before it was locked
                break
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def sole_user(path: Path) -> Iterator[bool]:
    """Hold a file's lock, which ends with the process; and tell whether no other has it. Without locks, none has."""
    with path.open("rb") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_alone = True
        except BlockingIOError:
            is_alone = False
        except OSError:  # a file system without locks
            is_alone = True
        yield is_alone


@contextmanager
def _lock(directory: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a directory's lock, which ends with the process, however that ends; and tell whether it is held."""
    descriptor, is_held = None, False
    if fcntl is not None:
        with suppress(OSError):  # another has it, or there is no such directory, or a file system without locks
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            is_held = True
    try:
        yield is_held
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_leftovers(directory: Path, name: str | None = None) -> None:
    """Remove the staging directories of processes that were killed, and put back what one of them was to replace.

    Args:
        directory: Where they are.
        name: Of the output they were for; None for all.
    """
    for staging in directory.glob(f".{'*' if name is None else glob.escape(name)}{_SUFFIX}"):
        with _lock(staging, wait=False) as is_dead:
            if is_dead:
                path = directory / staging.name[1 : -len(_SUFFIX)]
                if (replaced := _aside(staging, path)).exists() and not path.exists():
                    replaced.rename(path)
                shutil.rmtree(staging, ignore_errors=True)


def discard(directory: Path, path: Path) -> None:
    """Remove a directory in one step; what a killed process does not remove is a leftover of the output at ``path``."""
    with _own_directory(path) as own, suppress(FileNotFoundError):  # another process was faster
        directory.rename(own / directory.name)


def is_staging(name: str) -> bool:
    """Whether a name is that of a staging directory, of a process that is alive or dead."""
    return fnmatch(name, f".*{_SUFFIX}")


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a name in a directory beside ``path``; the file moves to ``path`` when the block ends without an error.

    Nobody can foresee the name, and lay a link there. Readers that have the old file mapped keep the old bytes, and so
    do its hard links. The bytes are on disk before the name is, and both when this ends: a power cut leaves the old
    file or the new one, whole. What killed processes left of the file is removed.

    Raises:
        OutputError: If there is no room for it.
    """
    remove_leftovers(path.parent, path.name)
    with naming_full_disk(path), _own_directory(path) as directory:
        yield directory / path.name
        move_durably(directory / path.name, path)


def move_durably(source: Path, path: Path) -> None:
    """Move a file to another name of its file system, which it has when its bytes are on disk, and then for good."""
    _sync(source)
    os.replace(source, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Have a file, or the names in a directory, written to disk."""
    if path.is_dir() and os.name != "posix":  # Windows does not open directories
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_or_record(path: Path, made_of: Mapping[str, Any], notes: Mapping[str, Any] | None = None) -> list[str]:
    """Record what a directory's content is to be made of, or compare that with what was recorded.

    What killed processes left in the directory is removed.

    Args:
        path: The record, a JSON file in the directory, which is made with it.
        made_of: What must be the same for the content to be used.
        notes: What is recorded as well, and not compared.

    Returns:
        The names of what is different; none where nothing was recorded yet.

    Raises:
        ModelLoadError: If the record is damaged.
    """
    with naming_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.parent.resolve()):  # of several processes, the first records, and the others compare
        remove_leftovers(path.parent)
        if not path.is_file():
            with staged_file(path) as staging:
                staging.write_text(json.dumps({**made_of, **(notes or {})}, indent=2) + "\n", encoding="utf-8")
            return []
    try:
        recorded = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelLoadError(f"{path} is damaged: {reason(error)}. Delete {path.parent} and run again.") from error
    return [key for key in made_of if recorded.get(key) != made_of[key]]


@dataclass(frozen=True)
class OwnFile:
    """A file that holds a codebook's table and nothing else, so that a save may link it.

    Paths are reused: a second model saved into the same directory replaces the first one's file. Two of these are
    equal if they are the same file on disk, wherever it lies.
    """

    path: Path = field(compare=False)
    identity: tuple[int, int, int] | None

    @classmethod
    def at(cls, path: Path) -> OwnFile:
        """The file at a path now; one that is not there is equal to none that is."""
        try:
            status = path.stat()
        except OSError:
            return cls(path.absolute(), None)
        return cls(path.absolute(), (status.st_dev, status.st_ino, status.st_mtime_ns))

    def is_still_there(self) -> bool:
        """Whether the path still leads to this very file."""
        return self.identity is not None and self == OwnFile.at(self.path)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all, into a directory that is made if it is missing."""
    with staged_file(path) as staging:
        staging.write_text(text, encoding="utf-8")

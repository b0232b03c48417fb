"""The documents of a folder: which files are read, and what became of the others."""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from wordllama_st.data.docstrings import SKIPPED_FOLDERS as TEST_FOLDERS
from wordllama_st.data.documents import html, markdown, pdf, plain_text, python_source
from wordllama_st.data.documents.document import Document, Section
from wordllama_st.errors import DocumentError

logger = logging.getLogger(__name__)

#: Bytes. A book is one megabyte; a file of more than ten is a log or data, and would be in memory several times over.
LARGEST_TEXT = 10_000_000
#: Bytes. Most of those of a PDF are pictures and fonts.
LARGEST_PDF = 100_000_000
#: Folders of other people's work, besides hidden ones and virtual environments.
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
SKIPPED_FOLDER_ENDINGS = (".egg-info", ".dist-info")
#: What every virtual environment has.
ENVIRONMENT_FILE = "pyvenv.cfg"


@dataclass(frozen=True)
class Format:
    """How a kind of file is read.

    Attributes:
        name: What people call it.
        read: From a file's bytes and its path within the folder to its sections.
        largest: Files of more bytes are skipped.
    """

    name: str
    read: Callable[[bytes, str], list[Section]]
    largest: int = LARGEST_TEXT


_TEXT = Format("text", plain_text.read)
_MARKDOWN = Format("Markdown", markdown.read)
_HTML = Format("HTML", html.read)
#: Ending of a file's name, in lower case -> how it is read.
FORMATS = {
    ".txt": _TEXT,
    ".rst": Format("reStructuredText", plain_text.read),
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".html": _HTML,
    ".htm": _HTML,
    ".py": Format("Python", python_source.read),
    ".pdf": Format("PDF", pdf.read, LARGEST_PDF),
}


@dataclass(frozen=True)
class Skipped:
    """A file that should have been read and was not.

    Attributes:
        path: Its path within the folder.
        reason: Why; what is behind a colon is of this file alone.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Documents:
    """What a folder holds.

    Attributes:
        root: The folder, or the one file, that was read.
        documents: Those that have text, in the order of their paths.
        empty: The paths of those that have none.
        skipped: The files and folders that could not be read, or were not to be.
        others: How many files of other kinds there are, by the ending of their names.
    """

    root: Path
    documents: tuple[Document, ...]
    empty: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    others: tuple[tuple[str, int], ...] = ()


def read_documents(folder: str | Path, *, show_progress_bar: bool | None = None) -> Documents:
    """Read every document below a folder: plain text, reStructuredText, Markdown, HTML, Python and PDF.

    Hidden files and folders, installed packages, virtual environments and links to folders are passed over, and so are
    Python's tests. The same files give the same result on every machine.

    Args:
        folder: The folder; or one document alone.
        show_progress_bar: None shows it when this package logs at INFO, as the library does.

    Raises:
        DocumentError: If there is no such folder; or no document with text in it; or a document that was named alone
            cannot be read.
        MissingExtraError: If a document needs a library that is not installed.
    """
    root = Path(folder)
    if root.is_file() and root.suffix.lower() not in FORMATS:
        raise DocumentError(f"{root} is a file, and none of {', '.join(FORMATS)}. Name a folder, or one of those.")
    if not root.exists():
        raise DocumentError(f"There is no folder {root}.")
    if show_progress_bar is None:
        show_progress_bar = logger.isEnabledFor(logging.INFO)
    skipped: list[Skipped] = []
    found = [root] if root.is_file() else list(_files(root, skipped))
    others = Counter(path.suffix.lower() or "no ending" for path in found if path.suffix.lower() not in FORMATS)
    documents: list[Document] = []
    to_read = [path for path in found if path.suffix.lower() in FORMATS]
    for path in tqdm(to_read, "Reading", unit=" files", disable=not show_progress_bar):
        kind = FORMATS[path.suffix.lower()]
        name = path.name if path == root else _name(path.relative_to(root))
        try:
            documents.append(Document(name, kind.name, tuple(kind.read(_content(path, kind, name), name))))
        except DocumentError as error:
            if path == root:
                raise DocumentError(f"{root} cannot be read: {error}.") from error
            skipped.append(Skipped(name, str(error)))
    read = Documents(
        root,
        tuple(document for document in documents if document.sections),
        tuple(document.path for document in documents if not document.sections),
        tuple(skipped),
        tuple(others.most_common()),
    )
    if not read.documents:
        raise DocumentError(_nothing_in(read))
    return read


def _files(root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """The files below a folder in the order of their paths; ``skipped`` takes the folders that are left out."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(_name(Path(error.filename).relative_to(root)), f"cannot be opened: {error.strerror}"))

    for here, folders, files in os.walk(root, onerror=unreadable):
        folder = Path(here)
        for name in folders:
            if (folder / name).is_symlink() and not _is_passed_over(name):
                skipped.append(Skipped(_name((folder / name).relative_to(root)), "a link to a folder, not followed"))
        folders[:] = sorted(
            name for name in folders if not _is_passed_over(name) and not (folder / name / ENVIRONMENT_FILE).exists()
        )
        yield from (folder / name for name in sorted(files) if not name.startswith("."))


def _is_passed_over(folder: str) -> bool:
    return folder.startswith(".") or folder in SKIPPED_FOLDERS or folder.endswith(SKIPPED_FOLDER_ENDINGS)


def _content(path: Path, kind: Format, name: str) -> bytes:
    if path.suffix.lower() == ".py" and TEST_FOLDERS.intersection(name.split("/")[:-1]):
        raise DocumentError("tests and vendored code")
    try:
        if not path.is_file():  # a pipe would be waited for
            raise DocumentError("a broken link" if path.is_symlink() else "no regular file")
        with path.open("rb") as file:
            content = file.read(kind.largest + 1)
    except OSError as error:
        raise DocumentError(f"cannot be opened: {error.strerror or errno.errorcode.get(error.errno or 0)}") from error
    if len(content) > kind.largest:
        raise DocumentError(f"larger than {kind.largest // 1_000_000} MB, to be divided")
    return content


def _name(path: Path) -> str:
    """A path that can be printed, and is the same on every machine."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def _nothing_in(read: Documents) -> str:
    found = [f"{count:,} {ending}" for ending, count in read.others[:5]]
    if read.empty:
        found.append(f"{len(read.empty):,} without text (such as {read.empty[0]})")
    if read.skipped:
        found.append(f"{len(read.skipped):,} skipped (such as {read.skipped[0].path}: {read.skipped[0].reason})")
    return f"{read.root} has no text in any of {', '.join(FORMATS)}; found: {', '.join(found) or 'no files'}."

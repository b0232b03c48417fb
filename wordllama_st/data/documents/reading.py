"""Read the documents of a folder: which files are read, and what became of the others."""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from wordllama_st.data.docstrings import SKIPPED_FOLDERS as TEST_FOLDERS
from wordllama_st.data.documents import html, markdown, pdf, plain_text, python_source
from wordllama_st.data.documents.document import Document, Section, counted, some
from wordllama_st.errors import DocumentError

logger = logging.getLogger(__name__)

#: Bytes. A book is one megabyte; a file of more than ten is a log or data, and would be in memory several times over.
LARGEST_TEXT = 10_000_000
#: Bytes. Most of those of a PDF are pictures and fonts.
LARGEST_PDF = 100_000_000
#: Folders of other people's work, besides hidden ones and virtual environments.
SKIPPED_FOLDERS = {"__pycache__", "node_modules", "site-packages", "dist-packages"}


class Format(NamedTuple):
    """A file format: its name, the function from a file's bytes and path to sections, and the most bytes to read."""

    name: str
    read: Callable[[bytes, str], list[Section]]
    largest: int = LARGEST_TEXT


#: Ending of a file's name, in lower case -> how it is read.
FORMATS = {
    ".txt": Format("text", plain_text.read),
    ".rst": Format("reStructuredText", plain_text.read),
    ".md": Format("Markdown", markdown.read),
    ".markdown": Format("Markdown", markdown.read),
    ".html": Format("HTML", html.read),
    ".htm": Format("HTML", html.read),
    ".py": Format("Python", python_source.read),
    ".pdf": Format("PDF", pdf.read, LARGEST_PDF),
}


class Skipped(NamedTuple):
    """The path within the folder of a file left out, and the reason; what follows a colon is of this file alone."""

    path: str
    reason: str


@dataclass(frozen=True)
class Documents:
    """The documents of a folder that have text, in the order of their paths; ``str`` of it is a report.

    Attributes:
        skipped: Files without text, and files and folders that cannot or should not be read.
        others: Numbers of files of other formats, by the ending of their names.
    """

    documents: tuple[Document, ...]
    skipped: tuple[Skipped, ...]
    others: dict[str, int]

    def __str__(self) -> str:
        formats = Counter(document.format for document in self.documents)
        sections = [section for document in self.documents for section in document.sections]
        passages = sum(len(section.passages) for section in sections)
        lines = [
            f"Documents   {len(self.documents):,}: {', '.join(counted(formats))}",
            f"Passages    {passages:,} in {len(sections):,} sections",
            *(f"Left out    {line}" for line in _by_reason(self.skipped)),
        ]
        if self.others:
            lines.append(f"Not read    {some(counted(self.others), ' kinds')}")
        return "\n".join(lines)


def _by_reason(skipped: Iterable[Skipped]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for path, reason in skipped:
        why, _, detail = reason.partition(": ")
        by_reason.setdefault(why, []).append(f"{path} ({detail})" if detail else path)
    groups = sorted(by_reason.items(), key=lambda group: -len(group[1]))
    return [f"{len(paths):,}, {why}: {some(paths)}" for why, paths in groups]


def read_documents(folder: str | Path, *, show_progress_bar: bool | None = None) -> Documents:
    """Read every document below a folder: plain text, reStructuredText, Markdown, HTML, Python and PDF.

    Hidden files and folders, installed packages, virtual environments, links to folders or out of the folder are passed
    over, and so are Python's tests. The same files give the same result on every machine.

    Args:
        folder: The folder; or one document alone.
        show_progress_bar: None shows it when this package logs at INFO, as sentence-transformers does.

    Raises:
        DocumentError: If there is no such folder, or no text in it, or a document named alone cannot be read.
        MissingExtraError: If a document needs a library that is not installed.
    """
    root = Path(folder)
    if root.is_file() and root.suffix.lower() not in FORMATS:
        raise DocumentError(f"{root} is a file, and none of {', '.join(FORMATS)}. Name a folder, or one of those.")
    if not root.exists():
        raise DocumentError(f"There is no folder {root}.")
    if show_progress_bar is None:
        show_progress_bar = logger.isEnabledFor(logging.INFO)
    documents: list[Document] = []
    skipped: list[Skipped] = []
    others: Counter[str] = Counter()
    paths = [root] if root.is_file() else list(_files(root, skipped))
    for path in tqdm(paths, "Reading", unit=" files", disable=not show_progress_bar):
        suffix = path.suffix.lower()
        if suffix not in FORMATS:
            others[suffix or "no ending"] += 1
            continue
        name = path.name if path == root else _name(path, root)
        try:
            _check_link(path, root)
            documents.append(_read(path, name, FORMATS[suffix]))
        except DocumentError as error:
            if path == root:
                raise DocumentError(f"{root} cannot be read: {error}.") from error
            skipped.append(Skipped(name, str(error)))
    counts = dict(others.most_common())
    if not documents:
        found = "; ".join([*counted(counts)[:5], *_by_reason(skipped)])
        raise DocumentError(f"{root} has no text in any of {', '.join(FORMATS)}; found: {found or 'no files'}.")
    return Documents(tuple(documents), tuple(skipped), counts)


def _files(root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """The files below a folder in the order of their paths; ``skipped`` takes the folders that are left out."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(_name(Path(error.filename), root), f"cannot be opened: {error.strerror}"))

    for here, folders, files in os.walk(root, onerror=unreadable):
        kept = []
        for name in sorted(folders):
            folder = Path(here, name)
            if name.startswith(".") or name in SKIPPED_FOLDERS or name.endswith((".egg-info", ".dist-info")):
                continue
            if folder.is_symlink():
                skipped.append(Skipped(_name(folder, root), "a link to a folder, not followed"))
            elif not (folder / "pyvenv.cfg").exists():  # which every virtual environment has
                kept.append(name)
        folders[:] = kept
        yield from (Path(here, name) for name in sorted(files) if not name.startswith("."))


def _check_link(path: Path, root: Path) -> None:
    """Raise DocumentError for a link out of the folder, which may be somebody else's."""
    if path != root and path.is_symlink() and path.is_file() and not path.resolve().is_relative_to(root.resolve()):
        raise DocumentError("a link out of the folder, not followed")


def _read(path: Path, name: str, format: Format) -> Document:
    if path.suffix.lower() == ".py" and TEST_FOLDERS.intersection(name.split("/")[:-1]):
        raise DocumentError("tests and vendored code")
    try:
        if not path.is_file():  # a pipe would be waited for
            raise DocumentError("a broken link" if path.is_symlink() else "no regular file")
        with path.open("rb") as file:
            content = file.read(format.largest + 1)
    except OSError as error:
        raise DocumentError(f"cannot be opened: {error.strerror or errno.errorcode.get(error.errno or 0)}") from error
    if len(content) > format.largest:
        raise DocumentError(f"larger than {format.largest // 1_000_000} MB, to be divided")
    sections = format.read(content, name)
    if not sections:
        raise DocumentError("without text")
    return Document(name, format.name, tuple(sections))


def _name(path: Path, root: Path) -> str:
    """A path within a folder that can be printed, and is the same on every machine."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "replace")

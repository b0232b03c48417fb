"""PDF: the text of the pages, below the headings that the bookmarks name."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from wordllama_st.data.documents.document import Section
from wordllama_st.data.documents.outline import Outline
from wordllama_st.data.documents.passages import one_line, words
from wordllama_st.errors import DocumentError, reason, require

if TYPE_CHECKING:
    from pypdf import PdfReader

logger = logging.getLogger(__name__)

#: A first or last line that stands on this many pages, whatever number is in it, is printed on every page.
REPEATED_PAGES = 3

_WRAPPED_WORD = re.compile(r"(?<=[a-z])-\n(?=[a-z])")
_NUMBERING = re.compile(r"^[\dIVX]+(?:\.\d+)*\.?\s+")


def read(content: bytes, name: str) -> list[Section]:
    """The sections of a PDF document.

    A bookmark's title is the heading of the text from the line that says it; where no line of its page does, of that
    whole page. Words divided at the end of a line are whole again, and running heads and page numbers go.

    Raises:
        DocumentError: If it is encrypted or damaged.
        MissingExtraError: If pypdf is not installed.
    """
    require("documents", "pypdf")
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError

    try:
        reader = PdfReader(BytesIO(content))
        title = (reader.metadata.title if reader.metadata else "") or ""
        pages = [page.extract_text().split("\n") for page in reader.pages]
    except (DependencyError, FileNotDecryptedError) as error:
        raise DocumentError("encrypted, to be saved without its password") from error
    except Exception as error:  # whatever a damaged file makes the library stumble over
        raise DocumentError(f"damaged: {reason(error)}") from error
    bookmarks = _bookmarks(reader)
    outline = Outline(title, name)
    blocks = _Blocks(outline)
    for number, lines in enumerate(_without_repeated_lines(pages)):
        expected = {_key(heading): (level, heading) for level, heading in bookmarks.get(number, [])}
        said = {_key(line) for line in lines}
        for key in [key for key in expected if key not in said]:
            blocks.heading(*expected.pop(key))
        for line in lines:
            if (key := _key(line)) in expected:
                blocks.heading(*expected.pop(key))
            else:
                blocks.line(line)
    blocks.end()
    return outline.sections()


class _Blocks:
    """Lines into blocks. A paragraph may go on over the page, and few files tell where one ends."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._lines: list[str] = []

    def heading(self, level: int, text: str) -> None:
        self.end()
        self._outline.heading(level, text)

    def line(self, line: str) -> None:
        self._lines.append(line.strip())

    def end(self) -> None:
        self._outline.block(_WRAPPED_WORD.sub("", "\n".join(filter(None, self._lines))))
        self._lines = []


def _bookmarks(reader: PdfReader) -> dict[int, list[tuple[int, str]]]:
    """The bookmarks' (level, title) by number of the page, from 0; none where they are damaged."""
    found: dict[int, list[tuple[int, str]]] = {}
    try:
        stack: list[tuple[int, Iterator[Any]]] = [(1, iter(reader.outline))]
        while stack:
            level, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
            elif isinstance(entry, list):
                stack.append((level + 1, iter(entry)))
            elif (page := reader.get_destination_page_number(entry)) is not None and _key(entry.title or ""):
                found.setdefault(page, []).append((level, one_line(entry.title or "")))
    except Exception as error:  # the text is there all the same
        logger.info("A PDF's bookmarks cannot be read: %s", reason(error))
    return found


def _key(line: str) -> str:
    """A heading without its number, which only one of page and bookmark may have."""
    return " ".join(words(_NUMBERING.sub("", line.strip())))


def _without_repeated_lines(pages: list[list[str]]) -> list[list[str]]:
    pages = [[line for line in page if line.strip()] for page in pages]
    at_edges = Counter(edge for page in pages for edge in {_without_digits(line) for line in (*page[:1], *page[-1:])})
    for page in pages:
        for index in (0, -1):
            if page and at_edges[_without_digits(page[index])] >= REPEATED_PAGES:
                del page[index]
    return pages


def _without_digits(line: str) -> str:
    return " ".join(re.sub(r"\d+", "", line).split())

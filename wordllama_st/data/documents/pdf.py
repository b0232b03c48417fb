"""PDF: the text of the pages, below the headings that the bookmarks name."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from wordllama_st.data.documents.document import Section, make_sections
from wordllama_st.data.documents.passages import one_line, words
from wordllama_st.errors import DocumentError, reason, require

if TYPE_CHECKING:
    from pypdf import PdfReader

logger = logging.getLogger(__name__)

#: A first or last line that stands on this many pages, whatever number is in it, is printed on every page.
REPEATED_PAGES = 3
#: Page number, from 0 -> key of a bookmark's title, see :func:`_key` -> (level, title).
Bookmarks: TypeAlias = dict[int, dict[str, tuple[int, str]]]

_WRAPPED_WORD = re.compile(r"(?<=[a-z])-\n(?=[a-z])")
_NUMBERING = re.compile(r"^[\dIVX]+(?:\.\d+)*\.?\s+")


def read(content: bytes, name: str) -> list[Section]:
    """Read a PDF document without running heads and page numbers.

    A bookmark's title is the heading of the text from the line that says it, or of its whole page where none does.
    """
    require("documents", "pypdf")
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError

    try:
        reader = PdfReader(BytesIO(content))
        title = reader.metadata.title if reader.metadata else None
        pages = [page.extract_text().split("\n") for page in reader.pages]
    except (DependencyError, FileNotDecryptedError) as error:
        raise DocumentError("encrypted, to be saved without its password") from error
    except Exception as error:  # whatever a damaged file makes pypdf stumble over
        raise DocumentError(f"damaged: {reason(error)}") from error
    blocks = _blocks(_without_repeated_lines(pages), _bookmarks(reader))
    return make_sections(blocks, name, title if isinstance(title, str) else "")  # which may be of any type


def _blocks(pages: list[list[str]], bookmarks: Bookmarks) -> Iterator[tuple[int, str]]:
    # All lines between two headings are one block: paragraphs continue on the next page, and few files mark their ends.
    for is_text, group in groupby(_headings_and_lines(pages, bookmarks), key=lambda item: item[0] == 0):
        if is_text:
            yield 0, _WRAPPED_WORD.sub("", "\n".join(line.strip() for _, line in group))
        else:
            yield from group


def _headings_and_lines(pages: list[list[str]], bookmarks: Bookmarks) -> Iterator[tuple[int, str]]:
    for number, lines in enumerate(pages):
        headings = bookmarks.get(number, {})
        said = set(map(_key, lines))
        yield from (heading for key, heading in headings.items() if key not in said)
        yield from (headings.pop(_key(line), (0, line)) for line in lines)


def _bookmarks(reader: PdfReader) -> Bookmarks:
    found: Bookmarks = {}

    def collect(entries: list[Any], level: int) -> None:
        for entry in entries:
            if isinstance(entry, list):
                collect(entry, level + 1)
            elif (page := reader.get_destination_page_number(entry)) is not None and _key(entry.title or ""):
                title = one_line(entry.title or "")
                found.setdefault(page, {})[_key(title)] = level, title

    try:
        collect(reader.outline, 1)
    except Exception as error:  # the text is there all the same
        logger.info("A PDF's bookmarks cannot be read: %s", reason(error))
    return found


def _key(line: str) -> str:
    """A heading without its number, which the page or the bookmark may lack."""
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

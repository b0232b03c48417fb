"""Sections out of headings and text as they come, for the formats that have headings of several levels."""

from __future__ import annotations

from pathlib import PurePosixPath

from wordllama_st.data.documents.document import Section
from wordllama_st.data.documents.passages import make_passages, one_line, readable, words

#: Characters. What is longer and marked as a heading is text that was to look large.
LONGEST_HEADING = 200


class Outline:
    """Collects blocks of text below the headings that they follow.

    Args:
        title: What the document says it is called, for text that no heading stands above.
        name: The document's path; the file's name, in words, is the title of one that says none.
    """

    def __init__(self, title: str, name: str) -> None:
        self._title = one_line(title) or readable(PurePosixPath(name).stem)
        self._trail: list[tuple[int, str]] = []
        self._blocks: list[str] = []
        self._sections: list[Section] = []

    def heading(self, level: int, text: str) -> None:
        """Begin a section; headings of this level and below it (1 is the outermost) are over."""
        text = one_line(text)
        if len(text) > LONGEST_HEADING:
            self.block(text)
        elif text:
            self._end_section()
            self._trail = [(above, heading) for above, heading in self._trail if above < level]
            # Some write the document's title as the first heading of each part again.
            if not self._trail or self._trail[-1][1] != text:
                self._trail.append((level, text))

    def block(self, text: str) -> None:
        """Add a paragraph, an item of a list, a row of a table or a piece of code."""
        text = one_line(text)
        if not self._blocks and self._trail:
            text = _without_repeated(self._trail[-1][1], text)
        if text:
            self._blocks.append(text)

    def sections(self) -> list[Section]:
        """The sections that have passages, after the last block."""
        self._end_section()
        return self._sections

    def _end_section(self) -> None:
        if passages := make_passages(self._blocks):
            headings = tuple(heading for _, heading in self._trail) or ((self._title,) if self._title else ())
            self._sections.append(Section(headings, tuple(passages)))
        self._blocks = []


_APART = ".:;!?-\u2013\u2014"  # the last two are dashes


def _without_repeated(heading: str, text: str) -> str:
    """The text without its heading in front, where that is no part of a sentence ("Llamas are …") but stands apart."""
    if words(text) == words(heading):
        return ""
    if not text.casefold().startswith(heading.casefold()) or len(heading) != len(heading.casefold()):
        return text
    rest = text[len(heading) :]  # not empty, for then the words were the same
    stripped = rest.lstrip(f" {_APART}")
    apart = rest[:1] in _APART or (rest[:1] == " " and stripped[:1].isupper() and " " in heading)
    return stripped if apart else text

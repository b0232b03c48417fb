"""Plain text and reStructuredText: paragraphs, and headings that are underlined."""

from __future__ import annotations

import re

from wordllama_st.data.documents.decoding import decode
from wordllama_st.data.documents.document import Section
from wordllama_st.data.documents.outline import Outline

_LINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*")


def read(content: bytes, name: str) -> list[Section]:
    """The sections of a text.

    A line that stands behind an empty one and has a line of punctuation below it that is at least as long, and perhaps
    the same above it, is a heading. As in reStructuredText, levels are told by their punctuation, in the order in which
    they appear. Markup within the text stays as it is.

    Raises:
        DocumentError: If it is no text.
    """
    lines = [*decode(content).split("\n"), "", ""]
    outline = Outline("", name)
    styles: list[str] = []
    paragraph: list[str] = []
    position = 0
    while position < len(lines) - 2:
        line, second, third = lines[position : position + 3]
        overlined = bool(_LINE.fullmatch(line)) and line.strip() == third.strip()
        title, underline = (second, third) if overlined else (line, second)
        if not paragraph and _is_heading(title, underline):
            style = underline[0] * (1 + overlined)
            if style not in styles:
                styles.append(style)
            outline.heading(1 + styles.index(style), title)
            position += 2 + overlined
            continue
        if line.strip():
            paragraph.append(line)
        else:
            outline.block(" ".join(paragraph))
            paragraph = []
        position += 1
    outline.block(" ".join(paragraph))
    return outline.sections()


def _is_heading(title: str, underline: str) -> bool:
    title = title.strip()
    return bool(title and _LINE.fullmatch(underline)) and len(underline.rstrip()) >= len(title) and title != underline

"""Plain text and reStructuredText: paragraphs and underlined headings; and the decoding of all formats of text."""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator

from wordllama_st.data.documents.document import Section, make_sections
from wordllama_st.errors import DocumentError

_LINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*")


def decode(content: bytes, declared: str | None = None) -> str:
    r"""Decode UTF-8, UTF-16 with a byte order mark, or else the declared encoding; lines end with ``\n`` afterwards."""
    encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        try:
            text = content.decode(declared or "ascii")  # never ASCII, which is UTF-8 too
        except (LookupError, ValueError):
            raise DocumentError(f"not UTF-8, to be converted with iconv -t utf-8: byte {error.start}") from error
    if "\0" in text:
        raise DocumentError(f"no text: a zero at character {text.index(chr(0))}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read(content: bytes, name: str) -> list[Section]:
    """Read a text; a line after an empty one is a heading if punctuation underlines it, and perhaps overlines it.

    As in reStructuredText, the order in which styles of punctuation appear gives their levels.
    """
    return make_sections(_blocks([*decode(content).split("\n"), "", ""]), name)


def _blocks(lines: list[str]) -> Iterator[tuple[int, str]]:
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
            yield 1 + styles.index(style), title
            position += 2 + overlined
            continue
        if line.strip():
            paragraph.append(line)
        else:
            yield 0, " ".join(paragraph)
            paragraph = []
        position += 1
    yield 0, " ".join(paragraph)


def _is_heading(title: str, underline: str) -> bool:
    title = title.strip()
    return bool(title and _LINE.fullmatch(underline)) and len(underline.rstrip()) >= len(title) and title != underline

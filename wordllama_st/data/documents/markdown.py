"""Markdown: CommonMark and its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from wordllama_st.data.documents.document import Section, make_sections
from wordllama_st.data.documents.plain_text import decode
from wordllama_st.errors import require

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"---[^\S\n]*\n(.*?\n)?(?:---|\.\.\.)[^\S\n]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:[^\S\n]*[\"']?(.*?)[\"']?[^\S\n]*$", re.MULTILINE)


def read(content: bytes, name: str) -> list[Section]:
    """Read a Markdown document without pictures, raw HTML and front matter, but for the title in it.

    Code and rows of tables stay, each a block: in technical documents half of the vocabulary is there.
    """
    require("documents", "markdown_it")
    from markdown_it import MarkdownIt

    text = decode(content)
    front_matter = _FRONT_MATTER.match(text)
    title = _TITLE.search(front_matter.group(1) or "") if front_matter else None
    tokens = MarkdownIt("commonmark").enable("table").parse(text[front_matter.end() :] if front_matter else text)
    return make_sections(_blocks(iter(tokens)), name, title.group(1) if title else "")


def _blocks(tokens: Iterator[Token]) -> Iterator[tuple[int, str]]:
    for token in tokens:
        if token.type == "heading_open":
            yield int(token.tag[1]), _text(next(tokens))
        elif token.type == "tr_open":
            yield 0, " ".join(map(_text, takewhile(lambda cell: cell.type != "tr_close", tokens)))
        elif token.type == "inline":
            yield 0, _text(token)
        elif token.type in ("fence", "code_block"):
            yield 0, token.content


def _text(inline: Token) -> str:
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in inline.children or ()
        if child.type in ("text", "code_inline", "softbreak", "hardbreak")
    )

"""HTML: the main text of a page, without navigation, scripts and forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wordllama_st.data.documents.document import Section, make_sections
from wordllama_st.data.documents.plain_text import decode
from wordllama_st.errors import DocumentError, reason, require

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

#: Elements that hold no text, or the same on every page of a site.
DROPPED = {
    *("head", "script", "style", "template", "noscript", "svg", "canvas", "iframe", "object"),
    *("form", "button", "select", "nav", "footer", "aside"),
}
DROPPED_ROLES = {"navigation", "search"}
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
#: The elements that do not end a paragraph.
INLINE = {
    *("a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "ins"),
    *("kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt"),
    *("u", "var", "wbr"),
}
#: The text of a heading's link to itself.
PERMALINKS = ("#", "¶", "§")


def read(content: bytes, name: str) -> list[Section]:
    """Read a page, or its ``<main>``; its ``<title>`` is a heading where it has none of the first level."""
    require("documents", "bs4")
    from bs4 import BeautifulSoup
    from bs4.dammit import EncodingDetector

    text = decode(content, EncodingDetector.find_declared_encoding(content, is_html=True))
    try:
        soup = BeautifulSoup(text, "html.parser")
    except Exception as error:  # the standard library's parser has assertions that some pages violate
        raise DocumentError(f"damaged: {reason(error)}") from error
    title = soup.title.get_text() if soup.title else ""
    page = soup.select_one("main, [role=main]") or soup
    heading = [(1, title)] if title and page.find("h1") is None else []
    return make_sections([*heading, *_blocks(page)], name, title)


def _blocks(page: BeautifulSoup | Tag) -> Iterator[tuple[int, str]]:
    from bs4 import Tag
    from bs4.element import NavigableString

    inline: list[str] = []
    # A stack rather than recursion: unclosed elements nest thousands deep. None stands where an element ends.
    stack: list[object] = [page]
    while stack:
        node = stack.pop()
        if isinstance(node, Tag) and (node.name in DROPPED or node.get("role") in DROPPED_ROLES):
            continue
        if isinstance(node, Tag) and node.name in INLINE:
            stack.extend(reversed(node.contents))
        elif type(node) is NavigableString:  # the other kinds are comments and declarations
            inline.append(node)
        elif isinstance(node, Tag) and node.name == "br":
            inline.append(" ")
        elif node is None or isinstance(node, Tag):
            yield 0, "".join(inline)
            inline.clear()
            if node is None:
                continue
            if node.name in HEADINGS:
                yield int(node.name[1]), "".join(text for text in node.strings if text not in PERMALINKS)
            elif node.name == "pre":
                yield 0, node.get_text()
            elif node.name == "tr" and not node.find(["table", "p", "ul", *HEADINGS]):  # those lay out the page
                yield 0, node.get_text(" ")
            else:
                stack.append(None)
                stack.extend(reversed(node.contents))

"""Each format gives the passages below their headings, without what is no text, and no input makes a reader fail.

The PDF files are made by matplotlib and pypdf, as a user's are by other programs.
"""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from pypdf import PdfReader, PdfWriter

from wordllama_st.data.documents import Section, SectionKind
from wordllama_st.data.documents.reading import FORMATS
from wordllama_st.errors import DocumentError

FIRST = "Llamas are kept for their wool in the high mountains, where little else is kept, and they carry loads besides."
SECOND = (
    "Their relatives are the alpaca, the vicuña and the guanaco, of which the last two live in the wild to this day."
)


def read(ending: str, text: str | bytes, name: str = "animals/south_america") -> list[Section]:
    content = text if isinstance(text, bytes) else text.encode()
    return FORMATS[ending].read(content, name + ending)


def content(sections: list[Section]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(section.headings, section.passages) for section in sections]


def test_markdown_has_its_headings_code_and_tables() -> None:
    text = f"""---
title: "Animals of the *Andes*"
layout: page
---
{FIRST}

# Llamas

<p align="center"><img src="llama.png"></p>

![A picture](llama.png) [{SECOND}](https://example.com/relatives)

## Wool `grades`

| Grade | Meaning |
|-------|---------|
| fine  | {FIRST} |

```python
sort(wool, by="grade")  # {SECOND}
```

Alpacas
-------
- {FIRST}
- {SECOND}
"""
    assert content(read(".md", text)) == [
        (("Animals of the *Andes*",), (FIRST,)),
        (("Llamas",), (SECOND,)),
        (("Llamas", "Wool grades"), (f"Grade Meaning fine {FIRST}", f'sort(wool, by="grade") # {SECOND}')),
        (("Llamas", "Alpacas"), (FIRST, SECOND)),
    ]


def test_html_has_what_the_reader_came_for() -> None:
    text = f"""<!DOCTYPE html><html><head><title>Llamas &mdash; Animals</title><style>p {{}}</style></head><body>
    <nav><h2>Site</h2><a href="/">Home</a></nav><div role="navigation">Up</div><script>let wool = 1</script>
    <!-- nobody sees this --><main>
    <p>{FIRST}</p>
    <h2>Relatives<a class="headerlink" href="#relatives">¶</a></h2>
    <div>Their relatives are <em>the al</em>paca, the vicuña and the guanaco,<br>of which the last two live in the
      wild to this day.<footer>Printed on paper</footer><p>{FIRST}
    <h3>Wool</h3><table><tr><th>Grade</th><th>Use</th></tr><tr><td>fine</td><td>{SECOND}</td></tr></table>
    <pre>sort(wool)\n  {FIRST}</pre></div></main><p>About us</p></body></html>"""
    title = "Llamas — Animals"
    assert content(read(".html", text)) == [
        ((title,), (FIRST,)),
        ((title, "Relatives"), (SECOND, FIRST)),
        ((title, "Relatives", "Wool"), (f"Grade Use fine {SECOND}", f"sort(wool) {FIRST}")),
    ]


def test_a_page_laid_out_by_tables_keeps_its_headings() -> None:
    page = f"<table><tr><td><h1>Llamas</h1><p>{FIRST}</p><h2>Relatives</h2><p>{SECOND}</p></td></tr></table>"
    assert content(read(".htm", page)) == [(("Llamas",), (FIRST,)), (("Llamas", "Relatives"), (SECOND,))]


def test_html_is_read_in_the_encoding_that_it_declares() -> None:
    page = f"<meta charset='iso-8859-1'><title>Relatives</title><p>{SECOND}"
    assert content(read(".html", page.encode("latin-1"))) == [(("Relatives",), (SECOND,))]


@pytest.mark.parametrize("declared", ["nonsense", "undefined", "ascii"])
def test_html_in_an_encoding_that_it_does_not_declare_is_refused(declared: str) -> None:
    with pytest.raises(DocumentError, match=r"not UTF-8.*byte"):
        read(".html", f"<meta charset={declared!r}><p>{SECOND}".encode("latin-1"))


def test_elements_nested_thousands_deep_are_no_harm() -> None:
    assert content(read(".html", "<div><span>" * 20_000 + FIRST))[0][1] == (FIRST,)


def test_text_and_restructured_text_have_underlined_headings() -> None:
    text = f"======\nLlamas\n======\n\n{FIRST}\n\nRelatives\n---------\n{SECOND}\n\n"
    text += f"Wool\n~~~~\n{FIRST}\n\nHay\n---\n{SECOND}"
    expected = [
        (("Llamas",), (FIRST,)),
        (("Llamas", "Relatives"), (SECOND,)),
        (("Llamas", "Relatives", "Wool"), (FIRST,)),
        (("Llamas", "Hay"), (SECOND,)),
    ]
    assert content(read(".rst", text)) == expected
    assert content(read(".txt", text.replace("\n", "\r\n"))) == expected
    assert content(read(".txt", f"{FIRST}\n\n{SECOND}")) == [(("south america",), (FIRST, SECOND))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_with_and_without_a_byte_order_mark(encoding: str) -> None:
    assert content(read(".txt", SECOND.encode(encoding)))[0][1] == (SECOND,)


def test_other_encodings_and_binary_files_are_refused_by_the_byte_that_shows_it() -> None:
    with pytest.raises(DocumentError, match=f"not UTF-8.*byte {SECOND.index('ñ')}$"):
        read(".txt", SECOND.encode("latin-1"))
    with pytest.raises(DocumentError, match="no text: a zero at character 1"):
        read(".md", b"a\0b")


def test_a_heading_repeated_in_front_of_its_passage_is_removed() -> None:
    for repeated in ("Wool of llamas", "WOOL OF LLAMAS.", "Wool of llamas:", "Wool of llamas - "):
        assert content(read(".md", f"# Wool of llamas\n\n{repeated}\n\n{FIRST}"))[0][1] == (FIRST,)
        assert content(read(".md", f"# Wool of llamas\n\n{repeated} {FIRST}"))[0][1] == (FIRST,)
    assert content(read(".md", f"# Llamas\n\n{FIRST}")) == [(("Llamas",), (FIRST,))]  # a sentence about them


SOURCE = f'''# Copyright of somebody, who keeps all rights that the law knows of.
"""Shelves and what stands on them.

{FIRST}
"""
raise SystemExit("reading must not run this")

class BookShelf(Furniture):
    """A place to put books."""

    def sort_all(self, by: str = "title") -> None:
        """Put the books in order.

        {SECOND}
        """
        # Equal titles are rare, and stay in the order in which
        # they were put on the shelf by whoever put them there.
        self.sorted = True  # a comment behind code is about that line
        text = """
# no comment, but the inside of a string that has a number sign in front"""
        # self.books = sorted(self.books, key=by, reverse=False)

    def _hidden(self):
        """Nobody should see this one."""
'''


def test_python_has_names_signatures_docstrings_and_comments() -> None:
    sections = read(".py", SOURCE, "furniture/shelves")
    assert [(section.kind, *section.headings) for section in sections] == [
        (SectionKind.DEFINITION, "furniture.shelves"),
        (SectionKind.DEFINITION, "BookShelf"),
        (SectionKind.DEFINITION, "BookShelf.sort_all"),
        (SectionKind.COMMENTS, "furniture.shelves"),
        (SectionKind.COMMENTS, "BookShelf.sort_all"),
    ]
    assert sections[0].passages == ("Shelves and what stands on them.", f"furniture.shelves {FIRST}")
    assert sections[1].passages == ("A place to put books.",)
    assert sections[2].passages[0] == "Put the books in order."
    assert sections[2].passages[1] == f"BookShelf.sort_all(self, by: str='title') -> None {SECOND}"
    assert sections[3].passages == ("Copyright of somebody, who keeps all rights that the law knows of.",)
    assert sections[4].passages == (
        "Equal titles are rare, and stay in the order in which they were put on the shelf by whoever put them there.",
    )


def test_python_is_read_in_the_encoding_that_it_declares() -> None:
    source = f'# coding: latin-1\n"""Relatives of the llama.\n\n{SECOND}"""'
    assert SECOND in read(".py", source.encode("latin-1"))[0].passages[1]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"def (", "does not parse: line 1, invalid syntax"),
        (b"x = 1\n\xff", "does not parse|not UTF-8"),
        (b"# coding: nonsense\n", "does not parse"),
        (b"x\0", "does not parse"),
        (b"(" * 5000, "does not parse"),
        (b"-" * 100_000 + b"1", "does not parse"),
    ],
)
def test_python_that_does_not_parse_says_why(source: bytes, expected: str) -> None:
    with pytest.raises(DocumentError, match=expected):
        read(".py", source)


def pdf_of(*pages: str) -> PdfReader:
    file = BytesIO()
    with PdfPages(file) as pdf:
        for page in pages:
            figure = Figure()
            for row, line in enumerate(page.split("\n")):
                figure.text(0.05, 0.95 - 0.05 * row, line)
            pdf.savefig(figure)
    return PdfReader(file)


def as_bytes(writer: PdfWriter) -> bytes:
    file = BytesIO()
    writer.write(file)
    return file.getvalue()


def lines(text: str) -> str:
    """Two lines, with a word divided between them."""
    half = text.index("kept, and" if text == FIRST else "guanaco")
    return f"{text[: half + 2]}-\n{text[half + 2 :]}"


def test_pdf_has_its_text_below_its_bookmarks_without_running_heads() -> None:
    pages = [
        f"Animals, page 1\n1.1 Llamas\n{lines(FIRST)}",
        f"Animals, page 2\n{lines(SECOND)}\nRelatives\n{lines(SECOND)}",
        f"Animals, page 3\n{lines(FIRST)}",
    ]
    writer = PdfWriter(clone_from=pdf_of(*pages))
    parent = writer.add_outline_item(title="Llamas", page_number=0)
    writer.add_outline_item(title="Relatives", page_number=1, parent=parent)
    writer.add_outline_item(title="Unsaid", page_number=2)
    assert content(read(".pdf", as_bytes(writer))) == [
        (("Llamas",), (f"{FIRST} {SECOND}",)),
        (("Llamas", "Relatives"), (SECOND,)),
        (("Unsaid",), (FIRST,)),
    ]


def test_pdf_without_bookmarks_has_its_title_and_without_text_nothing() -> None:
    writer = PdfWriter(clone_from=pdf_of(lines(FIRST)))
    writer.add_metadata({"/Title": "Animals of the Andes"})
    assert content(read(".pdf", as_bytes(writer))) == [(("Animals of the Andes",), (FIRST,))]
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    assert read(".pdf", as_bytes(writer)) == []


def test_pdf_that_is_encrypted_or_damaged_says_so() -> None:
    writer = PdfWriter(clone_from=pdf_of(FIRST))
    whole = as_bytes(writer)
    writer.encrypt("secret", algorithm="RC4-128")
    with pytest.raises(DocumentError, match=r"^encrypted"):
        read(".pdf", as_bytes(writer))
    for damaged in (b"", b"%PDF-1.4", whole[: len(whole) // 4]):
        with pytest.raises(DocumentError, match=r"^damaged: "):
            read(".pdf", damaged)


@pytest.mark.parametrize("ending", [".txt", ".md", ".html", ".py"])
@given(data=st.binary() | st.text().map(str.encode) | st.text("#-=_*`<>/!&;abp\"'\n :|()[]").map(str.encode))
@settings(max_examples=150)
def test_whatever_a_file_holds_is_sections_or_an_error(ending: str, data: bytes) -> None:
    try:
        sections = read(ending, data)
    except DocumentError:
        return
    for section in sections:
        assert section.passages
        assert all(text and text.split() and text.encode() for text in (*section.headings, *section.passages))

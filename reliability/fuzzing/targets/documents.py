"""Documents of all formats."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from pypdf import PdfReader, PdfWriter
from target import Target

from wordllama_st.data.documents import read_documents

PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>Llamas &amp; others</title></head><body>
<nav>Menu</nav><main><h1>Llamas<a href="#">¶</a></h1><p>They <b>carry</b> loads<br>over the mountains.</p>
<table><tr><td>wool</td><td>soft</td></tr></table><pre>x = 1</pre><h2>Food</h2><ul><li>grass<li>hay</ul>
<!-- no text --><script>alert(1)</script><svg><text>a</text></svg></main><footer>© 2024</footer></body></html>"""
LATIN = (
    '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1"><h1>Stra\xdfe</h1><p>gr\xfcn und wei\xdf'
)
MARKDOWN = """---
title: "Llamas"
---
# Llamas

They *carry* `loads` over [the mountains](http://example.com "a title"), and <b>listen</b>.

| wool | soft |
| ---- | ---- |
| yes  | very |

```python
x = 1
```

Food
----

1. grass
   - hay
> quoted &amp; said\\
> again ![alt](a.png)
"""
TEXT = "======\nLlamas\n======\n\nThey carry loads over the mountains.\n\nFood\n----\n\ngrass and hay\n\u2028\x0c\n\n"
CODE = '''# -*- coding: utf-8 -*-
"""A shelf. It has books, sorted by their titles."""
class Shelf(list):
    # The books are sorted once, and stay sorted because nothing else may put any in here.
    def sort(self, *, by: str = 'title') -> None:
        """Sort the books by title. Ties are broken by author, then by year of publication."""
        async def inner(x=f"{1!r:>{2}}"): return [y async for y in x]
'''


def write_documents(folder: Path) -> None:
    """A document of each format, and a PDF with bookmarks, also encrypted."""
    for name, content in (("page.html", PAGE), ("text.md", MARKDOWN), ("text.rst", TEXT), ("code.py", CODE)):
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "latin.htm").write_bytes(LATIN.encode("latin-1"))
    (folder / "utf16.txt").write_bytes(TEXT.encode("utf-16"))
    file = BytesIO()
    with PdfPages(file) as pdf:
        for lines in (["Animals, page 1", "1.1 Llamas", "They carry loads"], ["Animals, page 2", "and listen."]):
            figure = Figure()
            for row, line in enumerate(lines):
                figure.text(0.05, 0.9 - 0.1 * row, line)
            pdf.savefig(figure)
    writer = PdfWriter(clone_from=PdfReader(file))
    writer.add_outline_item("Llamas", 0)
    writer.add_metadata({"/Title": "Animals"})
    writer.write(folder / "plain.pdf")
    writer.encrypt("", algorithm="RC4-128")
    writer.write(folder / "encrypted.pdf")


def read_document(folder: Path, name: str) -> None:
    """Read the document: each heading and passage has text, which UTF-8 can hold."""
    for section in read_documents(folder / name).documents[0].sections:
        for text in (*section.headings, *section.passages):
            assert text.strip()
            text.encode()


TARGETS = [
    Target("html", write_documents, ("page.html", "latin.htm"), read_document),
    Target("markdown", write_documents, ("text.md",), read_document),
    Target("plain-text", write_documents, ("text.rst", "utf16.txt"), read_document),
    Target("python", write_documents, ("code.py",), read_document),
    Target("pdf", write_documents, ("plain.pdf", "encrypted.pdf"), read_document),
]

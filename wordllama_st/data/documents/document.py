"""Documents of any format: passages of text below headings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from wordllama_st.data.documents.passages import make_passages, one_line, readable, words

#: Characters. Longer text marked as a heading only had to look large.
LONGEST_HEADING = 200
#: What stands between a heading and the text on the same line; the last two are dashes.
_APART = ".:;!?-\u2013\u2014"


class SectionKind(Enum):
    """What the passages of a section are."""

    TEXT = "text"
    DEFINITION = "definition"
    COMMENTS = "comments"


@dataclass(frozen=True)
class Section:
    """Passages, in order, below the same headings.

    Attributes:
        headings: The outermost first; of code, one qualified name such as ``DataFrame.merge``. Empty if there are none.
        passages: Of a definition, the docstring's summary and then the rest of it.
    """

    headings: tuple[str, ...]
    passages: tuple[str, ...]
    kind: SectionKind = SectionKind.TEXT


@dataclass(frozen=True)
class Document:
    """A file's sections that have passages, in order.

    Attributes:
        path: Within the folder that was read, with forward slashes on every system.
        format: What it was read as, such as ``Markdown``.
    """

    path: str
    format: str
    sections: tuple[Section, ...]


def make_sections(blocks: Iterable[tuple[int, str]], name: str, title: str = "") -> list[Section]:
    """Collect blocks (level, text) below the headings that they follow: level 1 is the outermost, level 0 no heading.

    Text that no heading stands above is below the title, or else below the words of the file's name.
    """
    title = one_line(title) or readable(PurePosixPath(name).stem)
    sections: list[Section] = []
    trail: list[tuple[int, str]] = []
    texts: list[str] = []

    def end_section() -> None:
        if passages := make_passages(texts):
            headings = tuple(heading for _, heading in trail) or ((title,) if title else ())
            sections.append(Section(headings, tuple(passages)))
        texts.clear()

    for level, text in blocks:
        text = one_line(text)
        if level and len(text) <= LONGEST_HEADING:
            if text:
                end_section()
                trail = [(above, heading) for above, heading in trail if above < level]
                # Some repeat the document's title as the first heading of each part.
                if not trail or trail[-1][1] != text:
                    trail.append((level, text))
        else:
            if not texts and trail:
                text = _without_repeated(trail[-1][1], text)
            if text:
                texts.append(text)
    end_section()
    return sections


def _without_repeated(heading: str, text: str) -> str:
    """Remove a heading repeated at the start of its text, unless it is part of a sentence ("Llamas are …")."""
    if words(text) == words(heading):
        return ""
    if not text.casefold().startswith(heading.casefold()) or len(heading) != len(heading.casefold()):
        return text
    rest = text[len(heading) :]  # not empty, for then the words were the same
    stripped = rest.lstrip(f" {_APART}")
    is_apart = rest[:1] in _APART or (rest[:1] == " " and stripped[:1].isupper() and " " in heading)
    return stripped if is_apart else text


def some(names: Sequence[str], unit: str = "") -> str:
    """List the first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more{unit}" if len(names) > 3 else "")


def counted(counts: Mapping[str, int]) -> list[str]:
    """Name each count."""
    return [f"{count:,} {name}" for name, count in counts.items()]

"""What a document is, whatever file it was read from: passages of text, below headings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SectionKind(Enum):
    """What stands in a section."""

    TEXT = "text"
    DEFINITION = "definition"
    COMMENTS = "comments"


@dataclass(frozen=True)
class Section:
    """Passages that stand below the same headings.

    Attributes:
        headings: The headings above them, the outermost first; of code, the one qualified name it is about, such as
            ``DataFrame.merge``. Empty where nothing says what the passages are about.
        passages: The text, in order; of a definition, the docstring's summary and then the rest of it.
        kind: What the passages are.
    """

    headings: tuple[str, ...]
    passages: tuple[str, ...]
    kind: SectionKind = SectionKind.TEXT


@dataclass(frozen=True)
class Document:
    """One file's sections.

    Attributes:
        path: The file's path within the folder that was read, with forward slashes on every system.
        format: What it was read as, such as ``Markdown``.
        sections: Those that have passages, in order.
    """

    path: str
    format: str
    sections: tuple[Section, ...]

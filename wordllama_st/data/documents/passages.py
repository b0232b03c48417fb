"""Passages: pieces of text long enough to have a subject, and short enough to have one only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: Characters. One line of print; what is shorter ("For example:") says little apart from what follows it.
MIN_CHARACTERS = 80
#: Characters. Some 150 words: the mean of the token embeddings of a longer text is near that of every other long text.
MAX_CHARACTERS = 1000
#: Characters. A longer run of ASCII without a space is data, a key or a picture.
LONGEST_WORD = 200

_SENTENCE = re.compile(r".*?(?:[.!?\u2026][\"')\]\u201d\u2019\u00bb]* |[\u3002\uff01\uff1f]|$)")
_PIECE_OF_WORD = re.compile(rf"[^ ]{{1,{MAX_CHARACTERS}}} ?| ")
_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n")
#: Han and Kana are written without spaces; one character of them says about as much as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_NO_SPACE = re.compile(rf"[!-~]{{{LONGEST_WORD + 1}}}")
_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")


def one_line(text: str) -> str:
    """Replace each run of whitespace by one space, and what UTF-8 cannot hold by question marks."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def fold(text: str) -> str:
    """Make texts equal that differ only in case and whitespace."""
    return " ".join(text.casefold().split())


def words(text: str) -> list[str]:
    """The words of a text, in lower case and without punctuation."""
    return _WORD.findall(text.casefold())


def is_language(text: str) -> bool:
    """Whether a text is mostly letters, in words: no table of numbers, drawing or encoded data."""
    characters = "".join(text.split())
    letters = sum(map(str.isalpha, characters))
    return 2 * letters > len(characters) and _NO_SPACE.search(text) is None


def paragraphs(text: str) -> list[str]:
    """The parts of a text between empty lines."""
    return [paragraph for paragraph in _PARAGRAPH_END.split(text) if paragraph.strip()]


def make_passages(blocks: Iterable[str]) -> list[str]:
    """Cut long blocks at ends of sentences and join short ones: passages of one line each that hold all of the text."""
    passages: list[str] = []
    for piece in (piece for block in blocks for piece in _cut(one_line(block))):
        if passages and len(passages[-1]) < MIN_CHARACTERS:
            passages[-1] += f" {piece}"
        else:
            passages.append(piece)
    if len(passages) > 1 and len(passages[-1]) < MIN_CHARACTERS:
        last = passages.pop()
        passages[-1] += f" {last}"
    return passages


def _cut(text: str) -> Iterator[str]:
    """Pieces of at most ``MAX_CHARACTERS``: whole sentences if they fit, else whole words, else parts of words."""
    piece = ""
    for sentence in _SENTENCE.findall(text):
        for part in [sentence] if len(sentence) <= MAX_CHARACTERS else _PIECE_OF_WORD.findall(sentence):
            if piece and len(piece) + len(part.rstrip()) > MAX_CHARACTERS:
                yield piece.rstrip()
                piece = ""
            piece += part
    if piece:
        yield piece.rstrip()


def readable(name: str) -> str:
    """The words of a name: ``read_csv`` is *read csv*, ``HTTPServer.handle`` is *HTTP Server handle*."""
    return _SEPARATORS.sub(" ", _CASE.sub(" ", name)).strip()


def with_words(name: str) -> str:
    """A name followed by its words, since people search for either; the name alone where it is one word."""
    split = readable(name)
    return name if split == name else f"{name} {split}"

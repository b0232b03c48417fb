"""Passages: pieces of text, long enough to be about something and short enough to be about one thing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: Characters. One line of print; what is shorter ("For example:") says little apart from what follows it.
MIN_CHARACTERS = 80
#: Characters. Some 150 words: the mean of the token vectors of a longer text is near that of every other long text.
MAX_CHARACTERS = 1000
#: What has a longer run of ASCII without a space is data, a key or a picture, and no language.
LONGEST_WORD = 200

_SENTENCE_END = re.compile(r"(?<=[.!?\u2026])[\"')\]\u201d\u2019\u00bb]* |(?<=[\u3002\uff01\uff1f])")
_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n")
#: Han and Kana are written without spaces; one character of them says about as much as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_NO_SPACE = re.compile(rf"[!-~]{{{LONGEST_WORD + 1}}}")


def one_line(text: str) -> str:
    """The text with each run of whitespace as one space, and nothing in it that UTF-8 cannot hold."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def fold(text: str) -> str:
    """What two texts have in common that differ in case and whitespace only."""
    return " ".join(text.casefold().split())


def words(text: str) -> list[str]:
    """The words of a text, in lower case and without punctuation."""
    return _WORD.findall(text.casefold())


def is_language(text: str) -> bool:
    """Whether a text is mostly letters, and in words: no table of numbers, drawing or encoded data."""
    characters = "".join(text.split())
    letters = sum(map(str.isalpha, characters))
    return 2 * letters > len(characters) and _NO_SPACE.search(text) is None


def paragraphs(text: str) -> list[str]:
    """The parts of a text that empty lines divide."""
    return [paragraph for paragraph in _PARAGRAPH_END.split(text) if paragraph.strip()]


def make_passages(blocks: Iterable[str]) -> list[str]:
    """Cut long blocks of text at ends of sentences, and join short ones.

    Args:
        blocks: Paragraphs, items of lists, pieces of code, in order. Layout within them is lost.

    Returns:
        Passages of one line each that hold all of the text in its order. Each has ``MIN_CHARACTERS`` at least, unless
        it is the only one, and ``MAX_CHARACTERS`` at most, not counting a short piece that was joined to either end.
    """
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
    """Pieces of at most ``MAX_CHARACTERS``: of whole sentences if they fit, else of whole words, else of any."""
    sentences = _split(text, [match.end() for match in _SENTENCE_END.finditer(text)])
    piece = ""
    for sentence in sentences:
        for part in _cut_sentence(sentence):
            if piece and len(piece) + len(part.rstrip()) > MAX_CHARACTERS:
                yield piece.rstrip()
                piece = ""
            piece += part
    if piece:
        yield piece.rstrip()


def _cut_sentence(sentence: str) -> list[str]:
    if len(sentence) <= MAX_CHARACTERS:
        return [sentence]
    spaces = [match.end() for match in re.finditer(" ", sentence)]
    return [
        word[start : start + MAX_CHARACTERS]
        for word in _split(sentence, spaces)
        for start in range(0, len(word), MAX_CHARACTERS)
    ]


def _split(text: str, ends: list[int]) -> list[str]:
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if start < end]


_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")


def readable(name: str) -> str:
    """The words of a name: ``read_csv`` is *read csv*, ``HTTPServer.handle`` is *HTTP Server handle*."""
    return _SEPARATORS.sub(" ", _CASE.sub(" ", name)).strip()


def with_words(name: str) -> str:
    """A name and its words beside it, for either is what people look for; the name alone where it is one word."""
    split = readable(name)
    return name if split == name else f"{name} {split}"

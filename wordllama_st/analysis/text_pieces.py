"""A text's tokens and words, as a reader sees them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers

#: Scripts that put no spaces between words: each character is one, unless a token has several.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}_]&&[^{_UNSPACED}]]"
_WORDS = pre_tokenizers.Split(
    Regex(rf"[{_UNSPACED}]\p{{M}}*|{_LETTER}+(?:['\u2019]{_LETTER}+)*|[^\s\p{{L}}\p{{N}}_]+"), "removed", invert=True
)
#: SentencePiece's marks for a space and for a byte, WordPiece's for the rest of a word.
_SPACE_MARK, _REST_MARK = "▁", "##"
_is_byte = re.compile(r"<0x[0-9A-F]{2}>").fullmatch

_BLANKS = {" ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥"}
#: They join what stands on their two sides, as in emoji and in Indic and Persian script.
_JOINERS = "\u200c\u200d"


class Piece(NamedTuple):
    """A token or a word of a text.

    Attributes:
        label: How to show it.
        start: Where in the text it begins, in characters.
        end: Where it ends. Tokens may share a character, of which each has some bytes.
    """

    label: str
    start: int
    end: int


def token_pieces(tokenizer: Tokenizer, text: str) -> list[Piece]:
    """The tokens of a text, [n], each shown as the part of the text that it stands for.

    Where several stand for one part, each is shown as its own letters, or if it has none that are whole, by its
    number: the four bytes of an emoji are ``😀 1/4`` to ``😀 4/4``. A token that is nothing but a mark for a space is
    ``␣``, and one for what the vocabulary does not know is shown with that token's name behind it.
    """
    encoding = tokenizer.encode(text, add_special_tokens=False)
    spans = _with_combining_marks(text, encoding.offsets)
    names = encoding.tokens
    if b'"ByteLevel"' in b"".join(
        part.__getstate__() for part in (tokenizer.normalizer, tokenizer.pre_tokenizer) if part
    ):
        to_text = decoders.ByteLevel()
        names = [to_text.decode([name]) for name in names]
    unknown = getattr(tokenizer.model, "unk_token", None)
    labels = [""] * len(spans)
    for run in _overlapping(spans, [index for index, name in enumerate(names) if name.strip(f" {_SPACE_MARK}")]):
        part = text[spans[run[0]][0] : max(spans[index][1] for index in run)]
        for number, index in enumerate(run, 1):
            name = names[index]
            if len(run) > 1 or not part:
                broken = "\ufffd" in name or _is_byte(name)
                own = name.removeprefix(_REST_MARK) if name != _REST_MARK else name
                labels[index] = f"{visible(part)} {number}/{len(run)}" if broken else visible(own.lstrip(_SPACE_MARK))
            else:
                labels[index] = visible(part) + (f" {name}" if name == unknown != part else "")
    return [
        Piece(label or visible(text[start:end] if text[start:end].isspace() else " "), start, end)
        for label, (start, end) in zip(labels, spans, strict=True)
    ]


def word_pieces(text: str, tokens: Sequence[Piece]) -> tuple[list[Piece], npt.NDArray[np.intp]]:
    """The words of a text that have tokens, and which of them each token belongs to.

    A token belongs to the word in which its first character is that is no white space, so white space belongs to the
    word behind it. A token that reaches over several words makes the first of them longer.

    Returns:
        Words, [w], and each token's index among them, [n].
    """
    ends = np.array([end for _, (_, end) in _WORDS.pre_tokenize_str(text)] or [len(text)], dtype=np.intp)
    begins = [start + len(text[start:end]) - len(text[start:end].lstrip()) for _, start, end in tokens]
    places = np.searchsorted(ends, np.array(begins, dtype=np.intp), side="right").clip(max=len(ends) - 1)
    used, words = np.unique(places, return_inverse=True)
    starts, stops = np.full(len(used), len(text)), np.zeros(len(used), dtype=np.intp)
    np.minimum.at(starts, words, [token.start for token in tokens])
    np.maximum.at(stops, words, [token.end for token in tokens])
    spans = zip(starts.tolist(), stops.tolist(), strict=True)
    return [Piece(visible(text[start:stop] or " "), start, stop) for start, stop in spans], words


def visible(text: str) -> str:
    """A piece of text on one line, without the white space around it; with signs for what could not be seen."""
    text = text.strip() or text
    if text.isspace():
        return "".join(_BLANKS.get(character, _code(character)) for character in text)
    shown = "".join(
        character
        if character.isprintable() or (character in _JOINERS and 0 < place < len(text) - 1)
        else _BLANKS.get(character, _code(character))
        for place, character in enumerate(text)
    )
    return f"◌{shown}" if unicodedata.category(shown[:1] or " ").startswith("M") else shown


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


def _with_combining_marks(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that go on over the accents behind them, which normalizing made one letter with what is before them."""
    limits = [start for start, _ in (*spans, (len(text), len(text)))][1:]
    longer = []
    for (start, end), limit in zip(spans, limits, strict=True):
        while start < end < limit and unicodedata.combining(text[end]):
            end += 1
        longer.append((start, end))
    return longer


def _overlapping(spans: Sequence[tuple[int, int]], indices: Sequence[int]) -> list[list[int]]:
    """Tokens in runs that stand for the same part of the text, most of them alone."""
    runs: list[list[int]] = []
    reached = -1
    for index in indices:
        start, end = spans[index]
        if runs and (start < reached or (start, end) == spans[runs[-1][-1]]):
            runs[-1].append(index)
        else:
            runs.append([index])
        reached = max(reached, end)
    return runs

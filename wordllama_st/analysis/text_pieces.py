"""A text's tokens and words, as a reader sees them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers

#: Scripts without spaces between words: each character is a word, unless a token has several.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}_]&&[^{_UNSPACED}]]"
_WORDS = pre_tokenizers.Split(
    Regex(rf"[{_UNSPACED}]\p{{M}}*|{_LETTER}+(?:['\u2019]{_LETTER}+)*|[^\s\p{{L}}\p{{N}}_]+"), "removed", invert=True
)
#: SentencePiece's marks for a space and for a byte, WordPiece's for the rest of a word.
_SPACE_MARK, _REST_MARK = "▁", "##"
_is_byte = re.compile(r"<0x[0-9A-F]{2}>").fullmatch

_BLANKS = {" ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥"}
#: Zero-width characters that join those on their two sides, as in emoji and in Indic and Persian script.
_JOINERS = "\u200c\u200d"


class Piece(NamedTuple):
    """A token or a word: what to show for it, and where it is in the text, in characters, which tokens may share."""

    label: str
    start: int
    end: int


def token_pieces(tokenizer: Tokenizer, text: str) -> list[Piece]:
    """Split a text into its tokens, [n], each labelled with the part of the text that it covers.

    Where several tokens cover one part, each is labelled with its own letters, or if it has no whole ones, with its
    number: the four bytes of an emoji are ``😀 1/4`` to ``😀 4/4``. A token that is only a mark for a space is ``␣``,
    and the label of an unknown token ends in that token's name.
    """
    encoding = tokenizer.encode(text, add_special_tokens=False)
    spans, names = _with_combining_marks(text, encoding.offsets), encoding.tokens
    if is_byte_level(tokenizer):
        to_text = decoders.ByteLevel()
        names = [to_text.decode([name]) for name in names]
    unknown = getattr(tokenizer.model, "unk_token", None)
    labels = [""] * len(spans)
    for run in _overlapping(spans, [index for index, name in enumerate(names) if name.strip(f" {_SPACE_MARK}")]):
        part = text[spans[run[0]][0] : max(spans[index][1] for index in run)]
        for number, index in enumerate(run, 1):
            name = names[index]
            if len(run) == 1 and part:
                labels[index] = visible(part) + (f" {name}" if name == unknown != part else "")
            elif "\ufffd" in name or _is_byte(name):
                labels[index] = f"{visible(part)} {number}/{len(run)}"
            else:
                labels[index] = visible((name.removeprefix(_REST_MARK) or name).lstrip(_SPACE_MARK))
    return [
        Piece(label or visible(text[start:end] if text[start:end].isspace() else " "), start, end)
        for label, (start, end) in zip(labels, spans, strict=True)
    ]


def word_pieces(text: str, tokens: Sequence[Piece]) -> tuple[list[Piece], npt.NDArray[np.intp]]:
    """Group a text's tokens into words: those that have tokens, [w], and the index of each token's word, [n].

    A token belongs to the word that has its first character other than white space, so white space belongs to the word
    after it. A token that covers several words extends the first of them.
    """
    ends = np.array([end for _, (_, end) in _WORDS.pre_tokenize_str(text)] or [len(text)], dtype=np.intp)
    begins = [end - len(text[start:end].lstrip()) for _, start, end in tokens]
    places = np.searchsorted(ends, np.array(begins, dtype=np.intp), side="right").clip(max=len(ends) - 1)
    used, words = np.unique(places, return_inverse=True)
    starts, stops = np.full(len(used), len(text)), np.zeros(len(used), dtype=np.intp)
    np.minimum.at(starts, words, [token.start for token in tokens])
    np.maximum.at(stops, words, [token.end for token in tokens])
    spans = zip(starts.tolist(), stops.tolist(), strict=True)
    return [Piece(visible(text[start:stop] or " "), start, stop) for start, stop in spans], words


def visible(text: str) -> str:
    """Show a piece of text on one line: without surrounding white space, with signs for invisible characters."""
    text = text.strip() or text
    blank = text.isspace()
    shown = "".join(
        character
        if not blank and (character.isprintable() or (character in _JOINERS and 0 < place < len(text) - 1))
        else _BLANKS.get(character, f"U+{ord(character):04X}")
        for place, character in enumerate(text)
    )
    return f"◌{shown}" if unicodedata.category(shown[:1] or " ").startswith("M") else shown


def is_byte_level(tokenizer: Tokenizer) -> bool:
    """Whether the characters of a tokenizer's tokens stand for bytes."""
    # The parts' JSON, by which the tokenizers library pickles them; the whole tokenizer's has a hundred megabytes.
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder)
    return any(b'"ByteLevel"' in part.__getstate__() for part in parts if part is not None)


def _with_combining_marks(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Extend spans over the combining marks after them, which normalization merged with the letter before."""
    limits = [start for start, _ in (*spans, (len(text), len(text)))][1:]
    longer = []
    for (start, end), limit in zip(spans, limits, strict=True):
        while start < end < limit and unicodedata.combining(text[end]):
            end += 1
        longer.append((start, end))
    return longer


def _overlapping(spans: Sequence[tuple[int, int]], indices: Sequence[int]) -> list[list[int]]:
    """Group tokens into runs that cover the same part of the text; most runs have one token."""
    runs: list[list[int]] = []
    reached = -1
    for index in indices:
        start, end = spans[index]
        if not runs or (start >= reached and (start, end) != spans[runs[-1][-1]]):
            runs.append([])
        runs[-1].append(index)
        reached = max(reached, end)
    return runs

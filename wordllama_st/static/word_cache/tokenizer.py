"""Tokenization that looks up the words it has seen before.

A text is cut into pieces that the tokenizer treats one by one (:mod:`~wordllama_st.static.word_cache.rules`). Its token
ids are those of its pieces, one behind the other, so a piece that was tokenized once is looked up from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from threading import Lock

import numpy as np
import numpy.typing as npt

from wordllama_st.static import kernel
from wordllama_st.static.word_cache.plain import Bags, PlainTokenizer, renew_lock_in_forks
from wordllama_st.static.word_cache.rules import PROBES, WordRules, infer_word_rules
from wordllama_st.static.word_cache.table import (
    ABSENT,
    LONGEST,
    NOT_ALONE,
    WIDTHS,
    Integers,
    Tokenized,
    Words,
    WordTable,
)

#: Characters from which on a text is looked up with arrays.
LONG_TEXT = 4096
#: If more of a batch's pieces than this are new, and all different, looking up the rest gains nothing.
_MOSTLY_NEW = 0.75
#: Of the batches that are mostly new, one in so many is learned all the same: it may be the first of many like it.
_LEARNED_ANYWAY = 8
#: Pieces that are tokenized in one go.
_GROUP = 64
#: The dictionary's part of the memory, and what an entry takes of it beside its characters and ids.
_DICTIONARY_SHARE = 1 / 8
_ENTRY_BYTES, _CHARACTER_BYTES, _ID_BYTES = 250, 4, 36

_NEWLINE, _SPACE = 10, 32
_IS_ASCII_SPACE = np.isin(np.arange(256), [9, 10, 11, 12, 13, 32])
_IS_PRINTABLE = np.isin(np.arange(256), range(32, 127))
_IS_ALPHANUMERIC = np.isin(np.arange(256), [*b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"])


class WordTokenizer:
    """A tokenizer that remembers the pieces of texts.

    Args:
        plain: The tokenizer, which must neither truncate nor pad.
        rules: How its texts may be cut.
        max_bytes: The most memory that the pieces may take.
    """

    def __init__(self, plain: PlainTokenizer, rules: WordRules, max_bytes: int) -> None:
        self.plain = plain
        self.rules = rules
        self.max_bytes = max_bytes
        self._pieces = rules.pieces
        self._newline_tokens = len(plain.ids("\n")) if rules.cuts_newlines else 0
        self._mostly_new_batches = 0
        self._table = WordTable(int(max_bytes * (1 - _DICTIONARY_SHARE)))
        #: For single texts, where arrays are slower. A piece that does not stand alone has None.
        self._dictionary: dict[str, list[int] | None] = {}
        self._dictionary_bytes = 0
        self.renew_lock()
        renew_lock_in_forks(self)

    def renew_lock(self) -> None:
        """Begin with a lock of one's own, under which pieces are added."""
        self._lock = Lock()

    @classmethod
    def for_tokenizer(cls, plain: PlainTokenizer, max_bytes: int) -> WordTokenizer | None:
        """Return one for a tokenizer that treats pieces one by one; None for any other."""
        rules = infer_word_rules(plain.tokenizer)
        if rules is None:
            return None
        words = cls(plain, rules, max_bytes)
        expected = plain.bags(PROBES).ids.tolist()
        singly = list(chain.from_iterable(map(words.ids, PROBES)))
        return words if words.bags(PROBES).ids.tolist() == expected == singly else None

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the pieces take, or a few less."""
        return self._table.nbytes + self._dictionary_bytes

    def ids(self, text: str) -> list[int]:
        """Tokenize a text."""
        if len(text) > LONG_TEXT:
            ids: list[int] = self.bags([text]).ids.tolist()
            return ids
        pieces: list[str] = self._pieces.findall(self.rules.prefix + text) if text else []
        try:
            try:
                return _joined(pieces, self._dictionary)
            except KeyError:
                return _joined(pieces, self._learn_pieces(pieces))
        except TypeError:  # there is a piece that does not stand alone, and has None
            return self.plain.ids(text)

    def _learn_pieces(self, pieces: list[str]) -> Mapping[str, list[int] | None]:
        """Tokenize the pieces that the dictionary lacks, and enter them if they fit.

        Returns:
            The ids of all pieces.
        """
        known = self._dictionary  # which another thread may empty
        found = {piece: known[piece] for piece in pieces if piece in known}
        learned = {piece: self._piece_ids(piece) for piece in pieces if piece not in found}
        kept = {piece: ids for piece, ids in learned.items() if len(piece) <= LONGEST}
        size = sum(_ENTRY_BYTES + _CHARACTER_BYTES * len(p) + _ID_BYTES * len(ids or ()) for p, ids in kept.items())
        limit = self.max_bytes * _DICTIONARY_SHARE
        with self._lock:
            if self._dictionary_bytes + size > limit:
                self._dictionary, self._dictionary_bytes = {}, 0
            if size <= limit:
                self._dictionary.update(kept)
                self._dictionary_bytes += size
        return found | learned

    def bags(self, texts: Sequence[str]) -> Bags:
        """Tokenize texts, looking up all their pieces at once."""
        words, offsets = self._cut(texts)
        starts = words.starts
        if not len(starts):
            return Bags(np.empty(0, np.int32), offsets)
        table = self._table
        tokenized = table.find(words)
        absent = np.flatnonzero(tokenized.counts == ABSENT)
        if len(absent):
            first, inverse = table.distinct(words.at(absent))
            if not self._is_worth_learning(len(first), len(starts)):
                return self.plain.bags(texts)
            new_words = words.at(absent[first])
            new = self._tokenize(new_words)
            with self._lock:
                # Another thread may have emptied the table.
                if table is self._table and not table.add(new_words, new):
                    self._table = WordTable(table.max_bytes)
            tokenized = tokenized.replaced(absent, new.at(inverse))
        firsts = np.searchsorted(starts, offsets)  # which piece is each text's first
        tokenized = self._with_odd_texts_whole(tokenized, firsts, texts)
        return Bags(tokenized.ids(), np.append(0, tokenized.counts.cumsum())[firsts])

    def _is_worth_learning(self, new: int, pieces: int) -> bool:
        if new <= _MOSTLY_NEW * pieces:
            return True
        self._mostly_new_batches += 1
        return self._mostly_new_batches % _LEARNED_ANYWAY == 1

    def _with_odd_texts_whole(self, tokenized: Tokenized, firsts: Integers, texts: Sequence[str]) -> Tokenized:
        """Tokenize the texts with a piece that does not stand alone, and make their tokens the first piece's."""
        odd_pieces = np.flatnonzero(tokenized.counts == NOT_ALONE)
        if not len(odd_pieces):
            return tokenized
        odd = np.unique(np.searchsorted(firsts, odd_pieces, side="right") - 1)
        whole = self.plain.bags([texts[index] for index in odd.tolist()])
        for index in odd.tolist():
            tokenized.counts[firsts[index] : firsts[index + 1]] = 0
        return tokenized.replaced(firsts[odd], Tokenized(whole.ids, whole.offsets[:-1], np.diff(whole.offsets)))

    def _cut(self, texts: Sequence[str]) -> tuple[Words, Integers]:
        """Put texts end to end, and cut them into pieces.

        Returns:
            The pieces; and where each text begins in their buffer, and where the last one ends, [B + 1].
        """
        if kernel is not None:
            buffer, begins, ends = kernel.cut(texts, self.rules.prefix, self.rules.cuts_newlines, WIDTHS[-1])
            starts, offsets = np.frombuffer(begins, np.int64), np.frombuffer(ends, np.int64)
        else:
            prefix = self.rules.prefix.encode()
            encoded = [prefix + text.encode() if text else b"" for text in texts]
            offsets = np.cumsum([0, *map(len, encoded)])
            buffer = b"".join([*encoded, bytes(WIDTHS[-1])])
            starts = self._cuts(np.frombuffer(buffer, np.uint8)[: offsets[-1]], offsets)
        return Words(buffer, starts, np.diff(starts, append=offsets[-1])), offsets

    def _cuts(self, characters: npt.NDArray[np.uint8], offsets: Integers) -> Integers:
        """Find where the pieces of texts that lie end to end begin."""
        is_cut, before = characters == _SPACE, characters[:-1]
        if self.rules.cuts_newlines:
            newlines = characters == _NEWLINE
            is_cut[1:] &= before != _SPACE
            is_cut[1:] |= newlines[:-1]
            is_cut |= newlines
        else:
            is_cut[1:] &= ~_IS_ASCII_SPACE[before]
        is_cut[offsets[offsets < len(characters)]] = True
        return np.flatnonzero(is_cut)

    def _tokenize(self, words: Words) -> Tokenized:
        """Tokenize pieces, those that allow it many at a time."""
        words = words.joined()  # what is counted in them is then not counted in all that was seen before
        alone, simple = self._stand_alone(words), self._are_simple(words)
        nothing = np.zeros(len(alone), np.int64)
        tokenized = Tokenized(np.empty(0, np.int32), nothing, nothing + NOT_ALONE)
        # Singly, what is not simple, and what is when its tokens together do not tell.
        for chosen, tokenize in ((alone & simple, self._tokenize_together), (alone, self._tokenize_singly)):
            positions = np.flatnonzero(chosen & (tokenized.counts == NOT_ALONE))
            if len(positions):
                tokenized = tokenized.replaced(positions, tokenize(words.at(positions).joined()))
        return tokenized

    def _stand_alone(self, words: Words) -> npt.NDArray[np.bool_]:
        """Tell which pieces stand alone, [n]; those of printable ASCII, which most are, all at once."""
        alone: npt.NDArray[np.bool_] = words.count(_IS_PRINTABLE) == words.lengths
        odd = np.flatnonzero(~alone)
        printable = words.at(np.flatnonzero(alone)).joined().buffer[: -WIDTHS[-1]].decode()
        if not self.rules.printable_stand_alone(printable):
            odd = np.arange(len(alone))
        alone[odd] = list(map(self.rules.stands_alone, words.at(odd).joined().slices()))
        return alone

    def _are_simple(self, words: Words) -> npt.NDArray[np.bool_]:
        """Tell which pieces can be tokenized as one text, where their first tokens are known by what they are, [n]."""
        if self.rules.begins_piece is None:
            return np.zeros(len(words.starts), np.bool_)
        simple: npt.NDArray[np.bool_] = np.frombuffer(words.buffer, np.uint8)[words.starts] == _SPACE
        simple &= words.lengths > 1
        if self.rules.marker is not None:
            simple &= words.count(_IS_ASCII_SPACE) == 1
        else:  # no tokenizer separates letters and digits, so that only the first token continues no other
            simple &= words.count(_IS_ALPHANUMERIC) == words.lengths - 1
        return simple

    def _tokenize_together(self, words: Words) -> Tokenized:
        """Tokenize many simple pieces as one text; NOT_ALONE where its tokens do not tell where each piece begins."""
        assert self.rules.begins_piece is not None
        texts = words.slices(_GROUP)
        bags = self.plain.bags([text[len(self.rules.prefix) :] for text in texts])
        begins = np.flatnonzero(self.rules.begins_piece[bags.ids])
        begun = np.diff(np.searchsorted(begins, bags.offsets))
        expected = np.diff(np.arange(len(texts)) * _GROUP, append=len(words.starts))
        starts, counts = np.zeros(len(words.starts), np.int64), np.full(len(words.starts), NOT_ALONE)
        # Every piece begins with such a token. If there are no more of them, there are none within a piece.
        clear, of_clear = np.repeat(begun == expected, expected), np.repeat(begun == expected, begun)
        starts[clear] = begins[of_clear]
        counts[clear] = np.diff(begins, append=len(bags.ids))[of_clear]
        return Tokenized(bags.ids, starts, counts)

    def _tokenize_singly(self, words: Words) -> Tokenized:
        """Tokenize each piece as a text."""
        texts, before = zip(*map(self._text_of, words.slices()), strict=True)
        bags = self.plain.bags(texts)
        return Tokenized(bags.ids, bags.offsets[:-1] + before, np.diff(bags.offsets) - before)

    def _piece_ids(self, piece: str) -> list[int] | None:
        """Tokenize a piece; None if it does not stand alone."""
        text, before = self._text_of(piece) if self.rules.stands_alone(piece) else ("", 1)
        return self.plain.ids(text)[before:] if text else None

    def _text_of(self, piece: str) -> tuple[str, int]:
        """Return a text whose tokens are some others, their number, and the piece's; an empty one if there is none."""
        # The tokenizer puts the prefix before a text, but not before an empty one, nor behind a newline.
        if piece.startswith(self.rules.prefix) and len(piece) > len(self.rules.prefix):
            return piece[len(self.rules.prefix) :], 0
        return (f"\n{piece}", self._newline_tokens) if self.rules.cuts_newlines else ("", 1)


def _joined(pieces: list[str], known: Mapping[str, list[int] | None]) -> list[int]:
    ids: list[int] = []
    for piece in pieces:
        ids += known[piece]  # type: ignore[arg-type]
    return ids

"""Text to token ids, exactly as the tokenizer gives them, most of it looked up instead of tokenized.

Where a tokenizer treats the pieces of a text one by one (:mod:`~wordllama_st.static.word_cache.rules` tells), a piece
that was seen before has the token ids it had then. A text's ids are those of its pieces, one behind the other: nothing
is approximated, and what follows from the ids is what would follow from tokenizing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Lock

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from wordllama_st.static.word_cache.rules import PROBES, WordRules, infer_word_rules
from wordllama_st.static.word_cache.table import (
    ABSENT,
    LONGEST,
    NOT_ALONE,
    Integers,
    TokenIds,
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
#: A piece that has one space, at its beginning: its first token is known by that.
_is_simple = re.compile(r" [^\t-\r ]+").fullmatch


@dataclass(frozen=True)
class Bags:
    """The token ids of some texts, end to end.

    Attributes:
        ids: The ids, [n].
        offsets: Where each text begins, and where the last one ends, [B + 1].
    """

    ids: TokenIds
    offsets: Integers


def plain_bags(tokenizer: Tokenizer, texts: Sequence[str]) -> Bags:
    """Have the tokenizer itself tokenize texts, on all cores."""
    lists = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    offsets = np.cumsum([0, *map(len, lists)])
    return Bags(np.fromiter(chain.from_iterable(lists), np.int32, int(offsets[-1])), offsets)


class WordTokenizer:
    """A tokenizer that remembers the pieces of texts.

    Args:
        tokenizer: It must neither truncate nor pad.
        rules: How its texts may be cut.
        max_bytes: The most memory that the pieces may take.
    """

    def __init__(self, tokenizer: Tokenizer, rules: WordRules, max_bytes: int) -> None:
        self.tokenizer = tokenizer
        self.rules = rules
        self.max_bytes = max_bytes
        self._pieces = rules.pieces
        self._begins_piece = self._marked_tokens()
        self._newline_tokens = len(self._plain_ids("\n")) if rules.cuts_newlines else 0
        self._lock = Lock()
        self._mostly_new_batches = 0
        self._table = WordTable(int(max_bytes * (1 - _DICTIONARY_SHARE)))
        #: The same for single texts, where arrays are slower than a dictionary. None: the piece does not stand alone.
        self._dictionary: dict[str, list[int] | None] = {}
        self._dictionary_bytes = 0

    @classmethod
    def for_tokenizer(cls, tokenizer: Tokenizer, max_bytes: int) -> WordTokenizer | None:
        """One for a tokenizer that may be asked piece by piece; None for any other."""
        rules = infer_word_rules(tokenizer)
        if rules is None:
            return None
        words = cls(tokenizer, rules, max_bytes)
        plain = plain_bags(tokenizer, PROBES)
        agree = np.array_equal(words.bags(PROBES).ids, plain.ids) and plain.ids.tolist() == list(
            chain.from_iterable(map(words.ids, PROBES))
        )
        return words if agree else None

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the pieces take, or a few less."""
        return self._table.nbytes + self._dictionary_bytes

    def ids(self, text: str) -> list[int]:
        """The token ids of a text."""
        if len(text) > LONG_TEXT:
            ids: list[int] = self.bags([text]).ids.tolist()
            return ids
        pieces: list[str] = self._pieces.findall(self.rules.prefix + text) if text else []
        try:
            try:
                return _joined(pieces, self._dictionary)
            except KeyError:
                return _joined(pieces, self._learn_pieces(pieces))
        except TypeError:  # there is a piece that does not stand alone
            return self._plain_ids(text)

    def _plain_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _learn_pieces(self, pieces: list[str]) -> Mapping[str, list[int] | None]:
        """Tokenize the pieces that the dictionary lacks, and enter them if they fit.

        Returns:
            The ids of all pieces.
        """
        known = self._dictionary  # which another thread may empty
        found = {piece: known[piece] for piece in pieces if piece in known}
        new = [piece for piece in dict.fromkeys(pieces) if piece not in found]
        tokenized = self._tokenize(new)
        learned: dict[str, list[int] | None] = {
            piece: None if count == NOT_ALONE else tokenized.pool[start : start + count].tolist()
            for piece, start, count in zip(new, tokenized.starts.tolist(), tokenized.counts.tolist(), strict=True)
        }
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
        """The token ids of texts, looked up all at once."""
        prefix = self.rules.prefix.encode()
        encoded = [prefix + text.encode() if text else b"" for text in texts]
        offsets = np.cumsum([0, *map(len, encoded)])
        buffer = b"".join(encoded)
        if not buffer:
            return Bags(np.empty(0, np.int32), offsets)
        starts = self._cuts(buffer, offsets)
        words = Words.cut(buffer, starts)
        table = self._table
        tokenized = table.find(words)
        absent = np.flatnonzero(tokenized.counts == ABSENT)
        if len(absent):
            first, inverse = table.distinct(words.at(absent))
            if not self._is_worth_learning(len(first), len(starts)):
                return plain_bags(self.tokenizer, texts)
            new_words = words.at(absent[first])
            new = self._tokenize(new_words.texts())
            self._enter(table, new_words, new)
            tokenized = tokenized.replaced(absent, new.at(inverse))
        firsts = np.searchsorted(starts, offsets)  # which piece is each text's first
        tokenized = self._with_odd_texts_whole(tokenized, firsts, texts)
        return Bags(tokenized.ids(), np.append(0, tokenized.counts.cumsum())[firsts])

    def _is_worth_learning(self, new: int, pieces: int) -> bool:
        if new <= _MOSTLY_NEW * pieces:
            return True
        self._mostly_new_batches += 1
        return self._mostly_new_batches % _LEARNED_ANYWAY == 1

    def _enter(self, table: WordTable, words: Words, tokenized: Tokenized) -> None:
        with self._lock:
            # It may have been emptied by another thread.
            if table is self._table and not table.add(words, tokenized):
                self._table = WordTable(table.max_bytes)

    def _with_odd_texts_whole(self, tokenized: Tokenized, firsts: Integers, texts: Sequence[str]) -> Tokenized:
        """Give the texts with a piece that does not stand alone their own tokens, as if they were the first piece's."""
        odd_pieces = np.flatnonzero(tokenized.counts == NOT_ALONE)
        if not len(odd_pieces):
            return tokenized
        odd = np.unique(np.searchsorted(firsts, odd_pieces, side="right") - 1)
        whole = plain_bags(self.tokenizer, [texts[index] for index in odd.tolist()])
        for index in odd.tolist():
            tokenized.counts[firsts[index] : firsts[index + 1]] = 0
        return tokenized.replaced(firsts[odd], Tokenized(whole.ids, whole.offsets[:-1], np.diff(whole.offsets)))

    def _cuts(self, buffer: bytes, offsets: Integers) -> Integers:
        """Where the pieces of a buffer of texts begin."""
        characters = np.frombuffer(buffer, np.uint8)
        cuts = np.empty(len(characters), np.bool_)
        before, after = characters[:-1], characters[1:]
        cuts[0] = True
        np.equal(after, _SPACE, out=cuts[1:])
        if self.rules.cuts_newlines:
            cuts[1:] &= before != _SPACE
            newlines = np.flatnonzero(characters == _NEWLINE)
            cuts[newlines] = True
            cuts[newlines[newlines + 1 < len(cuts)] + 1] = True
        else:
            cuts[1:] &= ~_IS_ASCII_SPACE[before]
        cuts[offsets[:-1][offsets[:-1] < len(cuts)]] = True
        return np.flatnonzero(cuts)

    def _tokenize(self, pieces: Sequence[str]) -> Tokenized:
        """Have the tokenizer tokenize pieces, those that allow it many at a time."""
        tokenized = Tokenized(np.empty(0, np.int32), np.zeros(len(pieces), np.int64), np.full(len(pieces), NOT_ALONE))
        alone = [index for index, piece in enumerate(pieces) if self.rules.stands_alone(piece)]
        simple = [index for index in alone if self.rules.marker and _is_simple(pieces[index])]
        if simple:
            tokenized = tokenized.replaced(simple, self._tokenize_together([pieces[index] for index in simple]))
        single = [index for index in alone if tokenized.counts[index] == NOT_ALONE]
        if single:
            tokenized = tokenized.replaced(single, self._tokenize_singly([pieces[index] for index in single]))
        return tokenized

    def _tokenize_together(self, pieces: Sequence[str]) -> Tokenized:
        """Tokenize many simple pieces as one text, whose tokens tell where each begins, except for those where not."""
        groups = [pieces[start : start + _GROUP] for start in range(0, len(pieces), _GROUP)]
        bags = plain_bags(self.tokenizer, ["".join(group)[len(self.rules.prefix) :] for group in groups])
        begins = np.flatnonzero(self._begins_piece[bags.ids])
        begun = np.diff(np.searchsorted(begins, bags.offsets))
        expected = np.array([len(group) for group in groups], np.int64)
        starts, counts = np.zeros(len(pieces), np.int64), np.full(len(pieces), NOT_ALONE)
        # Every piece begins with such a token. If there are no more of them, there are none within a piece.
        clear, of_clear = np.repeat(begun == expected, expected), np.repeat(begun == expected, begun)
        starts[clear] = begins[of_clear]
        counts[clear] = np.diff(begins, append=len(bags.ids))[of_clear]
        return Tokenized(bags.ids, starts, counts)

    def _tokenize_singly(self, pieces: Sequence[str]) -> Tokenized:
        """Tokenize each piece as a text; NOT_ALONE for those that no text by itself has the tokens of."""
        prefix, behind_newline = self.rules.prefix, self.rules.cuts_newlines
        texts, dropped = [], []
        for piece in pieces:
            # The tokenizer puts the prefix before a text, but not before an empty one, nor behind a newline.
            own = piece.startswith(prefix) and len(piece) > len(prefix)
            texts.append(piece[len(prefix) :] if own else f"\n{piece}" if behind_newline else "")
            dropped.append(0 if own else self._newline_tokens if behind_newline else 1)
        bags = plain_bags(self.tokenizer, texts)
        drop = np.array(dropped, np.int64)
        return Tokenized(bags.ids, bags.offsets[:-1] + drop, np.diff(bags.offsets) - drop)

    def _marked_tokens(self) -> npt.NDArray[np.bool_]:
        """Which token ids are those of tokens that begin with the marker, [V]."""
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=True)
        marked = np.zeros(max(vocabulary.values(), default=-1) + 1, np.bool_)
        if self.rules.marker is not None:
            marked[[token_id for token, token_id in vocabulary.items() if token.startswith(self.rules.marker)]] = True
        return marked


def _joined(pieces: list[str], known: Mapping[str, list[int] | None]) -> list[int]:
    ids: list[int] = []
    for piece in pieces:
        ids += known[piece]  # type: ignore[arg-type]
    return ids

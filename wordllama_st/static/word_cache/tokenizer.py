"""Text to token ids, exactly as the tokenizer gives them, most of it looked up instead of tokenized.

Where a tokenizer treats the pieces of a text one by one (:mod:`~wordllama_st.static.word_cache.rules` tells), a piece that
was seen before has the token ids it had then. A text's ids are those of its pieces, one behind the other: nothing is
approximated, and what follows from the ids is what would follow from tokenizing.
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

from wordllama_st.static.word_cache.rules import PROBES, WordRules, examine
from wordllama_st.static.word_cache.table import LONGEST, WIDTHS, Integers, Rows, WordTable, words_as_rows

TokenIds = npt.NDArray[np.int32]

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
    offsets = _offsets(np.fromiter(map(len, lists), np.int64, len(lists)))
    return Bags(np.fromiter(chain.from_iterable(lists), np.int32, int(offsets[-1])), offsets)


def _offsets(lengths: npt.NDArray[np.integer]) -> Integers:
    return np.concatenate([np.zeros(1, np.int64), lengths.cumsum(dtype=np.int64)])


@dataclass(frozen=True)
class _Tokenized:
    """The token ids of pieces, each somewhere in a pool.

    Attributes:
        pool: Token ids.
        starts: Where in it each piece's begin, [n].
        counts: How many it has, [n]; -1 for a piece that does not stand alone.
    """

    pool: TokenIds
    starts: Integers
    counts: Integers

    def ids(self) -> TokenIds:
        """The ids of all pieces, one behind the other."""
        counts = self.counts.clip(0)
        ends = counts.cumsum()
        positions = np.repeat(self.starts - (ends - counts), counts)
        positions += np.arange(len(positions))
        ids: TokenIds = self.pool[positions]
        return ids


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
        self._newline_ids: list[int] = self._plain_ids("\n") if rules.cuts_newlines else []
        self._lock = Lock()
        self._mostly_new_batches = 0
        self.clear()

    @classmethod
    def for_tokenizer(cls, tokenizer: Tokenizer, max_bytes: int) -> WordTokenizer | None:
        """One for a tokenizer that may be asked piece by piece; None for any other."""
        rules = examine(tokenizer)
        if rules is None:
            return None
        words = cls(tokenizer, rules, max_bytes)
        plain = plain_bags(tokenizer, PROBES)
        agree = np.array_equal(words.bags(PROBES).ids, plain.ids) and plain.ids.tolist() == list(
            chain.from_iterable(map(words.ids, PROBES))
        )
        return words if agree else None

    def clear(self) -> None:
        """Forget all pieces."""
        self._table = WordTable(int(self.max_bytes * (1 - _DICTIONARY_SHARE)))
        #: The same for single texts, where arrays are slower than a dictionary.
        self._dictionary: dict[str, list[int] | None] = {}
        self._dictionary_bytes = 0

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
                return _joined(pieces, self._learned(pieces))
        except TypeError:  # there is a piece that does not stand alone
            return self._plain_ids(text)

    def _plain_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _learned(self, pieces: list[str]) -> Mapping[str, list[int] | None]:
        """Look pieces up, those that are new in the tokenizer."""
        known = {piece: self._dictionary.get(piece, ()) for piece in pieces}
        new = [piece for piece, ids in known.items() if ids == ()]
        tokenized = self._tokenize(new)
        learned: dict[str, list[int] | None] = {}
        for piece, start, count in zip(new, tokenized.starts.tolist(), tokenized.counts.tolist(), strict=True):
            learned[piece] = None if count < 0 else tokenized.pool[start : start + count].tolist()
        kept = {piece: ids for piece, ids in learned.items() if len(piece) <= LONGEST}
        size = sum(_ENTRY_BYTES + _CHARACTER_BYTES * len(p) + _ID_BYTES * len(ids or ()) for p, ids in kept.items())
        limit = self.max_bytes * _DICTIONARY_SHARE
        with self._lock:
            if self._dictionary_bytes + size > limit:
                self._dictionary, self._dictionary_bytes = {}, 0
            if size <= limit:
                self._dictionary.update(kept)
                self._dictionary_bytes += size
        return {piece: ids for piece, ids in known.items() if ids != ()} | learned  # type: ignore[return-value]

    def bags(self, texts: Sequence[str]) -> Bags:
        """The token ids of texts, looked up all at once."""
        prefix = self.rules.prefix.encode()
        encoded = [prefix + text.encode() if text else b"" for text in texts]
        offsets = _offsets(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        buffer = b"".join(encoded)
        if not buffer:
            return Bags(np.empty(0, np.int32), offsets)
        starts = self._cuts(buffer, offsets)
        spans = _Spans(buffer + bytes(WIDTHS[-1]), starts, np.diff(starts, append=len(buffer)))
        table = self._table
        tokenized, unknown = _look_up(table, spans)
        if unknown and not self._is_worth_learning(unknown, len(starts)):
            return plain_bags(self.tokenizer, texts)
        if unknown:
            tokenized = self._learn(table, tokenized, unknown, spans)
        firsts = np.searchsorted(starts, offsets)  # which piece is each text's first
        tokenized = self._with_odd_texts_whole(tokenized, firsts, texts)
        return Bags(tokenized.ids(), _offsets(tokenized.counts)[firsts])

    def _is_worth_learning(self, unknown: Sequence[_Unknown], pieces: int) -> bool:
        if sum(len(some.first) for some in unknown) <= _MOSTLY_NEW * pieces:
            return True
        self._mostly_new_batches += 1
        return self._mostly_new_batches % _LEARNED_ANYWAY == 1

    def _learn(self, table: WordTable, tokenized: _Tokenized, unknown: Sequence[_Unknown], spans: _Spans) -> _Tokenized:
        """Tokenize the pieces that were not found, and enter them into the table."""
        starts, counts = tokenized.starts, tokenized.counts
        new = self._tokenize([piece for some in unknown for piece in spans.texts(some.positions[some.first])])
        begin = 0
        for some in unknown:
            end = begin + len(some.first)
            part = _Tokenized(new.pool, new.starts[begin:end], new.counts[begin:end])
            starts[some.positions] = part.starts[some.inverse] + len(tokenized.pool)
            counts[some.positions] = part.counts[some.inverse]
            if some.width is not None:
                self._enter(table, some.width, some.rows[some.first], part)
            begin = end
        return _Tokenized(np.concatenate([tokenized.pool, new.pool]), starts, counts)

    def _enter(self, table: WordTable, width: int, rows: Rows, tokenized: _Tokenized) -> None:
        with self._lock:
            if table is not self._table:
                return  # emptied by another thread
            part = table.parts[width]
            absent = part.find(rows, part.hashes(rows)) < 0  # another thread may have been faster
            new = _Tokenized(tokenized.pool, tokenized.starts[absent], tokenized.counts[absent])
            if not table.add(width, rows[absent], new.ids(), new.counts.astype(np.int32)):
                self._table = WordTable(table.max_bytes)

    def _with_odd_texts_whole(self, tokenized: _Tokenized, firsts: Integers, texts: Sequence[str]) -> _Tokenized:
        """Give the texts with a piece that does not stand alone their own tokens, as if they were the first piece's."""
        odd_pieces = np.flatnonzero(tokenized.counts < 0)
        if not len(odd_pieces):
            return tokenized
        odd = np.unique(np.searchsorted(firsts, odd_pieces, side="right") - 1)
        whole = plain_bags(self.tokenizer, [texts[index] for index in odd.tolist()])
        starts, counts = tokenized.starts, tokenized.counts
        for index in odd.tolist():
            counts[firsts[index] : firsts[index + 1]] = 0
        counts[firsts[odd]] = np.diff(whole.offsets)
        starts[firsts[odd]] = whole.offsets[:-1] + len(tokenized.pool)
        return _Tokenized(np.concatenate([tokenized.pool, whole.ids]), starts, counts)

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

    def _tokenize(self, pieces: Sequence[str]) -> _Tokenized:
        """Have the tokenizer tokenize pieces, those that allow it many at a time."""
        starts, counts = np.zeros(len(pieces), np.int64), np.full(len(pieces), -1)
        pool = np.empty(0, np.int32)
        alone = [index for index, piece in enumerate(pieces) if self.rules.stands_alone(piece)]
        simple = [index for index in alone if self.rules.marker and _is_simple(pieces[index])]
        if simple:
            together = self._tokenize_simple([pieces[index] for index in simple])
            pool, starts[simple], counts[simple] = together.pool, together.starts, together.counts
        single = [index for index in alone if counts[index] < 0]
        if single:
            separate = self._tokenize_singly([pieces[index] for index in single])
            starts[single], counts[single] = separate.starts + len(pool), separate.counts
            pool = np.concatenate([pool, separate.pool])
        return _Tokenized(pool, starts, counts)

    def _tokenize_simple(self, pieces: Sequence[str]) -> _Tokenized:
        """Tokenize many pieces as one text, whose tokens tell where each begins; -1 for those where they do not."""
        groups = [pieces[start : start + _GROUP] for start in range(0, len(pieces), _GROUP)]
        bags = plain_bags(self.tokenizer, ["".join(group)[len(self.rules.prefix) :] for group in groups])
        begins = np.flatnonzero(self._begins_piece[bags.ids])
        begun = np.diff(np.searchsorted(begins, bags.offsets))
        expected = np.fromiter(map(len, groups), np.int64, len(groups))
        starts, counts = np.zeros(len(pieces), np.int64), np.full(len(pieces), -1)
        # Every piece begins with such a token. If there are no more of them, there are none within a piece.
        clear = np.repeat(begun == expected, expected)
        starts[clear] = begins[np.repeat(begun == expected, begun)]
        ends = np.append(begins, len(bags.ids))[1:]
        counts[clear] = ends[np.repeat(begun == expected, begun)] - starts[clear]
        return _Tokenized(bags.ids, starts, counts)

    def _tokenize_singly(self, pieces: Sequence[str]) -> _Tokenized:
        """Tokenize each piece as a text; -1 for those that no text by itself has the tokens of."""
        prefix, behind_newline = self.rules.prefix, self.rules.cuts_newlines
        texts, dropped = [], []
        for piece in pieces:
            # The tokenizer puts the prefix before a text, but not before an empty one, nor behind a newline.
            own = piece.startswith(prefix) and len(piece) > len(prefix)
            texts.append(piece[len(prefix) :] if own else f"\n{piece}" if behind_newline else "")
            dropped.append(0 if own else len(self._newline_ids) if behind_newline else 1)
        bags = plain_bags(self.tokenizer, texts)
        drop = np.array(dropped, np.int64)
        return _Tokenized(bags.ids, bags.offsets[:-1] + drop, np.diff(bags.offsets) - drop)

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


@dataclass(frozen=True)
class _Spans:
    """Pieces in a buffer of UTF-8, which has some more bytes behind the last of them."""

    buffer: bytes
    starts: Integers
    lengths: Integers

    def rows(self, positions: Integers, width: int) -> Rows:
        return words_as_rows(self.buffer, self.starts[positions], self.lengths[positions], width)

    def texts(self, positions: Integers) -> list[str]:
        starts = self.starts[positions].tolist()
        ends = (self.starts[positions] + self.lengths[positions]).tolist()
        return [self.buffer[start:end].decode() for start, end in zip(starts, ends, strict=True)]


@dataclass(frozen=True)
class _Unknown:
    """Pieces that are not in the table.

    Attributes:
        width: Of their rows, in bytes; None if they are too long to have some.
        positions: Which pieces, [n].
        rows: The rows of each, [n, width / 8].
        first: Of equal ones, the first, as an index into ``positions``, [m].
        inverse: For each piece the index into ``first`` of the one that it is equal to, [n].
    """

    width: int | None
    positions: Integers
    rows: Rows
    first: Integers
    inverse: Integers


def _look_up(table: WordTable, spans: _Spans) -> tuple[_Tokenized, list[_Unknown]]:
    """Find pieces in the table; starts and counts of those that are not there are not to be used."""
    starts, counts = np.zeros(len(spans.starts), np.int64), np.zeros(len(spans.starts), np.int64)
    unknown = []
    shorter = 0
    for width in WIDTHS:
        positions = np.flatnonzero((spans.lengths > shorter) & (spans.lengths < width))
        shorter = width - 1
        if not len(positions):
            continue
        rows, part = spans.rows(positions, width), table.parts[width]
        hashes = part.hashes(rows)
        slots = part.find(rows, hashes)
        starts[positions], counts[positions] = part.starts[slots], part.counts[slots]
        missing = np.flatnonzero(slots < 0)
        if len(missing):
            rows = rows[missing]
            _, first, inverse = np.unique(hashes[missing], return_index=True, return_inverse=True)
            if not np.array_equal(rows[first[inverse]], rows):  # two pieces with one hash
                first = inverse = np.arange(len(rows))
            unknown.append(_Unknown(width, positions[missing], rows, first, inverse))
    long = np.flatnonzero(spans.lengths > LONGEST)
    if len(long):
        each = np.arange(len(long))
        unknown.append(_Unknown(None, long, np.empty((0, 0), np.uint64), each, each))
    # The ids are fetched last: those that a slot points at were there before the slot was.
    return _Tokenized(table.ids, starts, counts), unknown

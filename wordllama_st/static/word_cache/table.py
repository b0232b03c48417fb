"""A hash table from words to their token ids that looks up all words of a batch at once.

Words lie end to end in one buffer of UTF-8 bytes. Each is read as a row of 64-bit numbers, cut off behind its last
byte, with its length in the last byte of the row: two words have the same row if and only if they are the same word,
so a look-up that finds one has compared all of it. Rows are of 16, 32 or 64 bytes; a longer word has no place in the
table.

The table grows by doubling and never beyond its limit: a table that is full is replaced by an empty one. Readers take
no lock. They see a word or do not, and what they see is complete: a slot's content is written before the key that makes
it found, and what grows or is emptied is replaced, not changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Bytes of a row, by which words are sorted into the parts of the table.
WIDTHS = (16, 32, 64)
#: Words of more bytes than this are not kept.
LONGEST = WIDTHS[-1] - 1
#: What a word has for its count of tokens if it must not be looked up, and if it is not in the table.
NOT_ALONE, ABSENT = -1, -2

#: Slots that are looked at for one word, slots a part begins with, and the share of them in use at which it grows.
_PROBES, _FIRST_SLOTS, _LOAD = 16, 2**10, 0.5
#: Token ids there is room for at first.
_FIRST_IDS = 2**12

Integers = npt.NDArray[np.int64]
TokenIds = npt.NDArray[np.int32]
Rows = npt.NDArray[np.uint64]

if sys.byteorder != "little":  # the last byte of a row would be another one
    raise ImportError("The word look-up is written for little-endian processors.")

#: What is left of a row for a word of each length, [width, width / 8].
_MASKS: dict[int, Rows] = {
    width: ((np.arange(width) < np.arange(width)[:, np.newaxis]) * np.uint8(255)).view(np.uint64) for width in WIDTHS
}


@dataclass(frozen=True)
class Words:
    """Words in a buffer of UTF-8.

    Attributes:
        buffer: The bytes, with at least the largest width of a row behind the last word.
        starts: Where each word begins, [n].
        lengths: Of each word, in bytes, [n], 1 at least.
    """

    buffer: bytes
    starts: Integers
    lengths: Integers

    @classmethod
    def cut(cls, text: bytes, starts: Integers) -> Words:
        """Cut a text into words that begin at ``starts``, of which the first is 0."""
        return cls(text + bytes(WIDTHS[-1]), starts, np.diff(starts, append=len(text)))

    def at(self, positions: Integers) -> Words:
        """Some of the words."""
        return Words(self.buffer, self.starts[positions], self.lengths[positions])

    def texts(self) -> list[str]:
        """The words as strings."""
        ends = (self.starts + self.lengths).tolist()
        return [self.buffer[start:end].decode() for start, end in zip(self.starts.tolist(), ends, strict=True)]

    def by_width(self) -> Iterator[tuple[int, Integers, Rows]]:
        """Yield each width, the positions of the words that have it, [m], and their rows, [m, width / 8]."""
        shorter = 0
        for width in WIDTHS:
            positions = np.flatnonzero((self.lengths > shorter) & (self.lengths < width))
            shorter = width - 1
            if len(positions):
                yield width, positions, self.at(positions)._rows(width)

    def _rows(self, width: int) -> Rows:
        # A view of the width bytes from every position on; NumPy copies rows of opaque bytes from any address.
        windows = np.ndarray((len(self.buffer) - width + 1,), f"V{width}", self.buffer, strides=(1,))
        rows = windows[self.starts].view(np.uint64).reshape(-1, width // 8)
        np.bitwise_and(rows, _MASKS[width][self.lengths], out=rows)
        rows[:, -1] |= self.lengths.astype(np.uint64) << 56
        return rows


@dataclass(frozen=True)
class Tokenized:
    """The token ids of words, each somewhere in a pool.

    Attributes:
        pool: Token ids.
        starts: Where in it each word's begin, [n].
        counts: How many it has, [n], or :data:`NOT_ALONE` or :data:`ABSENT`.
    """

    pool: TokenIds
    starts: Integers
    counts: Integers

    def at(self, positions: npt.NDArray[np.integer | np.bool_]) -> Tokenized:
        """The ids of some of the words."""
        return Tokenized(self.pool, self.starts[positions], self.counts[positions])

    def replaced(self, positions: npt.ArrayLike, others: Tokenized) -> Tokenized:
        """The ids of the same words, but for those at some positions, which get others' ids."""
        positions = np.asarray(positions, np.int64)
        starts, counts = self.starts.copy(), self.counts.copy()
        starts[positions], counts[positions] = others.starts + len(self.pool), others.counts
        return Tokenized(np.concatenate([self.pool, others.pool]), starts, counts)

    def ids(self) -> TokenIds:
        """The ids of all words, one behind the other."""
        counts = self.counts.clip(0)
        positions = np.repeat(self.starts - (counts.cumsum() - counts), counts)
        positions += np.arange(len(positions))
        ids: TokenIds = self.pool[positions]
        return ids


class _Part:
    """The words of one width: an open-addressing hash table with linear probing."""

    def __init__(self, width: int, slots: int, multipliers: Rows) -> None:
        self.keys: Rows = np.zeros((slots, width // 8), np.uint64)
        self.starts, self.counts = np.zeros((2, slots), np.int32)
        self.used = 0
        self._multipliers = multipliers

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.starts.nbytes + self.counts.nbytes

    def hashes(self, rows: Rows) -> npt.NDArray[np.uint64]:
        """A number for each word, spread over all 64 bits."""
        mixed: Rows = rows[:, 0] * self._multipliers[0]
        for column in range(1, rows.shape[1]):
            mixed ^= mixed >> 32
            mixed += rows[:, column]
            mixed *= self._multipliers[column]
        mixed ^= mixed >> 32
        mixed *= self._multipliers[0]
        return mixed

    def _first_slots(self, rows: Rows) -> Integers:
        """The slot at which the search for each word begins."""
        return (self.hashes(rows) >> (65 - len(self.keys).bit_length())).astype(np.int64)

    def find(self, rows: Rows) -> Integers:
        """The slot of each word, -1 for those that are not there."""
        slots = self._first_slots(rows)
        pending, wanted = np.arange(len(rows)), rows
        for _ in range(_PROBES):
            keys = self._keys_at(slots[pending])
            same = keys[:, -1] == wanted[:, -1]
            for column in range(wanted.shape[1] - 1):
                same &= keys[:, column] == wanted[:, column]
            missed = np.flatnonzero(~same)
            free = keys[missed, -1] == 0
            slots[pending[missed[free]]] = -1
            pending = pending[missed[~free]]
            if not len(pending):
                return slots
            slots[pending] = (slots[pending] + 1) & (len(self.keys) - 1)
            wanted = rows[pending]
        slots[pending] = -1
        return slots

    def _keys_at(self, slots: Integers) -> Rows:
        opaque = self.keys.view(f"V{self.keys.shape[1] * 8}").reshape(-1)  # which NumPy copies row by row
        return opaque[slots].view(np.uint64).reshape(len(slots), -1)

    def insert(self, rows: Rows, starts: npt.NDArray[np.int32], counts: npt.NDArray[np.int32]) -> None:
        """Add words that are not there, no two alike. One that finds no free slot near its own is left out."""
        slots = self._first_slots(rows)
        pending = np.arange(len(rows))
        for _ in range(_PROBES):
            if not len(pending):
                return
            # Of several that want a slot, the first gets it.
            wanted, first = np.unique(slots[pending], return_index=True)
            first = first[self.keys[wanted, -1] == 0]
            winners = pending[first]
            self.starts[slots[winners]] = starts[winners]
            self.counts[slots[winners]] = counts[winners]
            self.keys[slots[winners]] = rows[winners]
            self.used += len(winners)
            pending = np.delete(pending, first)
            slots[pending] = (slots[pending] + 1) & (len(self.keys) - 1)

    def grown(self, slots: int) -> _Part:
        """A larger part with the same words."""
        part = _Part(self.keys.shape[1] * 8, slots, self._multipliers)
        used = np.flatnonzero(self.keys[:, -1])
        part.insert(self.keys[used], self.starts[used], self.counts[used])
        return part


class WordTable:
    """Words and their token ids. Any number of threads may read it while one adds to it.

    Args:
        max_bytes: The most memory the table may take, while it grows too.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        # Of this process alone, so that nobody can prepare texts whose words all fall into one place.
        multipliers = np.random.default_rng().integers(0, 2**64, WIDTHS[-1] // 8, dtype=np.uint64) | np.uint64(1)
        self.parts = {width: _Part(width, _FIRST_SLOTS, multipliers) for width in WIDTHS}
        self.ids: TokenIds = np.zeros(_FIRST_IDS, np.int32)
        self._ids_used = 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the table takes."""
        return self.ids.nbytes + sum(part.nbytes for part in self.parts.values())

    def find(self, words: Words) -> Tokenized:
        """Look words up."""
        starts, counts = np.zeros((2, len(words.starts)), np.int64)
        counts[words.lengths > LONGEST] = ABSENT
        for width, positions, rows in words.by_width():
            part = self.parts[width]
            slots = part.find(rows)
            starts[positions], counts[positions] = part.starts[slots], part.counts[slots]
            counts[positions[slots < 0]] = ABSENT
        # The ids are fetched last: those that a slot points at were there before the slot was.
        return Tokenized(self.ids, starts, counts)

    def distinct(self, words: Words) -> tuple[Integers, Integers]:
        """Find out which words are equal; those that are too long count as different.

        Returns:
            The positions of the first of each, [m]; and for each word its index among these, [n].
        """
        firsts = [np.flatnonzero(words.lengths > LONGEST)]
        inverse = np.empty(len(words.starts), np.int64)
        inverse[firsts[0]] = np.arange(len(firsts[0]))
        for width, positions, rows in words.by_width():
            _, first, equal = np.unique(self.parts[width].hashes(rows), return_index=True, return_inverse=True)
            if not np.array_equal(rows[first[equal]], rows):  # two words with one hash
                first = equal = np.arange(len(rows))
            inverse[positions] = equal + sum(map(len, firsts))
            firsts.append(positions[first])
        return np.concatenate(firsts), inverse

    def add(self, words: Words, tokenized: Tokenized) -> bool:
        """Add words, no two alike, but for those that are there already or are too long.

        Returns:
            Whether there was room for them.
        """
        for width, positions, rows in words.by_width():
            new = np.flatnonzero(self.parts[width].find(rows) < 0)
            if not self._add(width, rows[new], tokenized.at(positions[new])):
                return False
        return True

    def _add(self, width: int, rows: Rows, tokenized: Tokenized) -> bool:
        part, ids = self.parts[width], tokenized.ids()
        slots, room = len(part.keys), len(self.ids)
        while part.used + len(rows) > _LOAD * slots:
            slots *= 2
        while self._ids_used + len(ids) > room:
            room *= 2
        grown_part = part.nbytes // len(part.keys) * slots if slots > len(part.keys) else 0
        grown_ids = self.ids.itemsize * room if room > len(self.ids) else 0
        # What is replaced is there until its successor is complete.
        if self.nbytes + grown_part + grown_ids > self.max_bytes:
            return False
        if grown_ids:
            self.ids = np.concatenate([self.ids, np.zeros(room - len(self.ids), np.int32)])
        self.ids[self._ids_used : self._ids_used + len(ids)] = ids
        lengths = tokenized.counts.clip(0)
        starts = self._ids_used + lengths.cumsum() - lengths
        if grown_part:
            part = part.grown(slots)
        part.insert(rows, starts.astype(np.int32), tokenized.counts.astype(np.int32))
        self.parts[width] = part
        self._ids_used += len(ids)
        return True

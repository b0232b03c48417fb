"""A hash table from words to their token ids that looks up all words of a batch at once.

Words lie end to end in one buffer of UTF-8 bytes. Each is read as a row of 64-bit numbers, cut off behind its last
byte, with its length in the last byte of the row: two words have the same row if and only if they are the same word,
so a look-up that finds one has compared all of it. Rows are of 16, 32, 64 or 128 bytes; a longer word is not kept.

The table grows by doubling and never beyond its limit. Readers take no lock. They see a word or do not, and what they
see is complete: a slot's content is written before the key that makes it found, and what grows is replaced as a whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from wordllama_st.static import kernel

#: Bytes of a row, by which words are sorted into the parts of the table, and of the longest word that has one.
WIDTHS = (16, 32, 64, 128)
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


def positions_of_runs(starts: Integers, lengths: Integers) -> Integers:
    """Return the positions of values that lie in runs, one run behind the other, of each run's start and length."""
    positions: Integers = np.repeat(starts - (lengths.cumsum() - lengths), lengths)
    positions += np.arange(len(positions))
    return positions


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

    def at(self, positions: Integers) -> Words:
        """Select some of the words."""
        return Words(self.buffer, self.starts[positions], self.lengths[positions])

    def joined(self) -> Words:
        """Put the words end to end in a buffer of their own."""
        joined = np.frombuffer(self.buffer, np.uint8)[positions_of_runs(self.starts, self.lengths)].tobytes()
        return Words(joined + bytes(WIDTHS[-1]), self.lengths.cumsum() - self.lengths, self.lengths)

    def slices(self, size: int = 1) -> list[str]:
        """Cut words that lie end to end out of the buffer, so many at a time."""
        bounds = [*self.starts[::size].tolist(), int(self.lengths.sum())]
        return [self.buffer[start:end].decode() for start, end in pairwise(bounds)]

    def count(self, counted: npt.NDArray[np.bool_]) -> Integers:
        """Count the bytes in each word, [n], that a set has, which is given as one bool for each byte, [256]."""
        before = np.append(0, counted[np.frombuffer(self.buffer, np.uint8)].cumsum())
        counts: Integers = before[self.starts + self.lengths] - before[self.starts]
        return counts

    def by_width(self) -> Iterator[tuple[int, Integers, Rows]]:
        """Yield each width, the positions of the words that have it, [m], and their rows, [m, width / 8]."""
        shorter = 0
        for width in WIDTHS:
            positions = np.flatnonzero((self.lengths > shorter) & (self.lengths < width))
            shorter = width - 1
            if len(positions):
                # A view of the width bytes from every position on; NumPy copies opaque bytes from any address.
                windows = np.ndarray((len(self.buffer) - width + 1,), f"V{width}", self.buffer, strides=(1,))
                rows = windows[self.starts[positions]].view(np.uint64).reshape(-1, width // 8)
                lengths = self.lengths[positions]
                rows &= _MASKS[width][lengths]
                rows[:, -1] |= lengths.astype(np.uint64) << 56
                yield width, positions, rows


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

    def at(self, positions: Integers) -> Tokenized:
        """Select some of the words."""
        return Tokenized(self.pool, self.starts[positions], self.counts[positions])

    def replaced(self, positions: Integers | list[int], others: Tokenized) -> Tokenized:
        """Replace the ids of the words at some positions by others' ids."""
        starts, counts = self.starts.copy(), self.counts.copy()
        starts[positions], counts[positions] = others.starts + len(self.pool), others.counts
        return Tokenized(np.concatenate([self.pool, others.pool]), starts, counts)

    def ids(self) -> TokenIds:
        """Put the ids of all words one behind the other."""
        counts = self.counts.clip(0)
        ids: TokenIds = np.empty(counts.sum(), np.int32)
        if kernel is not None:
            kernel.gather(self.pool, self.starts, counts, ids)
        else:
            self.pool.take(positions_of_runs(self.starts, counts), out=ids)
        return ids


class _Part:
    """The words of one width: an open-addressing hash table with linear probing."""

    def __init__(self, width: int, slots: int, multipliers: Rows) -> None:
        self.keys: Rows = np.zeros((slots, width // 8), np.uint64)
        self.starts, self.counts = np.zeros((2, slots), np.int32)
        self.used = 0
        self._multipliers = multipliers

    @property
    def slot_bytes(self) -> int:
        return (self.keys.nbytes + self.starts.nbytes + self.counts.nbytes) // len(self.keys)

    def hashes(self, rows: Rows) -> npt.NDArray[np.uint64]:
        """Compute a number for each word, spread over all 64 bits."""
        mixed: Rows = rows[:, 0] * self._multipliers[0]
        for column in range(1, rows.shape[1]):
            mixed ^= mixed >> 32
            mixed += rows[:, column]
            mixed *= self._multipliers[column]
        mixed ^= mixed >> 32
        mixed *= self._multipliers[0]
        return mixed

    def _first_slots(self, rows: Rows) -> Integers:
        """Compute the slot at which the search for each word begins."""
        return (self.hashes(rows) >> (65 - len(self.keys).bit_length())).astype(np.int64)

    def find(self, rows: Rows) -> Integers:
        """Find the slot of each word, -1 for those that are not there."""
        slots = self._first_slots(rows)
        pending, wanted = np.arange(len(rows)), rows
        for _ in range(_PROBES):
            keys = self.keys.take(slots[pending], axis=0)
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

    def insert(self, rows: Rows, starts: npt.NDArray[np.int32], counts: npt.NDArray[np.int32]) -> None:
        """Add words that are not there, no two alike. One that finds no free slot near its own is left out."""
        if kernel is not None:
            self.used += kernel.insert(self.keys, self.starts, self.counts, self._multipliers, rows, starts, counts)
            return
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
            self.keys[slots[winners], :-1] = rows[winners, :-1]
            self.keys[slots[winners], -1] = rows[winners, -1]  # the last, by which a slot counts as used
            self.used += len(winners)
            pending = np.delete(pending, first)
            slots[pending] = (slots[pending] + 1) & (len(self.keys) - 1)


class WordTable:
    """Words and their token ids. Any number of threads may read it while one adds to it.

    Args:
        max_bytes: The most memory the table may take, while it grows too.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        # Of this process alone, so that nobody can prepare texts whose words all fall into one place.
        self._multipliers = np.random.default_rng().integers(0, 2**64, WIDTHS[-1] // 8, dtype=np.uint64) | np.uint64(1)
        self.parts = {width: _Part(width, _FIRST_SLOTS, self._multipliers) for width in WIDTHS}
        self.ids: TokenIds = np.zeros(_FIRST_IDS, np.int32)
        self._ids_used = 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the table takes."""
        return self.ids.nbytes + sum(len(part.keys) * part.slot_bytes for part in self.parts.values())

    def find(self, words: Words) -> Tokenized:
        """Look words up."""
        starts, counts = np.zeros((2, len(words.starts)), np.int64)
        if kernel is not None:
            parts = [self.parts[width] for width in WIDTHS]
            kernel.find(
                *(words.buffer, words.starts, words.lengths, self._multipliers),
                *(part.keys for part in parts),
                *(part.starts for part in parts),
                *(part.counts for part in parts),
                *(starts, counts),
            )
            return Tokenized(self.ids, starts, counts)
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
        if kernel is not None:
            firsts, indices = np.empty((2, len(words.starts)), np.int64)
            count = kernel.distinct(words.buffer, words.starts, words.lengths, self._multipliers, firsts, indices)
            return firsts[:count], indices
        firsts = np.flatnonzero(words.lengths > LONGEST)
        indices = np.empty(len(words.starts), np.int64)
        indices[firsts] = np.arange(len(firsts))
        for width, positions, rows in words.by_width():
            _, first, equal = np.unique(self.parts[width].hashes(rows), return_index=True, return_inverse=True)
            if not np.array_equal(rows[first[equal]], rows):  # two words with one hash
                first = equal = np.arange(len(rows))
            indices[positions] = len(firsts) + equal
            firsts = np.append(firsts, positions[first])
        return firsts, indices

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
        part, ids, lengths = self.parts[width], tokenized.ids(), tokenized.counts.clip(0)
        slots, room = len(part.keys), len(self.ids)
        while part.used + len(rows) > _LOAD * slots:
            slots *= 2
        while self._ids_used + len(ids) > room:
            room *= 2
        larger, longer = slots > len(part.keys), room > len(self.ids)
        # What is replaced is there until its successor is complete.
        if self.nbytes + larger * slots * part.slot_bytes + longer * room * self.ids.itemsize > self.max_bytes:
            return False
        if longer:
            self.ids = np.concatenate([self.ids, np.zeros(room - len(self.ids), np.int32)])
        self.ids[self._ids_used : self._ids_used + len(ids)] = ids
        starts = self._ids_used + lengths.cumsum() - lengths
        self._ids_used += len(ids)
        if larger:
            old, used = part, np.flatnonzero(part.keys[:, -1])
            part = _Part(width, slots, self._multipliers)
            part.insert(old.keys[used], old.starts[used], old.counts[used])
        part.insert(rows, starts.astype(np.int32), tokenized.counts.astype(np.int32))
        self.parts[width] = part
        return True

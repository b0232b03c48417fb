"""A hash table from words to their token ids that looks up all the words of a batch at once.

Words lie end to end in one buffer of UTF-8 bytes. Each is read as a row of 64-bit numbers, cut off behind its last
byte, with its length in the last byte of the row: two words have the same row if and only if they are the same word,
so a look-up that finds one has compared all of it. Rows are of 16, 32 or 64 bytes; a longer word has no place in the
table.

The table grows by doubling and never beyond its limit: a table that is full is replaced by an empty one, into which the
words that still come are learned again. Readers take no lock. They see a word or do not, and what they see is complete:
a slot's content is written before the key that makes it found, and what grows or is emptied is replaced, not changed.
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

#: Bytes of a row, by which words are sorted into the parts of the table.
WIDTHS = (16, 32, 64)
#: Words of more bytes than this are not kept.
LONGEST = WIDTHS[-1] - 1
#: Slots that are looked at for one word.
PROBES = 16
#: Slots a part begins with.
_FIRST_SLOTS = 2**10
#: Share of slots in use at which a part grows.
_LOAD = 0.5
#: Token ids there is room for at first.
_FIRST_IDS = 2**12

Integers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.uint64]


def words_as_rows(padded: bytes, starts: Integers, lengths: Integers, width: int) -> Rows:
    """Words [n] as rows [n, width / 8].

    Args:
        padded: The buffer, with at least ``width`` bytes behind the last word.
        starts: Of each word, in bytes.
        lengths: Of each word, in bytes, from 1 to ``width`` - 1.
        width: Bytes of a row.
    """
    # A view of the width bytes from every position on; NumPy copies rows of opaque bytes from any address.
    windows = np.ndarray((len(padded) - width + 1,), f"V{width}", padded, strides=(1,))
    rows = windows[starts].view(np.uint64).reshape(-1, width // 8)
    ends = _ENDS[width][lengths]
    np.bitwise_and(rows, ends, out=rows)
    rows[:, -1] |= lengths.astype(np.uint64) << np.uint64(56)
    return rows


def _masks(width: int) -> Rows:
    """What is left of a row of each length, [width, width / 8]."""
    kept = np.arange(width) < np.arange(width)[:, np.newaxis]
    masks: Rows = (kept * np.uint8(255)).view(np.uint64)
    return masks


_ENDS = {width: _masks(width) for width in WIDTHS}
if sys.byteorder != "little":  # the last byte of a row would be another one
    raise ImportError("The word look-up is written for little-endian processors.")


class _Part:
    """The words of one width: an open-addressing hash table with linear probing."""

    def __init__(self, width: int, slots: int, multipliers: npt.NDArray[np.uint64]) -> None:
        self.keys = np.zeros((slots, width // 8), dtype=np.uint64)
        self.starts = np.zeros(slots, dtype=np.int32)
        self.counts = np.zeros(slots, dtype=np.int32)
        self.used = 0
        self._multipliers = multipliers

    @property
    def width(self) -> int:
        return self.keys.shape[1] * 8

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.starts.nbytes + self.counts.nbytes

    def hashes(self, rows: Rows) -> npt.NDArray[np.uint64]:
        """A number for each row, spread over all 64 bits."""
        mixed: npt.NDArray[np.uint64] = rows[:, 0] * self._multipliers[0]
        for column in range(1, rows.shape[1]):
            mixed ^= mixed >> np.uint64(32)
            mixed += rows[:, column]
            mixed *= self._multipliers[column]
        mixed ^= mixed >> np.uint64(32)
        mixed *= self._multipliers[0]
        return mixed

    def _slots(self, hashes: npt.NDArray[np.uint64]) -> Integers:
        bits = len(self.keys).bit_length() - 1
        slots: Integers = (hashes >> np.uint64(64 - bits)).astype(np.int64)
        return slots

    def find(self, rows: Rows, hashes: npt.NDArray[np.uint64]) -> Integers:
        """The slot of each word, -1 for those that are not there."""
        slots = self._slots(hashes)
        keys = self._keys_at(slots)
        missed = ~_same(keys, rows)
        found = slots
        pending = np.flatnonzero(missed)
        occupied = keys[pending, -1] != 0
        found[pending[~occupied]] = -1
        pending = pending[occupied]
        for _ in range(PROBES - 1):
            if not len(pending):
                return found
            found[pending] = (found[pending] + 1) & (len(self.keys) - 1)
            keys = self._keys_at(found[pending])
            same = _same(keys, rows[pending])
            absent = ~same & (keys[:, -1] == 0)
            found[pending[absent]] = -1
            pending = pending[~same & ~absent]
        found[pending] = -1
        return found

    def _keys_at(self, slots: Integers) -> Rows:
        width = self.width
        opaque = self.keys.view(f"V{width}").reshape(-1)
        rows: Rows = opaque[slots].view(np.uint64).reshape(-1, width // 8)
        return rows

    def insert(self, rows: Rows, starts: npt.NDArray[np.int32], counts: npt.NDArray[np.int32]) -> None:
        """Add words that are not there, no two alike. One that finds no slot in :data:`PROBES` is left out."""
        slots = self._slots(self.hashes(rows))
        pending = np.arange(len(rows))
        for _ in range(PROBES):
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
        part = _Part(self.width, slots, self._multipliers)
        used = np.flatnonzero(self.keys[:, -1])
        part.insert(self.keys[used], self.starts[used], self.counts[used])
        return part


def _same(keys: Rows, rows: Rows) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = keys[:, -1] == rows[:, -1]
    for column in range(rows.shape[1] - 1):
        same &= keys[:, column] == rows[:, column]
    return same


class WordTable:
    """Words and their token ids.

    Args:
        max_bytes: The most memory the table may take, while it grows too.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        # Of this process alone, so that nobody can prepare texts whose words all fall into one place.
        generator = np.random.default_rng()
        multipliers = generator.integers(0, 2**64, WIDTHS[-1] // 8, dtype=np.uint64) | np.uint64(1)
        self.parts = {width: _Part(width, _FIRST_SLOTS, multipliers) for width in WIDTHS}
        self.ids = np.zeros(_FIRST_IDS, dtype=np.int32)
        self._ids_used = 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the table takes."""
        return self.ids.nbytes + sum(part.nbytes for part in self.parts.values())

    def add(self, width: int, rows: Rows, ids: npt.NDArray[np.int32], counts: npt.NDArray[np.int32]) -> bool:
        """Add words that are not there, no two alike.

        Args:
            width: Bytes of a row.
            rows: The words, [n, width / 8].
            ids: Their token ids, one word behind the other.
            counts: How many each has, [n]; -1 for a word that must not be looked up, which has none.

        Returns:
            Whether there was room.
        """
        part = self.parts[width]
        slots = len(part.keys)
        while part.used + len(rows) > _LOAD * slots:
            slots *= 2
        room = len(self.ids)
        while self._ids_used + len(ids) > room:
            room *= 2
        grown_part = part.nbytes // len(part.keys) * slots if slots > len(part.keys) else 0
        grown_ids = room * self.ids.itemsize if room > len(self.ids) else 0
        # What is replaced is there until its successor is complete.
        if self.nbytes + grown_part + grown_ids > self.max_bytes:
            return False
        if grown_ids:
            self.ids = np.concatenate([self.ids, np.zeros(room - len(self.ids), dtype=np.int32)])
        self.ids[self._ids_used : self._ids_used + len(ids)] = ids
        lengths = counts.clip(0)
        starts = self._ids_used + np.cumsum(lengths) - lengths
        if grown_part:
            part = part.grown(slots)
        part.insert(rows, starts.astype(np.int32), counts)
        self.parts[width] = part
        self._ids_used += len(ids)
        return True

"""Hold documents out, so that a score says what a model does with documents that it has not seen."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wordllama_st.data.documents.document import some
from wordllama_st.data.documents.pairs import Pair
from wordllama_st.data.documents.passages import fold
from wordllama_st.errors import ArgumentError, DocumentError

#: On either side. One document more or less would decide what the score is.
FEWEST_DOCUMENTS = 2
#: Pairs. A score of fewer moves in steps of ten per cent.
FEWEST_HELD_OUT = 10
#: A document with a larger share of all pairs stays in training, as long as there are others to hold out.
LARGEST_SHARE = 0.1
#: Passages of a part, where a section is too long to be held out whole.
PART = 20


@dataclass(frozen=True)
class Split:
    """Pairs to train on, and held-out pairs; ``str`` of it is a line of a report.

    Attributes:
        train: Pairs to train on.
        held_out: Pairs to evaluate with. No text of theirs is in ``train``, on either side of a pair.
        by: What was held out whole: ``"documents"``; or ``"sections"``, where there are too few documents.
        names: The paths of the documents held out, or of those whose sections are.
        removed: How many pairs are in neither, because a text of theirs is held out in another place.
    """

    train: tuple[Pair, ...]
    held_out: tuple[Pair, ...]
    by: str
    names: tuple[str, ...]
    removed: int

    def __str__(self) -> str:
        what = f"all of {some(self.names)}"
        if self.by == "sections":
            what = f"sections of {some(self.names)}, too few documents to hold out whole"
        removed = f"; {self.removed:,} in neither, for the same text is held out" if self.removed else ""
        return f"Held out    {len(self.held_out):,} pairs, {len(self.train):,} to train on: {what}{removed}"


def hold_out_documents(pairs: Sequence[Pair], share: float = 0.15, seed: int = 42) -> Split:
    """Hold out whole documents, chosen by a hash of their paths: the same folder gives the same split on every machine.

    Where there are fewer than four documents, sections are held out instead, long ones in parts of ``PART`` passages.

    Args:
        pairs: As :func:`~wordllama_st.data.documents.make_pairs` makes them.
        share: Of the pairs, at least this share is held out, and at least ``FEWEST_HELD_OUT``.
        seed: Another one chooses others.

    Raises:
        ArgumentError: If the share is not between 0 and 1.
        DocumentError: If the documents cannot be divided with something left on both sides.
    """
    if not 0 < share < 1:
        raise ArgumentError(f"The share of pairs to hold out is between 0 and 1, not {share:g}.")
    by = "documents" if len({pair.path for pair in pairs}) >= 2 * FEWEST_DOCUMENTS else "sections"
    units: list[str] = []
    for pair in pairs:
        # Some file systems store an accent as a character of its own.
        path = unicodedata.normalize("NFC", pair.path)
        units.append(path if by == "documents" else f"{path}\n{pair.section}\n{pair.passage // PART}")
    chosen = _choose(Counter(units), share, seed)
    held_out = tuple(pair for pair, unit in zip(pairs, units, strict=True) if unit in chosen)
    rest = [pair for pair, unit in zip(pairs, units, strict=True) if unit not in chosen]
    texts = {fold(text) for pair in held_out for text in (pair.anchor, pair.positive)}
    # A heading is held out with its section, but where a section is divided, it stands above both parts.
    train = tuple(pair for pair in rest if fold(pair.anchor) not in texts and fold(pair.positive) not in texts)
    if not train or not held_out:
        raise DocumentError(
            f"The documents hold {len(pairs)} pairs in {len(set(units))} {by}, and cannot be divided to train on some "
            f"and evaluate with the others. Add documents."
        )
    return Split(train, held_out, by, tuple(dict.fromkeys(pair.path for pair in held_out)), len(rest) - len(train))


def _choose(sizes: Counter[str], share: float, seed: int) -> set[str]:
    """Choose units with at least a share of all pairs, in the order of their hashes, large ones last."""
    wanted = max(FEWEST_HELD_OUT, share * sizes.total())
    large = {unit for unit, size in sizes.items() if size > LARGEST_SHARE * sizes.total()}
    order = sorted(sizes, key=lambda unit: (unit in large, hashlib.sha256(f"{seed}\n{unit}".encode()).digest()))
    chosen: set[str] = set()
    count = 0
    for unit in order[: len(sizes) - FEWEST_DOCUMENTS]:
        if count >= wanted and len(chosen) >= FEWEST_DOCUMENTS:
            break
        chosen.add(unit)
        count += sizes[unit]
    return chosen

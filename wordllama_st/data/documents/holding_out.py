"""Some documents held out, so that a score says what a model does with documents that it has not seen."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wordllama_st.data.documents.pairs import Pair
from wordllama_st.data.documents.passages import fold
from wordllama_st.errors import ArgumentError, DocumentError

#: On either side. One document more or less would decide what the score is.
FEWEST_DOCUMENTS = 2
#: Pairs. Fewer make a score of steps of ten per cent.
FEWEST_HELD_OUT = 10
#: A document with a larger share of all pairs stays in training, as long as there are others to hold out.
LARGEST_SHARE = 0.1
#: Passages of a part, where a section is too long to be held out whole.
PART = 20


@dataclass(frozen=True)
class Split:
    """Pairs to train on, and those of what was held out.

    Attributes:
        train: Pairs to train on.
        held_out: Pairs to evaluate with. No text of theirs is in ``train``, on either side of a pair.
        by: What was held out whole: ``"documents"``; or ``"sections"``, where there are too few documents.
        names: What was held out: the paths of the documents, or of the documents that the sections are of.
        removed: How many pairs are in neither, because a text of theirs is held out in another place.
    """

    train: tuple[Pair, ...]
    held_out: tuple[Pair, ...]
    by: str
    names: tuple[str, ...]
    removed: int


def hold_out_documents(pairs: Sequence[Pair], share: float = 0.15, seed: int = 42) -> Split:
    """Hold whole documents out, chosen by a hash of their paths; the same folder gives the same split on every machine.

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
    by_document = len({pair.path for pair in pairs}) >= 2 * FEWEST_DOCUMENTS
    unit_of = _document if by_document else _part
    chosen = _choose(pairs, unit_of, share, seed)
    held_out = tuple(pair for pair in pairs if unit_of(pair) in chosen)
    rest = [pair for pair in pairs if unit_of(pair) not in chosen]
    texts = {fold(text) for pair in held_out for text in (pair.anchor, pair.positive)}
    # A heading is held out with its section, but where a section is divided, it stands above both parts.
    train = tuple(pair for pair in rest if fold(pair.anchor) not in texts and fold(pair.positive) not in texts)
    if not train or not held_out:
        raise DocumentError(
            f"The documents hold {len(pairs)} pairs in {len(set(map(unit_of, pairs)))} "
            f"{'documents' if by_document else 'sections'}, and cannot be divided to train on some and evaluate with "
            f"the others. Add documents."
        )
    names = tuple(dict.fromkeys(pair.path for pair in held_out))
    return Split(train, held_out, "documents" if by_document else "sections", names, len(rest) - len(train))


def _document(pair: Pair) -> str:
    # Some file systems store an accent as a character of its own.
    return unicodedata.normalize("NFC", pair.path)


def _part(pair: Pair) -> str:
    return f"{_document(pair)}\n{pair.section}\n{pair.passage // PART}"


def _choose(pairs: Sequence[Pair], unit_of: Callable[[Pair], str], share: float, seed: int) -> set[str]:
    sizes: dict[str, int] = {}
    for pair in pairs:
        sizes[unit_of(pair)] = sizes.get(unit_of(pair), 0) + 1
    wanted = max(FEWEST_HELD_OUT, share * len(pairs))
    largest = LARGEST_SHARE * len(pairs)

    def order(unit: str) -> tuple[bool, bytes]:
        return sizes[unit] > largest, hashlib.sha256(f"{seed}\n{unit}".encode()).digest()

    chosen: set[str] = set()
    count = 0
    for unit in sorted(sizes, key=order)[: len(sizes) - FEWEST_DOCUMENTS]:
        if count >= wanted and len(chosen) >= FEWEST_DOCUMENTS:
            break
        chosen.add(unit)
        count += sizes[unit]
    return chosen

"""Make pairs of texts that belong together, from the structure of documents alone, and hold documents out."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from wordllama_st.data.datasets import Kind, TrainingData
from wordllama_st.data.documents.document import Document, Section, SectionKind, counted, some
from wordllama_st.data.documents.passages import fold, is_language, with_words, words
from wordllama_st.errors import ArgumentError, DocumentError

#: Of each section. Passages further down have less and less to do with the heading.
PASSAGES_BELOW_A_HEADING = 3
#: A passage right below as many different headings is a licence or navigation, and belongs to none of them. A heading
#: above as many different sections does not tell them apart.
MANY = 3
#: Words that the positive must have and the anchor not. With fewer, it says the same again.
NEW_WORDS = 3
#: With fewer, training has hardly a second batch, and a score of what is held out says nothing.
FEWEST_PAIRS = 20
#: On either side of a split. One document more or less would decide what the score is.
FEWEST_DOCUMENTS = 2
#: Pairs. A score of fewer moves in steps of ten per cent.
FEWEST_HELD_OUT = 10
#: A document with a larger share of all pairs stays in training, as long as there are others to hold out.
LARGEST_SHARE = 0.1
#: Passages of a part, where a section is too long to be held out whole.
PART = 20


class Relation(Enum):
    """How the two texts of a pair are related in their document."""

    TITLE = "title → section"
    NEIGHBOURS = "neighbouring passages"
    NAME = "name → docstring"
    BODY = "summary → body"
    COMMENT = "name → comment"


_OF_HEADING = {
    SectionKind.TEXT: Relation.TITLE,
    SectionKind.DEFINITION: Relation.NAME,
    SectionKind.COMMENTS: Relation.COMMENT,
}


@dataclass(frozen=True)
class Pair:
    """Two texts that belong together: the anchor to search with, and the positive to find.

    Attributes:
        section: The number of the section in its document, from 0; ``passage`` that of the positive in its section.
    """

    anchor: str
    positive: str
    relation: Relation
    path: str
    section: int
    passage: int


@dataclass(frozen=True)
class Pairs:
    """The pairs of some documents, none twice, and the numbers of those dropped, by reason; ``str`` is a report."""

    pairs: tuple[Pair, ...]
    dropped: dict[str, int]

    def __str__(self) -> str:
        found = Counter(pair.relation for pair in self.pairs)
        counts = {relation.value: found[relation] for relation in Relation if found[relation]}
        report = f"Pairs       {len(self.pairs):,}: {', '.join(counted(counts))}"
        if self.dropped:
            report += f"\nLeft out    {sum(self.dropped.values()):,}: {', '.join(counted(self.dropped))}"
        return report


def make_pairs(documents: Iterable[Document], relations: Sequence[Relation] = tuple(Relation)) -> Pairs:
    """Pair headings with what is below them, passages with the next ones, names and summaries with what they stand for.

    That a text and its neighbours have the same subject is the idea of Lee et al., *Latent Retrieval for Weakly
    Supervised Open Domain Question Answering* (2019); code and its docstring are paired in Husain et al.,
    *CodeSearchNet Challenge* (2019).

    Args:
        documents: All of them, also where some are to be held out: what is the same everywhere only shows in many.
        relations: Those to use.

    Raises:
        DocumentError: If there are fewer than ``FEWEST_PAIRS``.
    """
    documents = list(documents)
    filters = _Filters(documents)
    pairs: dict[tuple[str, str], Pair] = {}
    dropped: Counter[str] = Counter()
    for document in documents:
        for number, section in enumerate(document.sections):
            for relation, anchor, passage in _candidates(section):
                if relation not in relations:
                    continue
                pair = Pair(anchor, section.passages[passage], relation, document.path, number, passage)
                key = (fold(pair.anchor), fold(pair.positive))
                if why := "there already" if key in pairs else filters.why_not(pair, section):
                    dropped[why] += 1
                else:
                    pairs[key] = pair
    if len(pairs) < FEWEST_PAIRS:
        others = f", and {dropped.total():,} left out: {', '.join(dropped)}" if dropped else ""
        raise DocumentError(
            f"The documents ({len(documents):,}) have too few pairs of text ({len(pairs)}{others}); training wants "
            f"{FEWEST_PAIRS} at least. Add documents with headings, docstrings or several paragraphs."
        )
    return Pairs(tuple(pairs.values()), dict(dropped.most_common()))


def _candidates(section: Section) -> Iterator[tuple[Relation, str, int]]:
    """The relation, the anchor and the number of the positive of each pair of a section."""
    passages = section.passages
    is_definition = section.kind is SectionKind.DEFINITION  # its first passage is the summary
    if section.headings:
        is_text = section.kind is SectionKind.TEXT
        anchor = ", ".join(section.headings) if is_text else with_words(section.headings[0])
        for index in range(len(passages))[: 1 if is_definition else PASSAGES_BELOW_A_HEADING]:
            yield _OF_HEADING[section.kind], anchor, index
    if is_definition:
        for index in range(1, len(passages))[:PASSAGES_BELOW_A_HEADING]:
            yield Relation.BODY, passages[0], index
    if section.kind is not SectionKind.COMMENTS:  # two comments of a function are about two things
        for index in range(1 + is_definition, len(passages)):
            yield Relation.NEIGHBOURS, passages[index - 1], index


class _Filters:
    """What all documents together say against a pair: where each passage stands, and what is below each heading."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._first_place: dict[str, tuple[str, int]] = {}
        headings_of: dict[str, set[str]] = {}
        openings_of: dict[tuple[SectionKind, tuple[str, ...]], set[str]] = {}
        for document in documents:
            for number, section in enumerate(document.sections):
                openings_of.setdefault((section.kind, section.headings), set()).add(fold(section.passages[0]))
                heading = " ".join(words(section.headings[-1])) if section.headings else ""
                for passage in map(fold, section.passages):
                    headings_of.setdefault(passage, set()).add(heading)
                    self._first_place.setdefault(passage, (document.path, number))
        self._boilerplate = {passage for passage, headings in headings_of.items() if len(headings) >= MANY}
        self._vague = {heading for heading, openings in openings_of.items() if len(openings) >= MANY}

    def why_not(self, pair: Pair, section: Section) -> str | None:
        """Why to leave a pair of a section out; None to keep it."""
        if not self._boilerplate.isdisjoint((fold(pair.positive), fold(pair.anchor))):
            return f"boilerplate (below {MANY} different headings or more)"
        if self._first_place[fold(pair.positive)] != (pair.path, pair.section):
            return "copies of a passage in another place"
        of_heading = pair.relation in _OF_HEADING.values()
        if of_heading and (section.kind, section.headings) in self._vague:
            return f"of a heading above {MANY} different sections or more"
        if not is_language(pair.positive) or not (of_heading or is_language(pair.anchor)):
            return "no language"
        if len(set(words(pair.positive)) - set(words(pair.anchor))) < NEW_WORDS:
            return "the same said twice"
        return None


def pairs_to_training_data(pairs: Iterable[Pair]) -> dict[str, TrainingData]:
    """Convert pairs to training data by the name of their relation, without one of a single pair: training compares."""
    from datasets import Dataset

    rows: dict[Relation, list[dict[str, str]]] = {relation: [] for relation in Relation}
    for pair in pairs:
        rows[pair.relation].append({"anchor": pair.anchor, "positive": pair.positive})
    return {
        relation.value: TrainingData(Dataset.from_list(found), Kind.PAIRS, relation.value, ("anchor", "positive"))
        for relation, found in rows.items()
        if len(found) > 1
    }


@dataclass(frozen=True)
class Split:
    """Pairs to train on, and held-out pairs; ``str`` of it is a line of a report.

    Attributes:
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
        pairs: Those of :func:`make_pairs`.
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

"""What was read, paired and held out, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from wordllama_st.data.documents.holding_out import Split
from wordllama_st.data.documents.pairs import Pairs, Relation
from wordllama_st.data.documents.reading import Documents

#: Names shown of each group.
SHOWN = 3


def summarize_documents(read: Documents) -> list[str]:
    """How many documents of each format were read, with how many passages, and what was left out and why."""
    formats = Counter(document.format for document in read.documents)
    sections = [section for document in read.documents for section in document.sections]
    passages = sum(len(section.passages) for section in sections)
    lines = [
        f"Documents   {len(read.documents):,}: {_counts(formats)}",
        f"Passages    {passages:,} in {len(sections):,} sections",
    ]
    left_out = {"without text": list(read.empty)} if read.empty else {}
    for skipped in read.skipped:
        why, _, detail = skipped.reason.partition(": ")
        left_out.setdefault(why, []).append(f"{skipped.path} ({detail})" if detail else skipped.path)
    for why, names in sorted(left_out.items(), key=lambda group: -len(group[1])):
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        lines.append(f"Left out    {len(names):,}, {why}: {', '.join(names[:SHOWN])}{more}")
    if read.others:
        others = dict(read.others[:SHOWN])
        more = f" and {len(read.others) - SHOWN:,} more kinds" if len(read.others) > SHOWN else ""
        lines.append(f"Not read    {_counts(others)}{more}")
    return lines


def summarize_pairs(made: Pairs) -> list[str]:
    """How many pairs there are of each relation, and how many were left out and why."""
    found = Counter(pair.relation for pair in made.pairs)
    counts = {relation.value: found[relation] for relation in Relation if found[relation]}
    lines = [f"Pairs       {len(made.pairs):,}: {_counts(counts)}"]
    if made.dropped:
        lines.append(f"Left out    {sum(made.dropped.values()):,}: {_counts(made.dropped)}")
    return lines


def summarize_split(split: Split) -> str:
    """What was held out, and whether by whole documents."""
    shown = ", ".join(split.names[:SHOWN]) + (f" and {len(split.names) - SHOWN:,} more" * (len(split.names) > SHOWN))
    what = f"all of {shown}" if split.by == "documents" else f"sections of {shown}, too few documents to hold out whole"
    removed = f"; {split.removed:,} in neither, for the same text is held out" if split.removed else ""
    return f"Held out    {len(split.held_out):,} pairs, {len(split.train):,} to train on: {what}{removed}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())

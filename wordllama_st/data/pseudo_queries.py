"""Pseudo-queries: parts of documents that stand in for queries, where there are none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

#: Words of a span, and of a sentence.
SHORTEST_SPAN, LONGEST_SPAN = 3, 8
SHORTEST_SENTENCE, LONGEST_SENTENCE = 4, 40
#: Spans of a document.
NUM_SPANS = 4
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+|\n+")


def draw_span(document: str, random: Random) -> str:
    """Draw 3 to 8 successive words of a document; all of them if it has fewer."""
    words = document.split()
    length = random.randint(SHORTEST_SPAN, LONGEST_SPAN)
    begin = random.randint(0, max(0, len(words) - length))
    return " ".join(words[begin : begin + length])


def make_pseudo_queries(documents: Iterable[str], seed: int = 0) -> list[str]:
    """Take the sentences of each document, of which the first is often its title, and four spans of 3 to 8 words.

    Returns:
        Texts, each once.
    """
    random = Random(seed)
    found: dict[str, None] = {}
    for document in documents:
        for sentence in map(str.strip, _SENTENCE_END.split(document)):
            if SHORTEST_SENTENCE <= len(sentence.split()) <= LONGEST_SENTENCE:
                found[sentence] = None
        found.update(dict.fromkeys(draw_span(document, random) for _ in range(NUM_SPANS)))
    return list(found)

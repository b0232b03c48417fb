"""What somebody else's tokenizer.json says, checked before the tokenizers library acts on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer

#: How many times as long a text may become; of the models there are, none doubles it. Forty replacements of a letter by
#: two would make a terabyte of each.
MAX_GROWTH = 1000
#: Bytes. The library frees the pieces of a Unigram vocabulary by recursion, and one of a hundred thousand bytes, or in
#: a thread of fewer, ends the process.
LONGEST_PIECE = 4096

_quote = re.compile(rb'(?<!\\)"')
_PREFIX = b'"continuing_subword_prefix"'
_is_empty = re.compile(rb'\s*:\s*(null|"")').match
#: That key could be written with one.
_escaped_letter = re.compile(rb"\\u00[4-7]")
_charsmap = re.compile(rb'"precompiled_charsmap"\s*:\s*"[A-Za-z0-9+/=]*"')


def check_strings(definition: bytes) -> None:
    """Raise ValueError if a tokenizer.json has a string, but for a character map, that is too long for any token.

    None of up to ``LONGEST_PIECE`` bytes is, and each of more than twice as many.
    """
    definition = _charsmap.sub(b"", definition)
    for start in range(0, len(definition) - LONGEST_PIECE, LONGEST_PIECE):
        if _quote.search(definition, start, start + LONGEST_PIECE) is None:
            raise ValueError(f"it has a token of more than {LONGEST_PIECE:,} bytes")


def check_merges(definition: bytes) -> None:
    """Raise ValueError if a tokenizer.json has a prefix for tokens within words, and a merge with one that lacks it.

    The library cuts as many bytes off the second token of each, and within a character it ends the process.
    """
    has_prefix = not all(map(_is_empty, definition.split(_PREFIX)[1:]))
    if has_prefix or (b"\\u00" in definition and _escaped_letter.search(definition)):  # whose search alone is slow
        json.loads(definition, object_pairs_hook=_checked_model)


def _checked_model(pairs: list[tuple[str, Any]]) -> None:
    """Check a JSON object that may be a model; of a key that it has twice, each value."""
    merges = [merge for key, value in pairs if key == "merges" and isinstance(value, list) for merge in value]
    seconds = [merge.partition(" ")[2] if isinstance(merge, str) else merge[1] for merge in merges if len(merge) > 1]
    for key, prefix in pairs:
        if key == "continuing_subword_prefix" and prefix is not None:
            for second in seconds:
                if not second.startswith(prefix):
                    raise ValueError(f"its merge to {second!r} lacks the prefix {prefix!r}")


def normalizer_steps(tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """The steps of a tokenizer's normalizer, in order."""
    normalizer = tokenizer.normalizer
    return list(component_steps(None if normalizer is None else json.loads(normalizer.__getstate__())))


def component_steps(*components: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The steps of normalizers and pre-tokenizers, those in sequences too."""
    for component in components:
        if component is not None and component["type"] == "Sequence":
            yield from component_steps(*component.get("normalizers", component.get("pretokenizers", ())))
        elif component is not None:
            yield component


def check_growth(tokenizer: Tokenizer) -> None:
    """Raise ValueError if a tokenizer's normalizer may make a text more than ``MAX_GROWTH`` times as long."""
    growth = 1.0
    for step in normalizer_steps(tokenizer):
        if step["type"] == "Replace":
            growth *= _growth(step["pattern"], len(step["content"]))
    if growth > MAX_GROWTH:
        raise ValueError(f"its normalizer makes texts {growth:.3g} times as long")


def _growth(pattern: dict[str, str], content: int) -> float:
    """How many times as long a text may become where each match of a pattern is replaced by so many characters."""
    if "String" in pattern:
        return max(1.0, content / len(pattern["String"])) if pattern["String"] else 1.0 + content
    try:
        matches_nothing = re.compile(pattern["Regex"]).match("") is not None
    except (re.error, RecursionError, OverflowError):  # another syntax than Python's
        matches_nothing = True
    return 1.0 + content if matches_nothing else max(1.0, content)

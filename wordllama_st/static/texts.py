"""Checks of what is given to be encoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from wordllama_st.errors import ArgumentError


def checked_texts(texts: Iterable[str], position: int = 0) -> list[str]:
    """Return texts as a list, if all are str; ``position`` is the index of the first one, for the error."""
    if isinstance(texts, (bytes, bytearray)) or not isinstance(texts, Iterable):
        raise ArgumentError(f"A text is a str, and texts are an iterable of them; this is {type(texts).__name__}.")
    texts = texts if isinstance(texts, list) else list(texts)
    for index, text in enumerate(texts, position):
        if not isinstance(text, str):
            raise ArgumentError(f"Text {index} is {type(text).__name__}, not str: {str(text)[:40]!r}.")
    return texts


def check_characters(texts: Sequence[str]) -> None:
    """Name the text that has a lone surrogate, which no tokenizer takes."""
    for index, text in enumerate(texts):
        if half := re.search(r"[\ud800-\udfff]", text):
            raise ArgumentError(
                f"Text {index} has half of a surrogate pair, {half[0]!r}, at character {half.start()}, which stands "
                f"for nothing. Decode it anew, or with text.encode('utf-8', 'replace')."
            )

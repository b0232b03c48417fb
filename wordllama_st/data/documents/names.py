"""Names of code and files, as words."""

from __future__ import annotations

import re

_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")


def readable(name: str) -> str:
    """The words of a name: ``read_csv`` is *read csv*, ``HTTPServer.handle`` is *HTTP Server handle*."""
    return _SEPARATORS.sub(" ", _CASE.sub(" ", name)).strip()


def with_words(name: str) -> str:
    """A name and its words beside it, for either is what people look for; the name alone where it is one word."""
    split = readable(name)
    return name if split == name else f"{name} {split}"

"""Text pairs that any machine with Python has: the docstrings of the packages installed on it."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Folders whose docstrings say little about what a package does.
SKIPPED_FOLDERS = {"tests", "test", "testing", "_vendor", "vendored"}
MIN_SUMMARY_WORDS = 3
MIN_BODY_CHARACTERS = 80
MAX_CHARACTERS = 1500


@dataclass(frozen=True)
class Docstring:
    """One documented class or function.

    Attributes:
        package: The top-level package it is in.
        name: Its qualified name within its module, such as ``DataFrame.merge``.
        summary: The first paragraph, on one line.
        body: The rest, as written.
    """

    package: str
    name: str
    summary: str
    body: str


def installed_packages() -> dict[str, Path]:
    """The packages of this environment's site-packages, by name."""
    root = Path(sysconfig.get_path("purelib"))
    return {path.parent.name: path.parent for path in sorted(root.glob("*/__init__.py"))}


def harvest(package: Path, limit: int | None = None) -> list[Docstring]:
    """Read the docstrings out of a package's sources, without importing it.

    Args:
        package: Its folder.
        limit: Stop after so many.

    Returns:
        One for each public class and function whose docstring has a summary and a body, no summary or body twice.
    """
    found: list[Docstring] = []
    seen: set[str] = set()
    for path in sorted(package.rglob("*.py")):
        if SKIPPED_FOLDERS.intersection(path.relative_to(package).parts):
            continue
        for docstring in _in_file(path, package.name):
            if docstring.summary not in seen and docstring.body not in seen:
                seen.update((docstring.summary, docstring.body))
                found.append(docstring)
        if limit is not None and len(found) >= limit:
            return found[:limit]
    return found


def _in_file(path: Path, package: str) -> Iterator[Docstring]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's sources
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError, RecursionError):
        return  # templates and sources of other Python versions
    yield from _in_node(tree, package, "")


def _in_node(node: ast.AST, package: str, prefix: str) -> Iterator[Docstring]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or child.name.startswith("_"):
            continue
        name = prefix + child.name
        summary, _, body = (ast.get_docstring(child) or "").partition("\n\n")
        summary, body = " ".join(summary.split()), body.strip()[:MAX_CHARACTERS]
        if len(summary.split()) >= MIN_SUMMARY_WORDS and len(body) >= MIN_BODY_CHARACTERS:
            yield Docstring(package, name, summary[:MAX_CHARACTERS], body)
        if isinstance(child, ast.ClassDef):
            yield from _in_node(child, package, name + ".")

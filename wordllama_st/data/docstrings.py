"""Docstrings of installed packages: real English text in pairs, on every machine that has Python."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from tqdm.auto import tqdm

#: Folders whose docstrings say little about what a package does.
SKIPPED_FOLDERS = {"tests", "test", "testing", "_vendor", "vendored"}
MIN_SUMMARY_WORDS = 3
MIN_BODY_CHARACTERS = 80
MAX_CHARACTERS = 1500
#: Docstrings of one package, so that no package dominates.
MAX_PER_PACKAGE = 4000

DefinitionNode: TypeAlias = "ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef"


@dataclass(frozen=True)
class Docstring:
    """A documented class or function: its top-level package, its qualified name in its module, and its docstring."""

    package: str
    name: str
    summary: str
    body: str


def installed_packages() -> dict[str, Path]:
    """The packages of this environment's site-packages, by name."""
    root = Path(sysconfig.get_path("purelib"))
    return {path.parent.name: path.parent for path in sorted(root.glob("*/__init__.py"))}


def extract_docstrings(package: Path, limit: int | None = None) -> list[Docstring]:
    """Read the docstrings in a package's sources, without importing it.

    Args:
        package: Its folder.
        limit: The most docstrings to read.

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


def extract_installed_docstrings() -> dict[str, list[Docstring]]:
    """Read the docstrings of every installed package, up to ``MAX_PER_PACKAGE`` of each, by package."""
    packages = installed_packages()
    with ProcessPoolExecutor() as executor:
        found = executor.map(partial(extract_docstrings, limit=MAX_PER_PACKAGE), packages.values())
        return dict(zip(packages, tqdm(found, "Reading docstrings", len(packages), unit="package"), strict=True))


def parse(source: str) -> ast.Module:
    """Parse Python source as :func:`ast.parse` does, but without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's sources
        return ast.parse(source)


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, DefinitionNode]]:
    """The public classes, functions and methods of a module with their qualified names, documented or not, in order."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from definitions(child, prefix + child.name + ".")


def summary_and_body(node: DefinitionNode | ast.Module) -> tuple[str, str]:
    """A docstring's first paragraph, on one line, and the rest as written; empty where there is none."""
    summary, _, body = (ast.get_docstring(node) or "").partition("\n\n")
    return " ".join(summary.split()), body.strip()


def _in_file(path: Path, package: str) -> Iterator[Docstring]:
    try:
        tree = parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError, RecursionError):
        return  # templates and sources of other Python versions
    for name, node in definitions(tree):
        summary, body = summary_and_body(node)
        body = body[:MAX_CHARACTERS]
        if len(summary.split()) >= MIN_SUMMARY_WORDS and len(body) >= MIN_BODY_CHARACTERS:
            yield Docstring(package, name, summary[:MAX_CHARACTERS], body)

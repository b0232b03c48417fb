"""What MkDocs and mkdocstrings need beyond their own options: help texts, modules of a room, and Sphinx roles."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from griffe import Alias, Extension, GriffeLoader, Module, Object

ROOT = Path(__file__).parent.parent
_ROLE = re.compile(r":(\w+):`~?([^`]+)`")
#: An indented block of code behind a line that is ``::``.
_EXAMPLE = re.compile(r"^( *)::\n\n((?:\1 +\S.*(?:\n|\Z)|\n)+)", re.MULTILINE)
_LINKED = ("class", "func", "meth", "mod", "attr")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Replace ``<!-- commands -->`` by the help of each command, ``<!-- modules of ROOM -->`` by its modules' API."""
    if "<!-- commands -->" in markdown:
        markdown = markdown.replace("<!-- commands -->", _commands())
    return re.sub(r"<!-- modules of ([\w.]+)(?:, first ([\w., ]+?))? -->", _modules, markdown)


def _commands() -> str:
    from wordllama_st.cli.main import _parser

    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}  # argparse reads them
    parser = _parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    parts = [_code(parser.format_help())]
    parts += [f"## {name}\n\n{_code(command.format_help())}" for name, command in commands.choices.items()]
    return "\n\n".join(parts)


def _code(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def _modules(found: re.Match[str]) -> str:
    """Write mkdocstrings' directive for each module below a package, those that are named first."""
    package, named = found[1], (found[2] or "").split(", ")
    folder = ROOT / package.replace(".", "/")
    names = [".".join(path.relative_to(folder).with_suffix("").parts) for path in sorted(folder.rglob("*.py"))]
    names = [name for name in names if not name.rpartition(".")[2].startswith("_")]
    names.sort(key=lambda name: named.index(name) if name in named else len(named))
    public, internal = ([name for name in names if (name in named) is wanted] for wanted in (True, False))
    parts = [f"::: {package}.{name}" for name in public]
    if public and internal:
        parts.append("## Internal modules\n\nFor contributors: these may change without notice.")
    parts += [f"::: {package}.{name}\n    options:\n      heading_level: 3" for name in internal]
    return "\n\n".join(parts)


def _fenced(example: re.Match[str]) -> str:
    indentation, code = example.groups()
    return indent(f"```python\n{dedent(code).strip()}\n```\n", indentation)


class SphinxRoles(Extension):
    """Turns Sphinx's markup in docstrings into Markdown: roles, as in ``:func:`~wordllama_st.bake```, and ``::``."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **kwargs: Any) -> None:
        """Rewrite the docstrings of a loaded package."""
        self._rewrite(pkg, loader)

    def _rewrite(self, obj: Object, loader: GriffeLoader) -> None:
        if obj.docstring:
            text = _ROLE.sub(lambda role: self._link(role, obj, loader), obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(_fenced, text)
        for member in obj.members.values():
            if not isinstance(member, Alias):
                self._rewrite(member, loader)

    @staticmethod
    def _link(role: re.Match[str], obj: Object, loader: GriffeLoader) -> str:
        kind, target = role.groups()
        shown = f"`{target.rpartition('.')[2] if '~' in role[0] else target}`"
        if kind not in _LINKED:
            return shown
        first, _, rest = target.partition(".")
        try:
            full = target if target.startswith("wordllama_st") else ".".join(filter(None, [obj.resolve(first), rest]))
            found = loader.modules_collection[full]
            found = found.final_target if isinstance(found, Alias) else found
        except Exception:
            return shown
        private = any(part.startswith("_") for part in found.path.split("."))
        has_page = not private and not found.path.startswith("wordllama_st.cli") and not found.is_init_module
        return f"[{shown}][{found.path}]" if has_page and found.has_docstring else shown

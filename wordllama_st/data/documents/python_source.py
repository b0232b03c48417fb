"""Python sources: what is documented in them, and the comments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import decode_source
from pathlib import PurePosixPath

from wordllama_st.data.docstrings import DefinitionNode, definitions, parse, summary_and_body
from wordllama_st.data.documents.document import Section, SectionKind
from wordllama_st.data.documents.passages import make_passages, one_line, paragraphs, words
from wordllama_st.errors import DocumentError

#: A comment with fewer words is about the line below it, and says little without that.
MIN_COMMENT_WORDS = 8


def read(content: bytes, name: str) -> list[Section]:
    """A section for the module and for each public class, function and method that has a docstring or comments.

    The sources are parsed, not run. The body of a definition begins with its signature. Comments that stand on lines of
    their own are kept, unless they are short or are code themselves.

    Raises:
        DocumentError: If it does not parse.
    """
    try:
        source = decode_source(content)  # in the encoding that it declares, as Python reads it
        tree = parse(source)
    except UnicodeDecodeError as error:
        raise DocumentError(f"not UTF-8, to be converted with iconv -t utf-8: byte {error.start}") from error
    except SyntaxError as error:
        raise DocumentError(f"does not parse: line {error.lineno}, {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise DocumentError(f"does not parse: {str(error) or 'nested too deeply'}") from error
    module = _module_name(name)
    found = list(definitions(tree))
    sections = [_definition(module, tree), *(_definition(qualified, node) for qualified, node in found)]
    return [section for section in (*sections, *_comments(source, tree, module, found)) if section.passages]


def signature(name: str, node: DefinitionNode | ast.Module) -> str:
    """A name with its parameters and result, or its bases, as written: ``Shelf.sort(self, by='title') -> None``."""
    if isinstance(node, ast.Module):
        return name
    if isinstance(node, ast.ClassDef):
        return f"{name}({', '.join(map(ast.unparse, node.bases))})" if node.bases else name
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{name}({ast.unparse(node.args)}){returns}"


def _module_name(path: str) -> str:
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _definition(name: str, node: DefinitionNode | ast.Module) -> Section:
    summary, body = summary_and_body(node)
    blocks = [signature(name, node), *paragraphs(body)] if body else []
    passages = (*make_passages([summary]), *make_passages(blocks))
    return Section(_headings(name), passages, SectionKind.DEFINITION)


def _comments(source: str, tree: ast.Module, module: str, found: list[tuple[str, DefinitionNode]]) -> Iterator[Section]:
    owners: dict[int, str] = {}
    for name, node in found:  # a method comes after its class, and has the last word on its lines
        owners.update(dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), name))
    below: dict[str, list[str]] = {}
    for line, comment in _comment_blocks(source, tree):
        below.setdefault(owners.get(line, module), []).append(comment)
    for name, comments in below.items():
        yield Section(_headings(name), tuple(make_passages(comments)), SectionKind.COMMENTS)


def _headings(name: str) -> tuple[str, ...]:
    return (one_line(name),) if name else ()


def _comment_blocks(source: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line that each block of comments begins on, counted from 1, and its text."""
    within = _lines_within_strings(tree)
    block: list[str] = []
    for number, line in enumerate([*source.split("\n"), ""], start=1):
        text = line.strip()
        if text.startswith("#") and number not in within:
            block.append(text.lstrip("#!:").strip())
        elif block:
            if len(words(" ".join(block))) >= MIN_COMMENT_WORDS and not _is_code("\n".join(block)):
                yield number - len(block), " ".join(block)
            block = []


def _lines_within_strings(tree: ast.Module) -> set[int]:
    """Lines on which a string goes on from the line above: a # at their beginning is no comment."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno not in (None, node.lineno)
        for line in range(node.lineno + 1, (node.end_lineno or 0) + 1)
    }


def _is_code(text: str) -> bool:
    try:
        parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True

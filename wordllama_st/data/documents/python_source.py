"""Python sources: docstrings and comments."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterator
from importlib.util import decode_source
from io import BytesIO
from pathlib import PurePosixPath

from wordllama_st.data.docstrings import DefinitionNode, definitions, parse, summary_and_body
from wordllama_st.data.documents.document import Section, SectionKind
from wordllama_st.data.documents.passages import make_passages, one_line, paragraphs, words
from wordllama_st.errors import DocumentError

#: A shorter comment is about the line below it, and says little without that.
MIN_COMMENT_WORDS = 8
#: Those of domain names, which take hours for a few megabytes.
SLOW_ENCODINGS = ("punycode", "idna")


def read(content: bytes, name: str) -> list[Section]:
    """Read a section for each docstring, its body after the signature, and for the comments of each definition."""
    try:
        if tokenize.detect_encoding(BytesIO(content).readline)[0].lower() in SLOW_ENCODINGS:
            raise DocumentError("in an encoding of domain names")
        source = decode_source(content)  # in the encoding that it declares, as Python reads it
        tree = parse(source)
    except UnicodeDecodeError as error:
        raise DocumentError(f"not UTF-8, to be converted with iconv -t utf-8: byte {error.start}") from error
    except SyntaxError as error:
        raise DocumentError(f"does not parse: line {error.lineno}, {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise DocumentError(f"does not parse: {str(error) or 'nested too deeply'}") from error
    path = PurePosixPath(name).with_suffix("")
    module = ".".join(path.parts[:-1] if path.name == "__init__" else path.parts)
    found = list(definitions(tree))
    sections: list[tuple[SectionKind, str, list[str]]] = []
    for qualified, node in ((module, tree), *found):
        summary, body = summary_and_body(node)
        blocks = [signature(qualified, node), *paragraphs(body)] if body else []
        sections.append((SectionKind.DEFINITION, qualified, make_passages([summary]) + make_passages(blocks)))
    comments: dict[str, list[str]] = {}
    for line, comment in _comments(source, tree):
        # The last definition around a line is the innermost.
        owners = (owner for owner, node in reversed(found) if node.lineno <= line <= (node.end_lineno or 0))
        comments.setdefault(next(owners, module), []).append(comment)
    sections += [(SectionKind.COMMENTS, owner, make_passages(blocks)) for owner, blocks in comments.items()]
    return [
        Section((one_line(owner),) if owner else (), tuple(texts), kind) for kind, owner, texts in sections if texts
    ]


def signature(name: str, node: DefinitionNode | ast.Module) -> str:
    """A name with its parameters and result, or its bases, as written: ``Shelf.sort(self, by='title') -> None``."""
    if isinstance(node, ast.Module):
        return name
    if isinstance(node, ast.ClassDef):
        return f"{name}({', '.join(map(ast.unparse, node.bases))})" if node.bases else name
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{name}({ast.unparse(node.args)}){returns}"


def _comments(source: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line on which each block of comments begins, from 1, and its text."""
    # Lines on which a string continues from the line above: a # at their beginning is no comment.
    within_strings = {
        line
        for node in ast.walk(tree)
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno
        for line in range(node.lineno + 1, node.end_lineno + 1)
    }
    block: list[str] = []
    for number, line in enumerate([*source.split("\n"), ""], start=1):
        text = line.strip()
        if text.startswith("#") and number not in within_strings:
            block.append(text.lstrip("#!:").strip())
        elif block:
            if len(words(" ".join(block))) >= MIN_COMMENT_WORDS and not _is_code("\n".join(block)):
                yield number - len(block), " ".join(block)
            block = []


def _is_code(text: str) -> bool:
    try:
        parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True

"""Bytes to text, without guessing."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE

from wordllama_st.errors import DocumentError


def decode(content: bytes, declared: str | None = None) -> str:
    """Read UTF-8, with or without a byte order mark, or UTF-16 with one; lines end with a newline afterwards.

    Args:
        content: A file's bytes.
        declared: The encoding that the file itself says it has; tried where it is neither.

    Raises:
        DocumentError: If it is none of them, or no text; it names the first byte that says so.
    """
    encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        text = _declared(content, declared)
        if not text:
            raise DocumentError(f"not UTF-8, to be converted with iconv -t utf-8: byte {error.start}") from error
    if "\0" in text:
        raise DocumentError(f"no text: a zero at character {text.index(chr(0))}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _declared(content: bytes, encoding: str | None) -> str:
    try:
        return content.decode(encoding) if encoding else ""
    except (LookupError, UnicodeDecodeError):
        return ""

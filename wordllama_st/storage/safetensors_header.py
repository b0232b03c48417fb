"""The header of a safetensors file, checked to the last byte before anything is done with it.

The format (https://github.com/huggingface/safetensors) is eight bytes of header length, a JSON header that gives each
tensor's dtype, shape and place, then the tensors' bytes, without gaps or overlaps up to the end of the file. The
``safetensors`` library checks a file that is whole and local. A header also comes alone, over HTTP, from a file that
nobody wants to download; so the check is here, once, for both, and says what is wrong with which tensor.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordllama_st.errors import CodebookError

#: The header's length, before the header.
PREFIX_BYTES = 8
#: What the format allows; no honest header comes near it.
MAX_HEADER_BYTES = 100_000_000

#: Bits of an element, by dtype tag. A file may have tensors of others, of which only the place is checked.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class TensorEntry:
    """A tensor as the header describes it.

    Attributes:
        dtype: The format's tag, such as ``"BF16"``.
        shape: Its dimensions.
        start: Position of its first byte, from the start of the file.
        end: Position behind its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Every tensor of a file, by its key.

    Raises:
        CodebookError: If the file is not valid safetensors.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = header_length(file.read(PREFIX_BYTES), size, str(path))
        return parse_header(file.read(length), size, str(path))


def header_length(prefix: bytes, file_size: int, where: str) -> int:
    """The header's length in bytes, from the first eight bytes of a file.

    Args:
        prefix: These bytes.
        file_size: Of the whole file, in bytes.
        where: The file, for the error.

    Raises:
        CodebookError: If the file cannot have a header that long.
    """
    if len(prefix) < PREFIX_BYTES:
        raise _fault(where, f"it has {file_size} bytes, fewer than the eight it begins with")
    (length,) = struct.unpack("<Q", prefix)
    if length > MAX_HEADER_BYTES:
        raise _fault(where, f"it claims a header of {length:,} bytes, beyond the format's {MAX_HEADER_BYTES:,}")
    if PREFIX_BYTES + length > file_size:
        raise _fault(where, f"it claims a header of {length:,} bytes, and ends after {file_size:,}")
    return int(length)


def parse_header(header: bytes, file_size: int, where: str) -> dict[str, TensorEntry]:
    """Every tensor that a header describes, by its key.

    Args:
        header: The JSON, without the eight bytes before it.
        file_size: Of the whole file, in bytes.
        where: The file, for the error.

    Raises:
        CodebookError: If the header is not one, or does not fit the file.
    """
    try:
        content = json.loads(header.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except UnicodeDecodeError as error:
        raise _fault(where, f"its header is not UTF-8 at byte {PREFIX_BYTES + error.start}") from error
    except _DuplicateKeyError as error:
        raise _fault(where, f"its header has the key {error.args[0]!r} twice") from error
    except (ValueError, RecursionError) as error:
        raise _fault(where, f"its header is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise _fault(where, "its header is not a JSON object")
    data_start = PREFIX_BYTES + len(header)
    tensors = {
        name: _entry(name, entry, data_start, where) for name, entry in content.items() if name != "__metadata__"
    }
    _check_places(tensors, data_start, file_size, where)
    return tensors


def _entry(name: str, entry: Any, data_start: int, where: str) -> TensorEntry:
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise _fault(where, f"its header gives no dtype, shape and two offsets for {name!r}") from error
    if not isinstance(dtype, str) or not isinstance(shape, list) or not all(map(_is_count, [*shape, start, end])):
        raise _fault(where, f"the dtype, shape or offsets of {name!r} are not what they should be: {str(entry)[:200]}")
    bits = math.prod(shape) * _BITS.get(dtype, 0)
    if end < start or (dtype in _BITS and -(-bits // 8) != end - start):
        raise _fault(where, f"{name!r}, {dtype} of shape {str(shape)[:80]}, cannot lie at bytes {start} to {end}")
    return TensorEntry(dtype, tuple(shape), data_start + start, data_start + end)


def _check_places(tensors: dict[str, TensorEntry], data_start: int, file_size: int, where: str) -> None:
    position, before = data_start, "the header"
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start < position:
            raise _fault(where, f"{name!r} overlaps {before}")
        if entry.start > position:
            raise _fault(where, f"the {entry.start - position:,} bytes between {before} and {name!r} are no tensor's")
        position, before = entry.end, repr(name)
    if position > file_size:
        raise _fault(where, f"it is cut short: {position:,} bytes by its header, {file_size:,} in fact")
    if position < file_size:
        raise _fault(where, f"it has {file_size - position:,} bytes more than its header describes")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


class _DuplicateKeyError(Exception):
    pass


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        raise _DuplicateKeyError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return content


def _fault(where: str, fault: str) -> CodebookError:
    return CodebookError(f"{where} is not a readable safetensors file: {fault}.")

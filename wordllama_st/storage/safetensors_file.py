"""Safetensors files: the header, checked to the last byte, and the one two-dimensional tensor of a token table.

The format (https://github.com/huggingface/safetensors) is eight bytes of header length, a JSON header that gives each
tensor's dtype, shape and place, then the tensors' bytes, without gaps or overlaps. The ``safetensors`` library reads no
header alone, as over HTTP, tells no tensor's position, by which a large table is mapped, and writes no stream.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wordllama_st.errors import CodebookError
from wordllama_st.storage.staging import staged_file

#: The header's length, before the header.
PREFIX_BYTES = 8
#: What the format allows; no honest header comes near it.
MAX_HEADER_BYTES = 100_000_000
#: NumPy's. The product of a header's worth of dimensions would take hours.
MAX_RANK = 64

#: Bits of an element, by dtype tag. A file may have tensors of others, of which only the place is checked.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
#: The dtypes a codebook keeps, by their safetensors tag. NumPy has no bfloat16, so its bits travel as uint16.
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
STORAGE_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}
#: The key of a token table in every file of this package's, as in WordLlama's and sentence-transformers' own.
TENSOR_NAME = "embedding.weight"
#: A table [V, D] in one of these.
Table = npt.NDArray[Any]
#: Bytes at a time when a table is checked, hashed or copied.
CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class TensorEntry:
    """A tensor's dtype by the format's tag, such as ``"BF16"``, its shape and its place from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Every tensor of a file, by its key; raises CodebookError if the file is not valid safetensors."""
    size = path.stat().st_size
    with path.open("rb") as file:
        end = header_end(file.read(PREFIX_BYTES), size, str(path))
        return parse_header(file.read(end - PREFIX_BYTES), size, str(path))


def header_end(start: bytes, file_size: int, where: str) -> int:
    """The position behind the header, from a file's first bytes; raises CodebookError if the file is too short."""
    if len(start) < PREFIX_BYTES:
        raise _fault(where, f"it has {file_size} bytes, fewer than the eight it begins with")
    length = int.from_bytes(start[:PREFIX_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise _fault(where, f"it claims a header of {length:,} bytes, beyond the format's {MAX_HEADER_BYTES:,}")
    if PREFIX_BYTES + length > file_size:
        raise _fault(where, f"it claims a header of {length:,} bytes, and ends after {file_size:,}")
    return PREFIX_BYTES + length


def parse_header(header: bytes, file_size: int, where: str) -> dict[str, TensorEntry]:
    """Every tensor of a JSON header, by its key; raises CodebookError if it is no header, or not this file's."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in pairs:
            if key in content:
                raise _fault(where, f"its header has the key {key!r} twice")
            content[key] = value
        return content

    try:
        content = json.loads(header.decode("utf-8"), object_pairs_hook=unique)
    except UnicodeDecodeError as error:
        raise _fault(where, f"its header is not UTF-8 at byte {PREFIX_BYTES + error.start}") from error
    except CodebookError:
        raise
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
    numbers = [*shape, start, end] if isinstance(shape, list) else [None]
    if not isinstance(dtype, str) or not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise _fault(where, f"the dtype, shape or offsets of {name!r} are not what they should be: {str(entry)[:200]}")
    if len(shape) > MAX_RANK:
        raise _fault(where, f"{name!r} has {len(shape):,} dimensions, more than {MAX_RANK}")
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


def _fault(where: str, fault: str) -> CodebookError:
    return CodebookError(f"{where} is not a readable safetensors file: {fault}.")


def map_tensor(path: Path, name: str) -> tuple[Table, str]:
    """Map a tensor [V, D] of a safetensors file, bfloat16 as its uint16 bits, privately; and read its dtype.

    Raises:
        CodebookError: If the file is invalid, has no such tensor, or the tensor is no table of floats.
    """
    tensors = read_header(path)
    dtype, shape = table_layout(tensors, name, str(path))
    return np.memmap(path, STORAGE_DTYPES[dtype], mode="c", offset=tensors[name].start, shape=shape), dtype


def table_layout(tensors: Mapping[str, TensorEntry], name: str, where: str) -> tuple[str, tuple[int, int]]:
    """The dtype and shape (V, D) of a tensor; raises CodebookError if there is none, or it is no table of floats."""
    if name not in tensors:
        raise CodebookError(f"{where} holds no tensor {name!r}; it has {_listing(list(tensors))}.")
    entry = tensors[name]
    if entry.dtype not in DTYPES:
        stem = name.removesuffix("weight")
        scales = sorted(other for other in tensors if other.startswith(stem) and other != name)
        raise CodebookError(
            f"{name!r} in {where} is stored as {entry.dtype}"
            f"{f', quantised, with {_listing(scales)} beside it' if scales else ''}; "
            f"a codebook is read from {', '.join(DTYPES)}. Take the checkpoint it was quantised from, or convert it."
        )
    if len(entry.shape) != 2 or 0 in entry.shape:
        raise CodebookError(f"{name!r} in {where} has shape {list(entry.shape)}; a token table is [V, D], neither 0.")
    return DTYPES[entry.dtype], (entry.shape[0], entry.shape[1])


def byte_chunks(table: Table) -> Iterator[memoryview]:
    """A table's bytes [V, D], some rows at a time, without copying it whole."""
    rows = max(1, CHUNK_BYTES // (table.shape[1] * table.itemsize))
    for start in range(0, len(table), rows):
        yield np.ascontiguousarray(table[start : start + rows]).data.cast("B")


def table_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """The size of a table [V, D] in bytes."""
    return math.prod(shape) * STORAGE_DTYPES[dtype].itemsize


def tensor_header(dtype: str, shape: tuple[int, ...], name: str = TENSOR_NAME) -> bytes:
    """What comes before the bytes of the one tensor [V, D] of a safetensors file."""
    tag = next(tag for tag, known in DTYPES.items() if known == dtype)
    entry = {"dtype": tag, "shape": list(shape), "data_offsets": [0, table_bytes(dtype, shape)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, name: entry}).encode()
    header += b" " * (-len(header) % 8)  # tensor data must start at a multiple of eight
    return struct.pack("<Q", len(header)) + header


def write_tensor(path: Path, name: str, dtype: str, shape: tuple[int, int], chunks: Iterable[memoryview]) -> None:
    """Write one [V, D] tensor from a stream of its bytes; raises CodebookError, with no file written, if some lack."""
    expected = table_bytes(dtype, shape)
    with staged_file(path) as staging, staging.open("wb") as file:
        file.write(tensor_header(dtype, shape, name))
        written = sum(file.write(chunk) for chunk in chunks)
        if written != expected:
            raise CodebookError(f"{name!r} of shape {list(shape)} is {expected} bytes, but {written} were given.")


def _listing(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5])) or "none"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown

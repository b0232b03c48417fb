"""A two-dimensional tensor inside a safetensors file: where its bytes lie, how to map them, how to stream them out.

What the ``safetensors`` library does not offer, and a table of several gigabytes needs, is the tensor's position,
so that it can be mapped, hashed and copied without ever being read whole, and a writer that takes a stream.
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
from wordllama_st.storage.safetensors_header import TensorEntry, read_header
from wordllama_st.storage.staging import staged_file

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
class StoredTensor:
    """A [V, D] tensor in a file.

    Attributes:
        path: The safetensors file.
        name: The tensor's key in it.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``.
        shape: (V, D).
        offset: Position of the first byte, from the start of the file.
    """

    path: Path
    name: str
    dtype: str
    shape: tuple[int, int]
    offset: int

    def map(self) -> Table:
        """The tensor as a private mapping of the file, [V, D]; bfloat16 as its uint16 bits.

        Pages are read when they are touched and can be dropped at any time: nothing counts against memory.
        """
        return np.memmap(self.path, STORAGE_DTYPES[self.dtype], mode="c", offset=self.offset, shape=self.shape)


def stored_tensor(path: Path, name: str) -> StoredTensor:
    """Find ``name`` in a safetensors file, reading only its header.

    Raises:
        CodebookError: If the file is invalid, has no such tensor, or the tensor is no table of floats.
    """
    tensors = read_header(path)
    dtype, shape = table_layout(tensors, name, str(path))
    return StoredTensor(path, name, dtype, shape, tensors[name].start)


def table_layout(tensors: Mapping[str, TensorEntry], name: str, where: str) -> tuple[str, tuple[int, int]]:
    """The dtype and shape (V, D) of the tensor ``name`` in the file ``where``, if it can be a token table.

    Raises:
        CodebookError: If there is no such tensor, or it is no table of floats.
    """
    if name not in tensors:
        raise CodebookError(f"{where} holds no tensor {name!r}; it has {_listing(list(tensors))}.")
    entry = tensors[name]
    if entry.dtype not in DTYPES:
        stem = name.removesuffix("weight")
        scales = sorted(other for other in tensors if other.startswith(stem) and other != name)
        raise CodebookError(
            f"{name!r} in {where} is stored as {entry.dtype}"
            f"{f', quantised, with {_listing(scales)} beside it' if scales else ''}; "
            f"a codebook is read from {', '.join(DTYPES)}. Take the checkpoint that it was quantised from, or convert "
            f"it."
        )
    if len(entry.shape) != 2 or 0 in entry.shape:
        raise CodebookError(
            f"{name!r} in {where} has shape {list(entry.shape)}; a token table is [V, D], neither zero."
        )
    return DTYPES[entry.dtype], (entry.shape[0], entry.shape[1])


def byte_chunks(table: Table) -> Iterator[memoryview]:
    """A table's bytes [V, D], some rows at a time, without copying it whole."""
    rows = max(1, CHUNK_BYTES // (table.shape[1] * table.itemsize))
    for start in range(0, len(table), rows):
        yield np.ascontiguousarray(table[start : start + rows]).data.cast("B")


def table_bytes(dtype: str, shape: tuple[int, int]) -> int:
    """The size of a table [V, D] in bytes."""
    return math.prod(shape) * STORAGE_DTYPES[dtype].itemsize


def tensor_header(name: str, dtype: str, shape: tuple[int, int]) -> bytes:
    """What comes before the bytes of the one tensor [V, D] of a safetensors file."""
    tag = next(tag for tag, known in DTYPES.items() if known == dtype)
    entry = {"dtype": tag, "shape": list(shape), "data_offsets": [0, table_bytes(dtype, shape)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, name: entry}).encode()
    header += b" " * (-len(header) % 8)  # tensor data must start at a multiple of eight
    return struct.pack("<Q", len(header)) + header


def write_tensor(path: Path, name: str, dtype: str, shape: tuple[int, int], chunks: Iterable[memoryview]) -> None:
    """Write one [V, D] tensor from a stream of its bytes; the file appears only when all of them are in it.

    Raises:
        CodebookError: If the stream is not exactly as long as ``shape`` and ``dtype`` say.
    """
    expected = table_bytes(dtype, shape)
    with staged_file(path) as staging, staging.open("wb") as file:
        file.write(tensor_header(name, dtype, shape))
        written = sum(file.write(chunk) for chunk in chunks)
        if written != expected:
            raise CodebookError(f"{name!r} of shape {list(shape)} is {expected} bytes, but {written} were given.")


def _listing(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown or "none"

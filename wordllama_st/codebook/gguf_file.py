"""The token table and tokenizer inside a GGUF file, the format of llama.cpp.

The format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) is a magic number, a version, two counts, that
many key-values, that many tensor descriptions, then the tensors' bytes at aligned offsets. The ``gguf`` package's own
reader believes every count and length in a file; a damaged one makes it loop or allocate without end. Here each is
checked against the bytes that remain before anything is done with it, so that reading costs what the file is long.
What the types mean and how they are dequantised comes from the package.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wordllama_st.codebook.found_table import FoundTable
from wordllama_st.codebook.gguf_tokenizer import TOKENS, tokenizer_from_metadata
from wordllama_st.codebook.rows import ArrayRows, Rows
from wordllama_st.errors import CodebookError, CodebookNotFoundError, require
from wordllama_st.storage.safetensors_file import STORAGE_DTYPES, Table

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
TABLE_NAME = "token_embd.weight"

#: The types that a codebook keeps as they are, by GGUF's name.
_PLAIN_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
#: Scalar values by the format's number for their type, as ``struct`` and NumPy both spell them.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_UINT32, _STRING, _ARRAY = 4, 8, 9
#: The shortest a key-value, a tensor description and an array in an array can be, in bytes.
_MIN_PAIR, _MIN_TENSOR, _MIN_ARRAY = 13, 24, 12
_MAX_DEPTH, _MAX_DIMENSIONS = 4, 4
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class GgufTensor:
    """A tensor's type by the format's number, shape [outermost, ...] and first byte from the start of the file."""

    kind: int
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class GgufHeader:
    """What a file says before its tensors: key-values, arrays of them as lists of str or NumPy arrays, and tensors."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


@dataclass(frozen=True)
class QuantizedRows:
    """The rows of a quantised table: mapped as they are, [V, bytes of a row], dequantised when they are asked for."""

    raw: Table
    kind: GGMLQuantizationType
    shape: tuple[int, int]
    dtype: str = "float32"

    def block(self, start: int, stop: int) -> Table:
        from gguf.quants import dequantize

        raw = np.ascontiguousarray(self.raw[start:stop])
        if not len(raw):  # some of the package's types stumble over no rows
            return np.empty((0, self.shape[1]), np.float32)
        return np.ascontiguousarray(dequantize(raw, self.kind), dtype=np.float32)


def open_gguf(path: Path, tensor_name: str | None = None) -> FoundTable:
    """Find the token table of a GGUF file, and make the tokenizer that its metadata describes.

    Args:
        path: The file; of a model that is split into several, any of them.
        tensor_name: The table's name in it; ``token_embd.weight`` by default.

    Raises:
        MissingExtraError: If the ``gguf`` package is not installed.
        CodebookNotFoundError: If there is no such file, or a part of the model that is needed is missing.
        CodebookError: If it is damaged, has no such table, or the table or tokenizer is of a kind that is unknown.
    """
    require("gguf", "gguf")
    name = TABLE_NAME if tensor_name is None else tensor_name
    read = cache(read_header)
    parts = _parts(path, read(path))
    holder = _part_with(name, parts, read)
    if name not in read(holder).tensors:
        raise CodebookError(f"{path} holds no tensor {name!r}; {_candidates(read(parts[0]))}.")
    rows = _rows(holder, name, read(holder).tensors[name])
    header = read(parts[0])
    tokenizer = tokenizer_from_metadata(header.metadata, str(parts[0]))
    architecture = str(header.metadata.get("general.architecture", "")) or None
    return FoundTable(rows, tokenizer, str(path), name, architecture)


def _parts(path: Path, header: GgufHeader) -> list[Path]:
    """The files of the model that a file is of, of which the first has the metadata; of most it is the only one."""
    count = header.metadata.get("split.count", 1)
    if not isinstance(count, int) or count < 2:
        return [path]
    named = re.fullmatch(r"(.*)-\d{5}-of-(\d{5})\.gguf", path.name, re.DOTALL)
    if named is None or int(named[2]) != count:
        raise CodebookError(
            f"{path} is one of {count} parts of a model, which are found by their names: call it "
            f"NAME-00001-of-{count:05}.gguf, or whichever it is, and so the others beside it."
        )
    return [path.with_name(f"{named[1]}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]


def _part_with(name: str, parts: list[Path], read: Callable[[Path], GgufHeader]) -> Path:
    """The part that holds a tensor; the first where none does."""
    missing = [part for part in parts if not part.is_file()] if len(parts) > 1 else []
    if parts[0] not in missing:
        for part in parts:
            if part not in missing and name in read(part).tensors:
                return part
    if missing:
        raise CodebookNotFoundError(
            f"The model is split into {len(parts)} files, and {name!r} or the tokenizer is in one that is missing: "
            f"{', '.join(map(str, missing[:5]))}. Put it beside the others."
        )
    return parts[0]


def read_header(path: Path) -> GgufHeader:
    """Everything a file says before its tensors, checked against the file.

    Raises:
        CodebookNotFoundError: If there is no such file.
        CodebookError: If it is no GGUF file of a known version, or is damaged or cut short.
    """
    if not path.is_file():
        raise CodebookNotFoundError(f"There is no file {path}.")
    with path.open("rb") as file:
        _check_prefix(file.read(8), str(path))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data, 8, str(path)).header()


def _check_prefix(prefix: bytes, where: str) -> None:
    if len(prefix) < 8 or prefix[:4] != MAGIC:
        raise _fault(where, f"it does not begin with {MAGIC.decode()} and a version")
    (version,), (swapped,) = struct.unpack("<I", prefix[4:]), struct.unpack(">I", prefix[4:])
    if version not in VERSIONS:
        # The version is the only thing that tells the byte order.
        kind = f"big-endian, version {swapped}" if swapped in (1, *VERSIONS) else f"of version {version}"
        raise _fault(where, f"it is {kind}; versions 2 and 3, little-endian, are read. Convert the model anew")


class _Reader:
    """Walks a header from value to value; no step leads beyond the end of the file."""

    def __init__(self, data: mmap.mmap, position: int, where: str) -> None:
        self._data, self._position, self._where, self._end = data, position, where, len(data)

    def header(self) -> GgufHeader:
        tensor_count = self._count(_MIN_TENSOR, "tensors")
        pair_count = self._count(_MIN_PAIR, "key-values")
        metadata: dict[str, Any] = {}
        for index in range(pair_count):
            key = self._string(f"key {index}")
            if key in metadata:
                raise self._fault(f"it has the key {key!r} twice")
            kept = key.startswith(("general.", "tokenizer."))
            kind = self._scalar("I", f"the type of {key!r}")
            if key == "general.alignment" and kind != _UINT32:
                raise self._fault(f"{key!r} is of type {kind}, not an unsigned 32-bit number")
            metadata[key] = self._value(kind, kept, repr(key))
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if alignment == 0 or alignment & (alignment - 1):
            raise self._fault(f"its alignment is {alignment}, which is no power of two")
        return GgufHeader(metadata, self._tensors(tensor_count, alignment))

    def _tensors(self, count: int, alignment: int) -> dict[str, GgufTensor]:
        tensors: dict[str, GgufTensor] = {}
        for index in range(count):
            name = self._string(f"the name of tensor {index}")
            if name in tensors:
                raise self._fault(f"it has the tensor {name!r} twice")
            dimensions = self._scalar("I", f"the dimensions of {name!r}")
            if not 1 <= dimensions <= _MAX_DIMENSIONS:
                raise self._fault(f"{name!r} has {dimensions} dimensions; a tensor has one to {_MAX_DIMENSIONS}")
            shape = tuple(self._scalar("Q", f"the dimensions of {name!r}") for _ in range(dimensions))[::-1]
            kind = self._scalar("I", f"the type of {name!r}")
            offset = self._scalar("Q", f"the offset of {name!r}")
            if offset % alignment:
                raise self._fault(f"{name!r} lies at offset {offset}, which is no multiple of {alignment}")
            tensors[name] = GgufTensor(kind, shape, offset)
        start = -(-self._position // alignment) * alignment
        tensors = {name: GgufTensor(t.kind, t.shape, start + t.offset) for name, t in tensors.items()}
        self._check_places(tensors)
        return tensors

    def _check_places(self, tensors: dict[str, GgufTensor]) -> None:
        position, before = 0, ""
        for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].offset, math.prod(item[1].shape))):
            if tensor.offset < position:
                raise self._fault(f"{name!r} overlaps {before!r}")
            end = tensor.offset + self._byte_size(name, tensor)
            if end > self._end:
                raise self._fault(f"{name!r} ends at byte {end:,}, and the file at {self._end:,}: it is cut short")
            position, before = end, name

    def _byte_size(self, name: str, tensor: GgufTensor) -> int:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
        except (ValueError, KeyError):
            return 0  # newer than the package: nobody can say, and it matters only if it is the table
        if tensor.shape[-1] % block:
            raise self._fault(
                f"the rows of {name!r} have {tensor.shape[-1]} numbers, no multiple of its block, {block}"
            )
        return math.prod(tensor.shape) // block * size

    def _value(self, kind: int, kept: bool, what: str, depth: int = 0) -> Any:
        """The value of a key, or None where it is only stepped over."""
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind], what)
        if kind == _STRING:
            return next(iter(self._strings(1, kept, what)), None)
        if kind != _ARRAY:
            raise self._fault(f"{what} is of type {kind}, which the format does not have")
        if depth == _MAX_DEPTH:
            raise self._fault(f"{what} has arrays in arrays, more than {_MAX_DEPTH} deep")
        kind = self._scalar("I", what)
        if kind in _SCALARS:
            dtype = np.dtype(_SCALARS[kind]).newbyteorder("<")
            count = self._count(dtype.itemsize, f"elements of {what}")
            start = self._advance(count * dtype.itemsize, what)
            return np.frombuffer(self._data[start : self._position], dtype) if kept else None
        if kind == _STRING:
            return self._strings(self._count(_LENGTH.size, f"elements of {what}"), kept, what)
        values = [
            self._value(kind, kept, what, depth + 1) for _ in range(self._count(_MIN_ARRAY, f"elements of {what}"))
        ]
        return values if kept else None

    def _strings(self, count: int, kept: bool, what: str) -> list[str]:
        """``count`` strings in a row; none where they are only stepped over. A vocabulary has hundreds of thousands."""
        data, end, unpack, position = self._data, self._end, _LENGTH.unpack_from, self._position
        found = []
        for _ in range(count):
            start = position + _LENGTH.size
            if start > end:
                raise self._fault(f"it ends inside {what}")
            position = start + unpack(data, position)[0]
            if position > end:
                raise self._fault(f"a string of {position - start:,} bytes in {what} ends beyond the end of the file")
            if kept:
                found.append(data[start:position])
        self._position = position
        try:
            return [text.decode() for text in found]
        except UnicodeDecodeError as error:
            raise self._fault(f"{what} is not UTF-8") from error

    def _string(self, what: str) -> str:
        return self._strings(1, True, what)[0]

    def _scalar(self, code: str, what: str) -> Any:
        layout = "<" + code
        return struct.unpack_from(layout, self._data, self._advance(struct.calcsize(layout), what))[0]

    def _count(self, smallest: int, what: str) -> int:
        """A number of things of at least ``smallest`` bytes each, all of which must be ahead."""
        count = int(self._scalar("Q", f"the number of {what}"))
        if count * smallest > self._end - self._position:
            raise self._fault(f"it claims {count:,} {what}, more than its {self._end:,} bytes can hold")
        return count

    def _advance(self, size: int, what: str) -> int:
        start = self._position
        if start + size > self._end:
            raise self._fault(f"it ends inside {what}")
        self._position = start + size
        return start

    def _fault(self, fault: str) -> CodebookError:
        return _fault(self._where, fault)


def _rows(path: Path, name: str, tensor: GgufTensor) -> Rows:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quant_shape_to_byte_shape

    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise CodebookError(f"{name!r} in {path} has shape {list(tensor.shape)}; a token table is [V, D], not empty.")
    shape = (tensor.shape[0], tensor.shape[1])
    try:
        kind = GGMLQuantizationType(tensor.kind)
    except ValueError as error:
        raise CodebookError(f"{name!r} in {path} is of type {tensor.kind}, which this gguf package has not.") from error
    if kind.name in _PLAIN_TYPES:
        dtype = _PLAIN_TYPES[kind.name]
        return ArrayRows(np.memmap(path, STORAGE_DTYPES[dtype], mode="c", offset=tensor.offset, shape=shape), dtype)
    byte_shape = quant_shape_to_byte_shape(shape, kind)
    try:
        dequantize(np.zeros((1, byte_shape[1]), np.uint8), kind)
    except NotImplementedError as error:
        raise CodebookError(
            f"{name!r} in {path} is stored as {kind.name}, which the gguf package cannot read."
        ) from error
    return QuantizedRows(np.memmap(path, np.uint8, mode="c", offset=tensor.offset, shape=byte_shape), kind, shape)


def _candidates(header: GgufHeader, limit: int = 5) -> str:
    tokens = header.metadata.get(TOKENS)
    count = len(tokens) if isinstance(tokens, list) else None
    names = [name for name, tensor in header.tensors.items() if len(tensor.shape) == 2 and tensor.shape[0] == count]
    if not names:
        return f"and none of its {len(header.tensors)} tensors has a row for each of {count or 'its'} tokens"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"one row for each of its {count} tokens have {', '.join(map(repr, names[:limit]))}{more}"


def _fault(where: str, fault: str) -> CodebookError:
    return CodebookError(f"{where} is not a readable GGUF file: {fault}.")

"""The token table and tokenizer inside a GGUF file, the format of llama.cpp.

The format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) is a magic number, a version, two counts, that
many key-values, that many tensor descriptions, then the tensors' bytes at aligned offsets. ``gguf.GGUFReader`` checks
no length against the bytes that remain, and takes 35 s and 600 MB for Llama 3's vocabulary (here 1 s and 50 MB).
"""

from __future__ import annotations

import math
import re
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wordllama_st.codebook.gguf_tokenizer import TOKENS, tokenizer_from_metadata
from wordllama_st.codebook.token_table import ArrayRows, FoundTable, Rows
from wordllama_st.codebook.tokenizer_files import try_tokenizer
from wordllama_st.errors import CodebookError, CodebookNotFoundError, require
from wordllama_st.storage.safetensors_file import DTYPES, STORAGE_DTYPES, Table

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

#: Scalar values by the format's number for their type, as ``struct`` and NumPy both spell them.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_LAYOUTS = {code: struct.Struct(f"<{code}") for code in _SCALARS.values()}
_UINT32, _STRING, _ARRAY = 4, 8, 9
#: The fewest bytes of a key-value, a tensor description, and a string or an array in an array.
_MIN_PAIR, _MIN_TENSOR, _MIN_STRING, _MIN_ARRAY = 13, 24, 8, 12


class GgufTensor(NamedTuple):
    """A tensor's type by the format's number, shape [outermost, ...] and first byte from the start of the file."""

    kind: int
    shape: tuple[int, ...]
    offset: int


class QuantizedRows(Rows):
    """The rows of a quantized table, mapped as [V, bytes of a row] and dequantized when they are asked for."""

    def __init__(self, raw: Table, kind: GGMLQuantizationType, shape: tuple[int, int]) -> None:
        super().__init__(shape, "float32")
        self._raw, self._kind = raw, kind

    def block(self, start: int, stop: int) -> Table:
        from gguf.quants import dequantize

        raw = np.ascontiguousarray(self._raw[start:stop])
        if not len(raw):  # which some types cannot dequantize
            return np.empty((0, self.shape[1]), np.float32)
        return np.ascontiguousarray(dequantize(raw, self._kind), dtype=np.float32)


def open_gguf(path: Path, tensor_name: str | None = None) -> FoundTable:
    """Find the token table of a GGUF file, and build the tokenizer that its metadata describes.

    Any file will do of a model that is split into several. The table is ``token_embd.weight``, if no other is named.

    Raises:
        MissingExtraError: If the ``gguf`` package is not installed.
        CodebookNotFoundError: If the file or a part of the model that is needed is missing.
        CodebookError: If it is damaged, has no such table, or the table or tokenizer is of an unknown kind.
    """
    require("gguf", "gguf")
    name = "token_embd.weight" if tensor_name is None else tensor_name
    read = cache(GgufHeader)
    parts = _parts(path, read(path))
    missing = [part for part in parts if not part.is_file()]
    holder = None
    if parts[0] not in missing:  # which has the metadata
        holder = next((part for part in parts if part not in missing and name in read(part).tensors), None)
    if holder is None and missing:
        raise CodebookNotFoundError(
            f"The model is split into {len(parts)} files, and {name!r} or the tokenizer is in one that is missing: "
            f"{', '.join(map(str, missing[:5]))}. Put it beside the others."
        )
    header = read(parts[0])
    if holder is None:
        tokens = header.metadata.get(TOKENS)
        count = len(tokens) if isinstance(tokens, list) else 0
        names = [name for name, tensor in header.tensors.items() if len(tensor.shape) == 2 and tensor.shape[0] == count]
        others = f"those with a row for each of its {count} tokens are {', '.join(map(repr, names[:5])) or 'none'}"
        raise CodebookError(f"{path} holds no tensor {name!r}; {others}{' and others' if len(names) > 5 else ''}.")
    rows = _rows(holder, name, read(holder).tensors[name])
    tokenizer = tokenizer_from_metadata(header.metadata, str(parts[0]))
    try_tokenizer(tokenizer, parts[0])
    architecture = str(header.metadata.get("general.architecture", "")) or None
    return FoundTable(rows, tokenizer, str(path), name, architecture)


def _parts(path: Path, header: GgufHeader) -> list[Path]:
    """All files of a model, of which the first has the metadata."""
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
    if kind.name in DTYPES:  # both formats' names
        dtype = DTYPES[kind.name]
        return ArrayRows(np.memmap(path, STORAGE_DTYPES[dtype], mode="c", offset=tensor.offset, shape=shape), dtype)
    byte_shape = quant_shape_to_byte_shape(shape, kind)
    try:
        dequantize(np.zeros((1, byte_shape[1]), np.uint8), kind)
    except NotImplementedError as error:
        raise CodebookError(f"{name!r} in {path} is stored as {kind.name}, which gguf cannot read.") from error
    return QuantizedRows(np.memmap(path, np.uint8, mode="c", offset=tensor.offset, shape=byte_shape), kind, shape)


class GgufHeader:
    """A file's ``metadata`` (arrays as lists or NumPy arrays) and its ``tensors`` by name, read value by value.

    Raises CodebookNotFoundError if there is no file, CodebookError if it is of no known version, damaged or cut short.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CodebookNotFoundError(f"There is no file {path}.")
        self._path = path
        self._size = self._left = path.stat().st_size
        with path.open("rb") as self._file:
            self.metadata, self.tensors = self._read()

    def _read(self) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
        if self._size < 8 or self._take(4, "the beginning") != b"GGUF":
            raise self._fault("it does not begin with GGUF and a version")
        version = self._scalar("I", "the version")
        if version not in (2, 3):
            # The version is the only thing that tells the byte order.
            kind = f"of version {version}" if version & 0xFFFF else f"big-endian, version {version >> 24}"
            raise self._fault(f"it is {kind}; versions 2 and 3, little-endian, are read. Convert the model anew")
        tensor_count, pair_count = self._count(_MIN_TENSOR, "tensors"), self._count(_MIN_PAIR, "key-values")
        metadata: dict[str, Any] = {}
        for index in range(pair_count):
            key = self._string(f"key {index}")
            if key in metadata:
                raise self._fault(f"it has the key {key!r} twice")
            kind = self._scalar("I", f"the type of {key!r}")
            if key == "general.alignment" and kind != _UINT32:
                raise self._fault(f"{key!r} is of type {kind}, not an unsigned 32-bit number")
            # What is of no use here may be in any encoding.
            encoding = "utf-8" if key.startswith(("general.", "tokenizer.")) else "latin-1"
            metadata[key] = self._value(kind, repr(key), encoding)
        alignment = metadata.get("general.alignment", 32)
        if alignment == 0 or alignment & (alignment - 1):
            raise self._fault(f"its alignment is {alignment}, which is no power of two")
        tensors: dict[str, GgufTensor] = {}
        for index in range(tensor_count):
            name = self._string(f"the name of tensor {index}")
            if name in tensors:
                raise self._fault(f"it has the tensor {name!r} twice")
            tensors[name] = self._tensor(name, alignment)
        start = -(-self._file.tell() // alignment) * alignment
        tensors = {name: tensor._replace(offset=start + tensor.offset) for name, tensor in tensors.items()}
        self._check_places(tensors)
        return metadata, tensors

    def _tensor(self, name: str, alignment: int) -> GgufTensor:
        dimensions = self._scalar("I", f"the dimensions of {name!r}")
        if not 1 <= dimensions <= 4:
            raise self._fault(f"{name!r} has {dimensions} dimensions; a tensor has one to 4")
        shape = tuple(self._scalar("Q", f"the dimensions of {name!r}") for _ in range(dimensions))[::-1]
        kind, offset = self._scalar("I", f"the type of {name!r}"), self._scalar("Q", f"the offset of {name!r}")
        if offset % alignment:
            raise self._fault(f"{name!r} lies at offset {offset}, which is no multiple of {alignment}")
        return GgufTensor(kind, shape, offset)

    def _check_places(self, tensors: dict[str, GgufTensor]) -> None:
        from gguf import GGML_QUANT_SIZES

        sizes = {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
        position, before = 0, ""
        for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].offset, math.prod(item[1].shape))):
            if tensor.offset < position:
                raise self._fault(f"{name!r} overlaps {before!r}")
            # Of a type newer than the package nobody can say how large it is, and it matters only if it is the table.
            block, size = sizes.get(tensor.kind, (1, 0))
            if (row := tensor.shape[-1]) % block:
                raise self._fault(f"the rows of {name!r} have {row} numbers, no multiple of its block, {block}")
            end = tensor.offset + math.prod(tensor.shape) // block * size
            if end > self._size:
                raise self._fault(f"{name!r} ends at byte {end:,}, and the file at {self._size:,}: it is cut short")
            position, before = end, name

    def _value(self, kind: int, what: str, encoding: str, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind], what)
        if kind == _STRING:
            return self._string(what, encoding)
        if kind != _ARRAY:
            raise self._fault(f"{what} is of type {kind}, which the format does not have")
        if depth == 4:
            raise self._fault(f"{what} has arrays in arrays, more than 4 deep")
        kind = self._scalar("I", what)
        if kind in _SCALARS:
            dtype = np.dtype(_SCALARS[kind]).newbyteorder("<")
            count = self._count(dtype.itemsize, f"elements of {what}")
            return np.frombuffer(self._take(count * dtype.itemsize, what), dtype)
        count = self._count(_MIN_STRING if kind == _STRING else _MIN_ARRAY, f"elements of {what}")
        return [self._value(kind, what, encoding, depth + 1) for _ in range(count)]

    def _string(self, what: str, encoding: str = "utf-8") -> str:
        length = self._scalar("Q", what)
        if length > self._left:
            raise self._fault(f"a string of {length:,} bytes in {what} ends beyond the end of the file")
        try:
            return self._take(length, what).decode(encoding)
        except UnicodeDecodeError as error:
            raise self._fault(f"{what} is not UTF-8") from error

    def _count(self, smallest: int, what: str) -> int:
        """A number of things of at least ``smallest`` bytes each, all of which must be ahead."""
        count = int(self._scalar("Q", f"the number of {what}"))
        if count * smallest > self._left:
            raise self._fault(f"it claims {count:,} {what}, more than its {self._size:,} bytes can hold")
        return count

    def _scalar(self, code: str, what: str) -> Any:
        layout = _LAYOUTS[code]
        return layout.unpack(self._take(layout.size, what))[0]

    def _take(self, size: int, what: str) -> bytes:
        if size > self._left:
            raise self._fault(f"it ends inside {what}")
        self._left -= size
        return self._file.read(size)

    def _fault(self, fault: str) -> CodebookError:
        return CodebookError(f"{self._path} is not a readable GGUF file: {fault}.")

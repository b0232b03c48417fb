"""The parts that layouts have in common: JSON, tensors and a tokenizer. Every error names its file."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from wordllama_st.errors import ArgumentError, CodebookError, CodebookNotFoundError, ModelLoadError, reason
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.links import file_inside
from wordllama_st.storage.safetensors_file import TENSOR_NAME, TensorEntry, byte_chunks, read_header, write_tensor
from wordllama_st.storage.tokenizer import load_tokenizer, plain_tokenizer, tokens_without_row

WEIGHT_FILE = "model.safetensors"
#: The keys of model2vec's layout.
EMBEDDINGS, MAPPING, WEIGHTS = "embeddings", "mapping", "weights"
#: Weights that run code when they are read.
PICKLE_FILE = "pytorch_model.bin"

#: The bits of an exponent that infinities and NaN have, and no number.
_NOT_FINITE = {"F32": 0x7F800000, "F16": 0x7C00, "BF16": 0x7F80}
#: Bytes looked through at a time, which stay in a core's cache.
_CHUNK_BYTES = 2**20

#: NumPy's dtypes by safetensors tag. NumPy has no bfloat16, which is the upper half of a float32.
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


def model_file(directory: Path, name: str | PurePosixPath) -> Path:
    """Return the path of a file of a model; ModelLoadError if a link there leads out of the model's directory."""
    return file_inside(directory, name, ModelLoadError)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ModelLoadError: If there is none, or it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(
            f"{path} cannot be read as JSON: {reason(error)}. Fetch or save the model again."
        ) from error


class TensorFile:
    """The tensors of a safetensors file; its header is checked at once, tensors are mapped when they are read.

    Raises:
        ModelLoadError: If there is no such file, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        if not os.path.isfile(path):  # which is no error for a name that is too long
            raise missing_weights(path)
        self.path = path
        try:
            self.entries = read_header(path)
        except (CodebookError, OSError) as error:
            raise ModelLoadError(f"{reason(error)} Fetch or save the model again.") from error

    def read(self, name: str) -> npt.NDArray[Any]:
        """Return a tensor as a private mapping of the file; float64 and bfloat16 are copied into float32.

        Raises:
            ModelLoadError: If there is no such tensor, NumPy has no such dtype, or a number is not finite in float32.
        """
        if name not in self.entries:
            raise ModelLoadError(
                f"{self.path} has no tensor {name!r}, but {', '.join(map(repr, self.entries)) or 'none at all'}: it "
                f"is no static model's."
            )
        entry = self.entries[name]
        if entry.dtype not in _DTYPES:
            raise ModelLoadError(
                f"{name!r} in {self.path} is stored as {entry.dtype}, which is not supported; save it as float32 or "
                f"float16."
            )
        dtype = np.dtype(_DTYPES[entry.dtype])
        if entry.end == entry.start:  # nothing can be mapped, nor any shape with a zero in it be one of NumPy's
            raise ModelLoadError(
                f"{name!r} in {self.path} has shape {list(entry.shape)}: there are no numbers in it. Fetch or save the "
                f"model again."
            )
        self._check_finite(name, entry)
        # An array that is still a mapping, but no memmap: that is slower to index.
        tensor = np.asarray(np.memmap(self.path, dtype, mode="c", offset=entry.start, shape=entry.shape))
        if entry.dtype == "BF16":
            return (tensor.astype(np.uint32) << 16).view(np.float32)
        if entry.dtype == "F64":
            with np.errstate(over="ignore"):
                tensor = tensor.astype(np.float32)
            if not (finite := np.isfinite(tensor)).all():
                raise self._not_finite(name, int(finite.argmin()), entry)
        return tensor

    def _check_finite(self, name: str, entry: TensorEntry) -> None:
        """Check a tensor's exponents, piece by piece: those of float16 are faster to compare than its numbers.

        The pieces are read, not mapped, so that what is looked through stays out of the process's memory.
        """
        if (exponent := _NOT_FINITE.get(entry.dtype)) is None:
            return
        dtype, size = np.dtype(_DTYPES[entry.dtype].replace("f", "u")), math.prod(entry.shape)
        pieces = np.empty(_CHUNK_BYTES // dtype.itemsize, dtype)
        with self.path.open("rb") as file:
            file.seek(entry.start)
            for start in range(0, size, len(pieces)):
                piece = pieces[: size - start]
                file.readinto(piece.data)
                piece &= dtype.type(exponent)
                if piece.max() == exponent:
                    raise self._not_finite(name, start + int(piece.argmax()), entry)

    def _not_finite(self, name: str, position: int, entry: TensorEntry) -> ModelLoadError:
        row = position // math.prod(entry.shape[1:])
        return ModelLoadError(
            f"{name!r} in {self.path} has numbers that are not finite in float32, the first in row {row}: the file is "
            f"damaged, or its training diverged. Fetch or save the model again."
        )


def read_table(weights: Path, tokenizer: Path, **settings: Any) -> StaticTable:
    """Read a static model from its two files.

    The table is ``embedding.weight``; or model2vec's ``embeddings``, with ``mapping`` and ``weights`` if there are any.
    It stays mapped, in its dtype (but see :meth:`TensorFile.read`).

    Args:
        weights: A safetensors file.
        tokenizer: A tokenizer.json. Truncation and padding are turned off; special tokens are left to
            ``add_special_tokens=False``, since taking them out takes longer than reading the file.
        settings: The other arguments of :class:`~wordllama_st.static.table.StaticTable`.

    Raises:
        ModelLoadError: If a file is missing or damaged, or they are not those of a static model.
    """
    file = TensorFile(weights)
    mapping = scales = None
    if TENSOR_NAME not in file.entries and EMBEDDINGS in file.entries:
        weight = file.read(EMBEDDINGS)
        mapping = np.array(file.read(MAPPING)) if MAPPING in file.entries else None
        scales = np.array(file.read(WEIGHTS), dtype=np.float32) if WEIGHTS in file.entries else None
    else:
        weight = file.read(TENSOR_NAME)
        if weight.dtype == np.int8:
            raise ModelLoadError(
                f"{TENSOR_NAME!r} in {weights} is int8, without the scales that would make vectors of it. Save it as "
                f"float32 or float16, or as int8 in the model2vec layout, which has a place for them."
            )
    try:
        text_to_ids = load_tokenizer(tokenizer)
        text_to_ids.no_truncation()
        text_to_ids.no_padding()
        table = StaticTable(weight, text_to_ids, mapping=mapping, scales=scales, **settings)
    except (CodebookError, CodebookNotFoundError) as error:
        raise ModelLoadError(str(error)) from error
    except ArgumentError as error:
        raise ModelLoadError(f"{weights} holds no static model. {error}") from error
    _check_vocabulary(table, weights, tokenizer)
    return table


def _check_vocabulary(table: StaticTable, weights: Path, tokenizer: Path) -> None:
    """Check that every token has an embedding."""
    size = table.tokenizer.get_vocab_size(with_added_tokens=True)
    # If the first ids are all taken, as they nearly always are, there are no others. To list all takes twice as long.
    if size <= table.num_tokens and all(map(table.tokenizer.id_to_token, range(size))):
        return
    if missing := tokens_without_row(table.tokenizer, table.num_tokens):
        listed = ", ".join(f"{token!r} ({token_id})" for token, token_id in missing[:5])
        raise ModelLoadError(
            f"{weights} has vectors for {table.num_tokens} token ids, and {tokenizer} has {len(missing)} tokens beyond "
            f"them: {listed}{', …' if len(missing) > 5 else ''}. Put the tokenizer there that the table was made with."
        )


def missing_weights(path: Path) -> ModelLoadError:
    """Return the error for a model without its safetensors file."""
    if os.path.isfile(path.parent / PICKLE_FILE):
        return ModelLoadError(
            f"{path.parent} has its weights as a pickle only ({PICKLE_FILE}), which can run code when it is read, and "
            f"is not read here. If you trust it, load it with the library that wrote it and save it again: that "
            f"writes {path.name}."
        )
    return ModelLoadError(f"{path.parent} has no {path.name}: the model is not complete. Fetch or save it again.")


def write_weight(weight: npt.NDArray[Any], path: Path) -> None:
    """Write a table of floats as ``embedding.weight``, [V, d]."""
    write_tensor(path, TENSOR_NAME, weight.dtype.name, (weight.shape[0], weight.shape[1]), byte_chunks(weight))


def write_tokenizer(table: StaticTable, path: Path) -> None:
    """Write a model's tokenizer, which then adds no special tokens, however it is called."""
    path.write_text(plain_tokenizer(table.tokenizer).to_str(pretty=True), encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write an indented JSON file."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

"""The embedding column of a table: what is done with each batch of rows, wherever it is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

from wordllama_st.errors import ArgumentError
from wordllama_st.static.encoder import StaticEncoder
from wordllama_st.static.precision import Precision, quantize_embeddings

StoredPrecision = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]

#: The name of the column that is added.
EMBEDDING = "embedding"
_VALUE_TYPES = {
    "float32": pa.float32(),
    "float16": pa.float16(),
    "int8": pa.int8(),
    "uint8": pa.uint8(),
    "binary": pa.int8(),
    "ubinary": pa.uint8(),
}


class EmbeddingColumn(ABC):
    """A function from a table to the same table with an embedding column, whatever computes the embeddings.

    Attributes:
        text_column: The column of texts. A null has a null for an embedding.
        precision: float32; float16; or as for :func:`~wordllama_st.static.precision.quantize_embeddings`.
        ranges: For 8 bits, the least and the largest value of each dimension, [2, d].
        columns: The columns to keep; None keeps all.
    """

    text_column: str
    precision: StoredPrecision
    ranges: npt.NDArray[np.float32] | None
    columns: tuple[str, ...] | None

    @property
    @abstractmethod
    def dim(self) -> int:
        """d, the dim of the embeddings."""

    @abstractmethod
    def vectors(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Encode texts: float32 [n, d], before they are quantized."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the columns that are kept and ``embedding`` [n rows], fixed-size lists as :attr:`column_type` says."""
        texts = table.column(self.text_column).to_pylist()
        embeddings = self._stored(self.vectors([text for text in texts if text is not None]))
        nulls = None
        if len(embeddings) < len(texts):
            is_null = np.array([text is None for text in texts])
            present, embeddings = embeddings, np.zeros((len(texts), embeddings.shape[1]), embeddings.dtype)
            embeddings[~is_null] = present
            nulls = pa.array(is_null)
        values = pa.array(embeddings.reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(values, type=self.column_type, mask=nulls)
        kept = table.column_names if self.columns is None else self.columns
        return pa.Table.from_arrays([*map(table.column, kept), column], schema=self.schema(table.schema))

    def schema(self, of_rows: pa.Schema) -> pa.Schema:
        """The schema of what is returned for a table of a schema."""
        kept = of_rows.names if self.columns is None else self.columns
        return pa.schema([*map(of_rows.field, kept), pa.field(EMBEDDING, self.column_type)], of_rows.metadata)

    @property
    def column_type(self) -> pa.DataType:
        """The type of the column: lists of d values, or of ⌈d / 8⌉ bytes for packed bits."""
        width = -(-self.dim // 8) if self.precision.endswith("binary") else self.dim
        return pa.list_(_VALUE_TYPES[self.precision], width)

    def _stored(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        if self.precision == "float16":
            return vectors.astype(np.float16)
        precision: Precision = self.precision
        return quantize_embeddings(vectors, precision, self.ranges)


@dataclass(frozen=True)
class EmbedTexts(EmbeddingColumn):
    """The embedding column of a static model; it can be pickled.

    Args:
        encoder: The model. Threads can share it.
        text_column: The column of texts. A null has a null for an embedding.
        precision: float32; float16; or as for :func:`~wordllama_st.static.precision.quantize_embeddings`.
        normalize: Whether to scale embeddings to unit length.
        truncate_dim: Matryoshka dim to truncate embeddings to.
        prompt_name: Of the model's prompt to put in front of each text; its default prompt if None.
        ranges: For 8 bits, the least and the largest value of each dimension, [2, d].
        columns: The columns to keep; None keeps all.

    Raises:
        ArgumentError: If an argument is not valid.
    """

    encoder: StaticEncoder
    text_column: str
    precision: StoredPrecision = "float32"
    normalize: bool = False
    truncate_dim: int | None = None
    prompt_name: str | None = None
    ranges: npt.NDArray[np.float32] | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.precision not in _VALUE_TYPES:
            names = ", ".join(get_args(StoredPrecision))
            raise ArgumentError(f"The precision is one of {names}, not {self.precision!r}.")
        if self.truncate_dim is not None:
            self.encoder.table.check_dim(self.truncate_dim)
        self.encoder.table.prompt_text(self.prompt_name)

    @property
    def dim(self) -> int:
        return self.truncate_dim or self.encoder.dim

    def vectors(self, texts: list[str]) -> npt.NDArray[np.float32]:
        return self.encoder.encode(
            texts,
            prompt_name=self.prompt_name,
            normalize_embeddings=self.normalize,
            truncate_dim=self.truncate_dim,
            show_progress_bar=False,
        )

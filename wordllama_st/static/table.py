"""The static model: the table that every layout on disk stores and every runtime computes with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from wordllama_st.errors import ArgumentError
from wordllama_st.static.projection import project
from wordllama_st.static.space import VectorSpace

DTYPES = ("float32", "float16", "int8")
#: The largest int8 used. Without -128, a row and its negative are quantized alike.
INT8_MAX = 127


@dataclass(frozen=True)
class StaticTable:
    """A text embedder that is a table look-up and a mean.

    The embedding of token ``t`` is ``weight[mapping[t]] * scales[t] @ projection``, and that of a text is the mean over
    its tokens, of which only the mean is projected. Most models have no ``mapping``, no ``scales``, no ``projection``.

    Attributes:
        weight: Token embeddings [R, d], float32, float16 or int8; possibly mapped from a file.
        tokenizer: It neither truncates nor pads. Call it with ``add_special_tokens=False``: it may add some otherwise.
        normalize: Whether the mean is scaled to unit length.
        mapping: Each token's row of ``weight``, integers [V]. None: token ``t`` has row ``t``, and V is R.
        scales: Each token's factor, float32 [V]. None: 1.
        prompts: Texts to put in front of a text, by name, as in sentence-transformers.
        default_prompt_name: The prompt to use by default.
        similarity_fn_name: ``"cosine"``, ``"dot"``, ``"euclidean"`` or ``"manhattan"``.
        space: The vector space of the index that the model was adapted to, if it was.
        asymmetric: Whether this is the query side of an asymmetric model, whose documents another model embeds.
        projection: What rows are multiplied by, float32 [d, D]: a table [V, D] of rank d is smaller as its two factors.

    Raises:
        ArgumentError: If ``weight`` is no table or of another dtype; ``mapping`` leads to rows that are not there;
            ``scales`` are not finite, or not one per token; ``projection`` does not fit the rows.
    """

    weight: npt.NDArray[Any]
    tokenizer: Tokenizer
    normalize: bool = False
    mapping: npt.NDArray[np.integer[Any]] | None = None
    scales: npt.NDArray[np.float32] | None = None
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity_fn_name: str = "cosine"
    space: VectorSpace | None = None
    asymmetric: bool = False
    projection: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        weight, mapping, scales = self.weight, self.mapping, self.scales
        if weight.ndim != 2 or 0 in weight.shape:
            raise ArgumentError(f"The vectors have shape {list(weight.shape)}; a table is [R, d], neither zero.")
        if weight.dtype.name not in DTYPES:
            raise ArgumentError(f"The vectors are {weight.dtype}; a static table is one of {', '.join(DTYPES)}.")
        if mapping is not None:
            if mapping.ndim != 1 or not np.issubdtype(mapping.dtype, np.integer) or not mapping.size:
                raise ArgumentError(
                    f"The mapping is {mapping.dtype} of shape {list(mapping.shape)}; it should be integers, [V]."
                )
            outside = np.flatnonzero((mapping < 0) | (mapping >= len(weight)))
            if outside.size:
                raise ArgumentError(
                    f"The mapping sends {outside.size} tokens to rows that are not there, token {outside[0]} first: to "
                    f"row {mapping[outside[0]]} of {len(weight)}."
                )
        if scales is not None:
            if scales.shape != (self.num_tokens,) or scales.dtype != np.float32:
                raise ArgumentError(
                    f"The scales are {scales.dtype} of shape {list(scales.shape)}; for {self.num_tokens} tokens they "
                    f"should be float32, [{self.num_tokens}]."
                )
            broken = np.flatnonzero(~np.isfinite(scales))
            if broken.size:
                raise ArgumentError(f"{broken.size} of the scales are not finite, that of token {broken[0]} first.")
        if (projection := self.projection) is not None:
            shape, rank = projection.shape, weight.shape[1]
            if len(shape) != 2 or shape[0] != rank or not shape[1] or projection.dtype != np.float32:
                raise ArgumentError(
                    f"The projection is {projection.dtype} of shape {list(shape)}; for rows of {rank} dimensions it "
                    f"should be float32, [{rank}, D]."
                )

    @property
    def dim(self) -> int:
        """The embedding dim: d, or D of a projection."""
        return int((self.weight if self.projection is None else self.projection).shape[1])

    @property
    def num_tokens(self) -> int:
        """V, the number of token ids that have an embedding."""
        return len(self.weight if self.mapping is None else self.mapping)

    def rows(self, ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Look up the embeddings of n token ids, each in [0, V): float32 [n, dim]."""
        return self._projected(self.look_up(ids))

    def look_up(self, ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Look up the embeddings of n token ids before any projection, float32 [n, d]."""
        ids = np.asarray(ids, dtype=np.intp)
        vectors: npt.NDArray[Any] = self.weight[ids if self.mapping is None else self.mapping[ids]]
        return _scaled(vectors, None if self.scales is None else self.scales[ids])

    def prompt_text(self, name: str | None = None) -> str:
        """Return a prompt by its name, or the default prompt ("" if there is none); ArgumentError for another name."""
        name = self.default_prompt_name if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            raise ArgumentError(
                f"The model has no prompt {name!r}; it has {', '.join(map(repr, self.prompts)) or 'none'}."
            )
        return self.prompts[name]

    def check_dim(self, dim: int) -> None:
        """Check that the embeddings can be truncated to ``dim``; ArgumentError if it is not in [1, dim]."""
        if not 1 <= dim <= self.dim:
            raise ArgumentError(f"The model's vectors have {self.dim} dimensions; they cannot be cut to {dim}.")

    def truncated(self, dim: int) -> StaticTable:
        """Return the model with the first ``dim`` dimensions of every embedding; errors as :meth:`check_dim`."""
        self.check_dim(dim)
        space = self.space if dim == self.dim else None
        if self.projection is None:
            return replace(self, weight=np.ascontiguousarray(self.weight[:, :dim]), space=space)
        table = replace(self, projection=np.ascontiguousarray(self.projection[:, :dim]), space=space)
        return table if dim > self.weight.shape[1] else table.multiplied()  # which is then no larger than its factors

    def multiplied(self) -> StaticTable:
        """Return the model as one table, whose rows are multiplied by the projection, in the dtype that it has."""
        if self.projection is None:
            return self
        weight = self._projected(self.weight.astype(np.float32, copy=False))
        table = replace(self, weight=weight, projection=None)
        if self.weight.dtype == np.int8:
            return table.quantized()
        return replace(table, weight=weight.astype(self.weight.dtype, copy=False))

    def plain(self, dtype: npt.DTypeLike = np.float32) -> StaticTable:
        """Return the model without mapping and scales, with a row of floats for each token."""
        weight = replace(self, projection=None).expanded()
        return replace(self, weight=np.ascontiguousarray(weight, dtype), mapping=None, scales=None)

    def dense(self) -> npt.NDArray[Any]:
        """Return the embeddings of all tokens, [V, dim], for layouts of one plain table.

        Without scales they keep their dtype, as in sentence-transformers; with scales they are float32.

        Raises:
            ArgumentError: If the table is int8.
        """
        if self.weight.dtype == np.int8:
            raise ArgumentError(
                "A table of int8 needs its scales beside it, for which this layout has no place. Save it in the "
                "model2vec layout, which has, or save a table of float16."
            )
        if self.projection is not None:
            return self.multiplied().dense()
        if self.scales is None:
            return self.weight if self.mapping is None else self.weight[self.mapping]
        return self.expanded()

    def expanded(self) -> npt.NDArray[np.float32]:
        """Return the embeddings of all tokens, float32 [V, dim]; ``weight`` itself where it is that."""
        return self._projected(_scaled(self.weight if self.mapping is None else self.weight[self.mapping], self.scales))

    def quantized(self) -> StaticTable:
        """Return the model in int8, each row divided by 1/127 of its largest absolute value and rounded to nearest.

        That step becomes part of the token's scale. A row of zeros stays one, and a table of int8 as it is.

        Raises:
            ArgumentError: If the embeddings are not all finite.
        """
        if self.weight.dtype == np.int8:
            return self if self.scales is not None else replace(self, scales=np.ones(self.num_tokens, np.float32))
        weight = self.weight.astype(np.float32, copy=False)
        steps = np.abs(weight).max(axis=1) / np.float32(INT8_MAX)
        if not np.isfinite(steps).all():
            raise ArgumentError("Some of the vectors are not finite, and have no int8.")
        quantized = np.rint(weight / np.where(steps == 0, 1, steps)[:, np.newaxis]).clip(-INT8_MAX, INT8_MAX)
        scales = steps if self.mapping is None else steps[self.mapping]
        scales = scales if self.scales is None else scales * self.scales
        return replace(self, weight=quantized.astype(np.int8), scales=scales)

    def _projected(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return vectors if self.projection is None else project(vectors, self.projection)


def _scaled(vectors: npt.NDArray[Any], scales: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    """Return vectors [n, d] as float32, each multiplied by its scale, [n]."""
    vectors = vectors.astype(np.float32, copy=False)
    return vectors if scales is None else vectors * scales[:, np.newaxis]

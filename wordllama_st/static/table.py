"""The static model itself: what every layout on disk stores, and every runtime computes with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from wordllama_st.errors import ArgumentError

#: What vectors may be stored as.
DTYPES = ("float32", "float16", "int8")
#: The largest int8 used: with -128 left out, a row and its negative are quantised alike.
INT8_MAX = 127


@dataclass(frozen=True)
class StaticTable:
    """A text embedder that is a table look-up and a mean.

    The vector of token ``t`` is ``weight[mapping[t]] * scales[t]``, and a text's is the mean of its tokens' vectors.
    Neither ``mapping`` nor ``scales`` is there in most models.

    Attributes:
        weight: The vectors, [R, d], float32, float16 or int8; it may be a mapping of a file.
        tokenizer: Text to token ids. It neither truncates nor pads, and must be called with
            ``add_special_tokens=False``: whether it would add some by itself is left as its file has it.
        normalize: Whether the mean is scaled to unit length afterwards.
        mapping: Each token's row of ``weight``, [V], integers. None: token ``t`` has row ``t``, and V is R.
        scales: What each token's row is multiplied by, [V], float32. None: by nothing.
        prompts: Texts to put in front of a text, by name, as sentence-transformers has them.
        default_prompt_name: The one of them to use unless told otherwise.
        similarity_fn_name: ``"cosine"``, ``"dot"``, ``"euclidean"`` or ``"manhattan"``.

    Raises:
        ArgumentError: If the parts do not fit together: ``weight`` is not a table, or of another dtype; ``mapping``
            leads to rows that are not there; ``scales`` are not finite, or not one per token.
    """

    weight: npt.NDArray[Any]
    tokenizer: Tokenizer
    normalize: bool = False
    mapping: npt.NDArray[np.integer[Any]] | None = None
    scales: npt.NDArray[np.float32] | None = None
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity_fn_name: str = "cosine"

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or 0 in self.weight.shape:
            raise ArgumentError(f"The vectors have shape {list(self.weight.shape)}; a table is [R, d], neither zero.")
        if self.weight.dtype.name not in DTYPES:
            raise ArgumentError(f"The vectors are {self.weight.dtype}; a static table is one of {', '.join(DTYPES)}.")
        if self.mapping is not None:
            _check_mapping(self.mapping, len(self.weight))
        if self.scales is not None:
            _check_scales(self.scales, self.num_tokens)

    @property
    def dim(self) -> int:
        """d, the length of a vector."""
        return int(self.weight.shape[1])

    @property
    def num_tokens(self) -> int:
        """V, how many token ids have a vector."""
        return len(self.weight if self.mapping is None else self.mapping)

    def rows(self, ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The vectors of some tokens, float32 [n, d], for n token ids, each in [0, V)."""
        ids = np.asarray(ids, dtype=np.intp)
        vectors: npt.NDArray[Any] = self.weight[ids if self.mapping is None else self.mapping[ids]]
        return _scaled(vectors, None if self.scales is None else self.scales[ids])

    def truncated(self, dim: int) -> StaticTable:
        """The same model with the first ``dim`` dimensions of every vector, ``dim`` in [1, d].

        Raises:
            ArgumentError: If there are no such dimensions.
        """
        if not 1 <= dim <= self.dim:
            raise ArgumentError(f"The vectors have {self.dim} dimensions and cannot be cut to {dim}.")
        return replace(self, weight=np.ascontiguousarray(self.weight[:, :dim]))

    def dense(self) -> npt.NDArray[Any]:
        """The vectors of all tokens, [V, d], for layouts that have a plain table and nothing else.

        Where there are no scales they keep their dtype, as the stock library does when it reads such a model.

        Raises:
            ArgumentError: If they are int8, which needs a place for the scales.
        """
        if self.weight.dtype == np.int8:
            raise ArgumentError(
                "A table of int8 needs its scales beside it, for which this layout has no place. Save it in the "
                "model2vec layout, which has, or save a table of float16."
            )
        if self.scales is None:
            return self.weight if self.mapping is None else self.weight[self.mapping]
        return self.expanded()

    def expanded(self) -> npt.NDArray[np.float32]:
        """The vectors of all tokens, float32 [V, d], mapping and scales folded in; ``weight`` itself if it is that."""
        return _scaled(self.weight if self.mapping is None else self.weight[self.mapping], self.scales)

    def quantized(self) -> StaticTable:
        """The same model in int8: a quarter of float32's size, its numbers rounded to 1/127 of their row's largest.

        Every row is divided by a scale of its own, its largest absolute value over 127, and rounded to nearest; the
        token's scale takes it back. A row of zeros stays one. What is int8 already stays as it is.

        Raises:
            ArgumentError: If some vectors are not finite.
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


def _scaled(vectors: npt.NDArray[Any], scales: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    """Vectors [n, d] as float32, each multiplied by its scale, [n]."""
    vectors = vectors.astype(np.float32, copy=False)
    return vectors if scales is None else vectors * scales[:, np.newaxis]


def _check_mapping(mapping: npt.NDArray[Any], rows: int) -> None:
    if mapping.ndim != 1 or not np.issubdtype(mapping.dtype, np.integer) or not mapping.size:
        raise ArgumentError(
            f"The mapping is {mapping.dtype} of shape {list(mapping.shape)}; it should be integers, [V]."
        )
    outside = np.flatnonzero((mapping < 0) | (mapping >= rows))
    if outside.size:
        raise ArgumentError(
            f"The mapping sends {outside.size} tokens to rows that are not there, token {outside[0]} first: to row "
            f"{mapping[outside[0]]} of {rows}."
        )


def _check_scales(scales: npt.NDArray[Any], tokens: int) -> None:
    if scales.shape != (tokens,):
        raise ArgumentError(
            f"The scales have shape {list(scales.shape)}; with {tokens} tokens it should be [{tokens}]."
        )
    if scales.dtype != np.float32:
        raise ArgumentError(f"The scales are {scales.dtype}; they should be float32.")
    broken = np.flatnonzero(~np.isfinite(scales))
    if broken.size:
        raise ArgumentError(f"{broken.size} of the scales are not finite, that of token {broken[0]} first.")

"""Quantization of embeddings, as sentence-transformers' ``quantize_embeddings`` does it."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from wordllama_st.errors import ArgumentError

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]

_PRECISIONS = get_args(Precision)
#: Buckets between the least and the largest value of a dimension, for 8 bits.
_BUCKETS = 255


def check_precision(precision: str) -> None:
    """Check that there is such a precision.

    Raises:
        ArgumentError: If not; it lists those that there are.
    """
    if precision not in _PRECISIONS:
        raise ArgumentError(f"The precision is one of {', '.join(_PRECISIONS)}, not {precision!r}.")


def quantize_embeddings(
    embeddings: npt.NDArray[np.float32],
    precision: Precision,
    ranges: npt.NDArray[np.floating[Any]] | None = None,
) -> npt.NDArray[Any]:
    """Quantize embeddings.

    Args:
        embeddings: [n, d], or a single one [d].
        precision: ``"int8"`` and ``"uint8"`` sort each dimension's values into 255 buckets between its least and its
            largest; ``"binary"`` and ``"ubinary"`` keep the signs, packed eight to a byte, signed or not.
        ranges: For 8 bits, the least and the largest value of each dimension, [2, d]; those of ``embeddings`` if None.
            Only embeddings quantized with the same ranges can be compared: keep those of the corpus for queries.

    Returns:
        [n, d] for 8 bits, [n, ⌈d / 8⌉] for binary; one row of that for a single embedding.

    Raises:
        ArgumentError: If there is no such precision, or a single embedding is to be quantized with its own ranges.
    """
    if precision == "float32":
        return embeddings
    check_precision(precision)
    if precision == "ubinary":
        return np.packbits(embeddings > 0, axis=-1)
    if precision == "binary":
        return (np.packbits(embeddings > 0, axis=-1) ^ 128).view(np.int8)
    if ranges is None:
        if embeddings.ndim == 1 or len(embeddings) == 1:
            raise ArgumentError(
                f"One text says nothing of the ranges that {precision} divides into buckets. Give the ranges of the "
                f"corpus, or encode several texts."
            )
        ranges = np.stack([embeddings.min(axis=0), embeddings.max(axis=0)]) if len(embeddings) else np.zeros((2, 1))
    least, largest = np.asarray(ranges, dtype=np.float32)
    steps = (largest - least) / _BUCKETS
    buckets: npt.NDArray[np.float32] = np.floor((embeddings - least) / np.where(steps == 0, 1, steps)).clip(0, _BUCKETS)
    return buckets.astype(np.uint8) if precision == "uint8" else (buckets - 128).astype(np.int8)

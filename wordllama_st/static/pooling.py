"""Mean pooling of token embeddings, for many texts at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wordllama_st.static import kernel
from wordllama_st.static.projection import project
from wordllama_st.static.similarity import Vectors
from wordllama_st.static.table import StaticTable
from wordllama_st.static.word_cache.plain import Bags
from wordllama_st.static.word_cache.table import Integers

#: Tokens that are summed in float32. The rounding error of a longer sum would show; it is put together in float64.
SEGMENT = 256

Indices = npt.NDArray[np.int32]


def mean_vectors(table: StaticTable, bags: Bags, out: Vectors | None = None) -> Vectors:
    """Compute the mean of each text's token embeddings, [B, dim]; zeros for a text without tokens.

    Args:
        table: The model.
        bags: The token ids.
        out: Where to write the means, C-contiguous float32 [B, dim]; None makes an array.
    """
    if table.projection is not None:
        return project(_mean_vectors(table, bags, None), table.projection, out)
    return _mean_vectors(table, bags, out)


def _mean_vectors(table: StaticTable, bags: Bags, out: Vectors | None) -> Vectors:
    """Compute the means before any projection, [B, d]."""
    columns, scales = _columns_and_scales(table, bags.ids)
    weight = table.weight
    dim = weight.shape[1]
    means = np.empty((len(bags.offsets) - 1, dim), np.float32) if out is None else out
    if kernel is not None:
        kernel.mean_rows(np.ascontiguousarray(weight), dim, weight.itemsize, columns, bags.offsets, scales, means)
    else:
        if weight.dtype == np.float16:
            weight, columns = _cast_used_rows(weight, columns)
        _mean_rows(weight, columns, bags.offsets, scales, means)
    return means


def _mean_rows(
    weight: npt.NDArray[Any], columns: Indices, offsets: Integers, scales: Vectors | None, means: Vectors
) -> None:
    """Compute the mean of some rows of a table for each bag.

    Args:
        weight: The table [R, d], float32 or int8.
        columns: The row of each token, [n].
        offsets: Where in these each bag begins, and where the last one ends, [B + 1].
        scales: What each row is multiplied by, [n]; 1 if None.
        means: Where to write them, [B, d].
    """
    from scipy.sparse import csr_array

    counts = np.diff(offsets)
    segments = -(-counts // SEGMENT)
    firsts = np.concatenate([[0], segments.cumsum()])
    within = np.arange(firsts[-1]) - np.repeat(firsts[:-1], segments)
    ends = np.append(np.repeat(offsets[:-1], segments) + SEGMENT * within, offsets[-1])
    # A product with a sparse matrix, with a row for each segment and a column for each row of the table.
    ones = np.ones(len(columns), np.float32) if scales is None else scales
    matrix = csr_array((ones, columns, ends.astype(np.int32)), shape=(len(ends) - 1, len(weight)))
    sums = matrix @ weight.astype(np.float32, copy=False)
    means[segments == 0] = 0
    means[segments == 1] = sums[firsts[:-1][segments == 1]]
    for index in np.flatnonzero(segments > 1).tolist():
        means[index] = sums[firsts[index] : firsts[index + 1]].sum(axis=0, dtype=np.float64)
    means /= counts.clip(1)[:, np.newaxis].astype(np.float32)


def _columns_and_scales(table: StaticTable, ids: Indices) -> tuple[Indices, Vectors | None]:
    """Return which row each token has, and what it is multiplied by; None if by nothing."""
    columns = ids if table.mapping is None else table.mapping[ids].astype(np.int32)
    return columns, None if table.scales is None else table.scales[ids]


def _cast_used_rows(weight: npt.NDArray[np.float16], columns: Indices) -> tuple[Vectors, Indices]:
    """Cast the rows that occur in columns to float32, each once; and return their numbers among these."""
    place = np.zeros(len(weight), np.int32)
    place[columns] = 1
    used = np.flatnonzero(place)
    place[used] = np.arange(len(used), dtype=np.int32)
    return weight[used].astype(np.float32), place[columns]


def mean_vector(table: StaticTable, ids: list[int]) -> Vectors:
    """Compute the mean of one text's token embeddings, [dim]."""
    if not ids:
        return np.zeros(table.dim, np.float32)
    weight, few = table.weight, len(ids) <= SEGMENT
    # The kernel takes rows that lie end to end; to copy a table for the sake of one text takes longer than the text.
    if few and (kernel is None or weight.dtype == np.float16 or not weight.flags.c_contiguous):
        mean: Vectors = np.add.reduce(table.look_up(ids), axis=0)
        mean /= len(ids)
    elif few and weight.dtype == np.float32 and table.mapping is None and table.scales is None:
        dim = weight.shape[1]
        mean = np.empty(dim, np.float32)
        kernel.mean_few(weight, dim, ids, mean)
    else:
        mean = _mean_vectors(table, Bags(np.array(ids, np.int32), np.array([0, len(ids)])), None)[0]
    return mean if table.projection is None else project(mean, table.projection)

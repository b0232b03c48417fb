"""Mean pooling of token embeddings, for many texts at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wordllama_st.static import kernel
from wordllama_st.static.similarity import Vectors
from wordllama_st.static.table import StaticTable
from wordllama_st.static.word_cache.plain import Bags

#: Tokens that are summed in float32. The rounding error of a longer sum would show; it is put together in float64.
SEGMENT = 256

Indices = npt.NDArray[np.int32]


def mean_vectors(table: StaticTable, bags: Bags) -> Vectors:
    """Compute the mean of each text's token embeddings, [B, d]; zeros for a text without tokens.

    Args:
        table: The model. Of a float16 table, the rows that occur are cast once.
        bags: The token ids.
    """
    counts = np.diff(bags.offsets)
    segments = -(-counts // SEGMENT)
    firsts = np.concatenate([[0], segments.cumsum()])
    within = np.arange(firsts[-1]) - np.repeat(firsts[:-1], segments)
    ends = np.append(np.repeat(bags.offsets[:-1], segments) + SEGMENT * within, bags.offsets[-1])

    columns, scales = _columns_and_scales(table, bags.ids)
    weight = table.weight
    if weight.dtype == np.float16:
        weight, columns = _cast_used_rows(weight, columns)
    sums = sum_rows(weight, columns, ends.astype(np.int32), scales)
    if len(sums) == len(counts) == np.count_nonzero(counts):
        means = sums
    else:
        means = np.zeros((len(counts), table.dim), dtype=np.float32)
        means[segments == 1] = sums[firsts[:-1][segments == 1]]
        for index in np.flatnonzero(segments > 1).tolist():
            means[index] = sums[firsts[index] : firsts[index + 1]].sum(axis=0, dtype=np.float64)
    means /= counts.clip(1)[:, np.newaxis].astype(np.float32)
    return means


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
    """Compute the mean of one text's token embeddings, [d]."""
    if len(ids) > SEGMENT:
        bags = Bags(np.array(ids, np.int32), np.array([0, len(ids)]))
        long_mean: Vectors = mean_vectors(table, bags)[0]
        return long_mean
    if not ids:
        return np.zeros(table.dim, np.float32)
    weight, mean = table.weight, np.empty(table.dim, np.float32)
    # The kernel takes rows that lie end to end; to copy a table for the sake of one text takes longer than the text.
    if kernel is None or weight.dtype == np.float16 or not weight.flags.c_contiguous:
        np.add.reduce(table.rows(ids), axis=0, out=mean)
    elif weight.dtype == np.float32 and table.mapping is None and table.scales is None:
        kernel.mean_few(weight, table.dim, ids, mean)
        return mean
    else:
        columns, scales = _columns_and_scales(table, np.array(ids, np.int32))
        mean = sum_rows(weight, columns, np.array([0, len(ids)], np.int32), scales)[0]
    mean /= len(ids)
    return mean


def sum_rows(weight: npt.NDArray[Any], columns: Indices, ends: Indices, scales: Vectors | None) -> Vectors:
    """Sum rows of a table, those of each bag in their order, in float32.

    Args:
        weight: The table [R, d], float32 or int8.
        columns: The row of each token, [n].
        ends: Where in these each bag begins, and where the last one ends, [B + 1]; no bag is empty.
        scales: What each row is multiplied by, [n]; 1 if None.

    Returns:
        float32 [B, d].
    """
    if kernel is not None:
        sums = np.empty((len(ends) - 1, weight.shape[1]), np.float32)
        is_int8 = weight.dtype == np.int8
        kernel.sum_rows(np.ascontiguousarray(weight), weight.shape[1], is_int8, columns, ends, scales, sums)
        return sums
    from scipy.sparse import csr_array

    # A product with a sparse matrix, with a row for each bag and a column for each row of the table.
    ones = np.ones(len(columns), np.float32) if scales is None else scales
    matrix = csr_array((ones, columns, ends), shape=(len(ends) - 1, len(weight)))
    product: Vectors = matrix @ weight.astype(np.float32, copy=False)
    return product

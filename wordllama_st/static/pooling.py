"""Mean pooling of token embeddings, for many texts at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wordllama_st.static.similarity import Vectors
from wordllama_st.static.table import StaticTable
from wordllama_st.static.word_cache.tokenizer import Bags

#: Tokens that are summed in float32. The rounding error of a longer sum would show; it is put together in float64.
SEGMENT = 256

Indices = npt.NDArray[np.int32]
#: As :func:`public_product`.
Product = Callable[[Vectors, Indices, Indices, Vectors], Vectors]


def mean_vectors(table: StaticTable, bags: Bags) -> Vectors:
    """Compute the mean of each text's token embeddings, [B, d]; zeros for a text without tokens.

    The sums are one product of a sparse matrix, with a row for each text and a column for each token, and the table:
    the tokens' embeddings are never put side by side.

    Args:
        table: The model. A table that is not float32 is cast row by row, once for each distinct token.
        bags: The token ids.
    """
    counts = np.diff(bags.offsets)
    segments = -(-counts // SEGMENT)
    firsts = np.concatenate([[0], segments.cumsum()])
    within = np.arange(firsts[-1]) - np.repeat(firsts[:-1], segments)
    ends = np.append(np.repeat(bags.offsets[:-1], segments) + SEGMENT * within, bags.offsets[-1])

    weight, columns, scales = _operands(table, bags.ids)
    sums = sparse_product()(scales, columns, ends.astype(np.int32), weight)
    if len(sums) == len(counts) == np.count_nonzero(counts):
        means = sums
    else:
        means = np.zeros((len(counts), table.dim), dtype=np.float32)
        means[segments == 1] = sums[firsts[:-1][segments == 1]]
        for index in np.flatnonzero(segments > 1).tolist():
            means[index] = sums[firsts[index] : firsts[index + 1]].sum(axis=0, dtype=np.float64)
    means /= counts.clip(1)[:, np.newaxis].astype(np.float32)
    return means


def _operands(table: StaticTable, ids: Indices) -> tuple[Vectors, Indices, Vectors]:
    """Return float32 rows, which of them each token has, and its scale."""
    columns = ids if table.mapping is None else table.mapping[ids].astype(np.int32)
    scales = np.ones(len(ids), np.float32) if table.scales is None else table.scales[ids]
    if table.weight.dtype == np.float32:
        return table.weight, columns, scales
    place = np.zeros(len(table.weight), np.int32)
    place[columns] = 1
    used = np.flatnonzero(place)
    place[used] = np.arange(len(used), dtype=np.int32)
    return table.weight[used].astype(np.float32), place[columns], scales


def mean_vector(table: StaticTable, ids: list[int]) -> Vectors:
    """Compute the mean of one text's token embeddings, [d]."""
    if len(ids) > SEGMENT:
        bags = Bags(np.array(ids, np.int32), np.array([0, len(ids)]))
        long_mean: Vectors = mean_vectors(table, bags)[0]
        return long_mean
    if not ids:
        return np.zeros(table.dim, np.float32)
    mean: Vectors = np.add.reduce(table.rows(ids), axis=0)
    mean /= len(ids)
    return mean


@cache
def sparse_product() -> Product:
    """Return the product that takes the least time to import."""
    return extension_product() or public_product


def public_product(scales: Vectors, columns: Indices, ends: Indices, table: Vectors) -> Vectors:
    """Multiply a sparse matrix in compressed rows and a table, by SciPy's public class.

    Args:
        scales: The matrix's entries, [n].
        columns: The row of the table that each is multiplied by, [n].
        ends: Where in these each row of the matrix begins, and where the last one ends, [B + 1].
        table: float32 [V, d].

    Returns:
        float32 [B, d].
    """
    from scipy.sparse import csr_array

    product: Vectors = csr_array((scales, columns, ends), shape=(len(ends) - 1, len(table))) @ table
    return product


def extension_product() -> Product | None:
    """Return :func:`public_product` by the compiled routine behind SciPy's class; None if that is not as expected.

    The routine loads in 1 ms and ``scipy.sparse`` in 210 ms (medians of 10 processes' CPU time). Their products take
    the same time; summing the rows of each text with NumPy instead takes twice as long.
    """
    try:
        package = find_spec("scipy")  # does not import it
        folder = Path(((package and package.submodule_search_locations) or [])[0])
        spec = PathFinder.find_spec("_sparsetools", [str(folder / "sparse")])
        assert spec is not None
        assert spec.loader is not None
        tools: Any = module_from_spec(spec)
        spec.loader.exec_module(tools)

        def product(scales: Vectors, columns: Indices, ends: Indices, table: Vectors) -> Vectors:
            sums = np.zeros((len(ends) - 1, table.shape[1]), np.float32)
            tools.csr_matvecs(*sums.shape[:1], *table.shape, ends, columns, scales, table.ravel(), sums.ravel())
            return sums

        one, ends = np.ones((1, 1), np.float32), np.array([0, 1], np.int32)
        return product if product(one[0] * 2, ends[:1], ends, one).tolist() == [[2]] else None
    except Exception:  # whatever another version of SciPy comes up with
        return None

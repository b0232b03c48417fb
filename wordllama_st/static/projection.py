"""Products of embeddings with a projection, whose bits depend on no neighbour, thread or processor.

A BLAS sums in an order that depends on the shapes, so that a text would get other bits in another batch. Here each
number is summed in the order of the d dimensions, in float32.
"""

from __future__ import annotations

import numpy as np

from wordllama_st.static import kernel
from wordllama_st.static.similarity import Vectors

#: Rows whose products are summed together by NumPy, so that they stay in a core's cache.
_CHUNK = 16


def project(vectors: Vectors, projection: Vectors, out: Vectors | None = None) -> Vectors:
    """Multiply vectors [n, d], or a single one [d], by a projection [d, D].

    Args:
        vectors: float32.
        projection: float32.
        out: Where to write the products, C-contiguous float32 [n, D]; None makes an array.
    """
    width = projection.shape[1]
    products = np.empty((*vectors.shape[:-1], width), np.float32) if out is None else out
    if kernel is not None:
        kernel.project(np.ascontiguousarray(vectors), np.ascontiguousarray(projection), width, products)
    else:
        _project(np.atleast_2d(vectors), projection, products.reshape(-1, width))
    return products


def _project(vectors: Vectors, projection: Vectors, products: Vectors) -> None:
    for start in range(0, len(vectors), _CHUNK):
        chunk, sums = vectors[start : start + _CHUNK], products[start : start + _CHUNK]
        term = np.empty_like(sums)
        sums[:] = 0
        for column, row in zip(chunk.T, projection, strict=True):
            sums += np.multiply(column[:, np.newaxis], row, out=term)

"""The similarity functions that sentence-transformers has names for, in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from wordllama_st.errors import ArgumentError

Vectors = npt.NDArray[np.float32]

#: Differences of coordinates that are held at a time.
_CHUNK = 2**24


def cosine(a: Vectors, b: Vectors) -> Vectors:
    """Cosine similarity, [n, m]; 0 where one is the zero vector."""
    return dot(normalized(a), normalized(b))


def dot(a: Vectors, b: Vectors) -> Vectors:
    """Dot product, [n, m]."""
    return a @ b.T


def euclidean(a: Vectors, b: Vectors) -> Vectors:
    """Negative Euclidean distance, [n, m]."""
    return -_distances(a, b, lambda difference: np.sqrt(np.square(difference).sum(axis=-1)))


def manhattan(a: Vectors, b: Vectors) -> Vectors:
    """Negative Manhattan distance, [n, m]."""
    return -_distances(a, b, lambda difference: np.abs(difference).sum(axis=-1))


_FUNCTIONS = {function.__name__: function for function in (cosine, dot, euclidean, manhattan)}


def similarity_function(name: str) -> Callable[[Vectors, Vectors], Vectors]:
    """Return the similarity function of a name.

    Raises:
        ArgumentError: If there is none; it lists those that there are.
    """
    if name not in _FUNCTIONS:
        raise ArgumentError(f"The similarity function is one of {', '.join(_FUNCTIONS)}, not {name!r}.")
    return _FUNCTIONS[name]


def normalized(vectors: Vectors) -> Vectors:
    """Scale vectors [..., d] to unit length; the zero vector stays what it is."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(lengths, np.float32(1e-12))  # as torch's normalize does
    return scaled


def _distances(a: Vectors, b: Vectors, distance: Callable[[Vectors], Vectors]) -> Vectors:
    rows = max(1, _CHUNK // max(1, b.size))
    parts = [distance(a[start : start + rows, np.newaxis] - b) for start in range(0, len(a), rows)]
    return np.concatenate(parts) if parts else np.zeros((0, len(b)), np.float32)

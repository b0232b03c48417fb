"""The product of a sparse matrix and a table: SciPy's, without waiting for the rest of SciPy.

Importing ``scipy.sparse`` takes an eighth of a second and 20 MB, most of it for modules that have nothing to do with
this product. The routine behind it is in an extension module of its own, which loads in a few milliseconds. It is not
public, so where it is not found as expected, the public way is taken; both are the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]
Product = Callable[[Vectors, Indices, Indices, Vectors], Vectors]


def sparse_product(scales: Vectors, columns: Indices, ends: Indices, table: Vectors) -> Vectors:
    """Sums of rows of a table, each with a factor: a matrix in compressed sparse rows times the table.

    Args:
        scales: The factors, [n].
        columns: The row of the table that each belongs to, [n].
        ends: Where in these each sum begins, and where the last one ends, [B + 1].
        table: float32 [V, d].

    Returns:
        float32 [B, d].
    """
    return _fastest()(scales, columns, ends, table)


@cache
def _fastest() -> Product:
    return extension_product() or public_product


def public_product(scales: Vectors, columns: Indices, ends: Indices, table: Vectors) -> Vectors:
    """As :func:`sparse_product`, by SciPy's public class."""
    from scipy.sparse import csr_array

    product: Vectors = csr_array((scales, columns, ends), shape=(len(ends) - 1, len(table))) @ table
    return product


def extension_product() -> Product | None:
    """As :func:`sparse_product`, by the routine behind SciPy's class; None if it is not what it is expected to be."""
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

        two = product(
            np.array([2], np.float32), np.zeros(1, np.int32), np.array([0, 1], np.int32), np.ones((1, 1), np.float32)
        )
        return product if two.tolist() == [[2]] else None
    except Exception:  # whatever another version of SciPy comes up with
        return None

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

def cut(texts: Sequence[str], prefix: str, cuts_newlines: bool, padding: int, /) -> tuple[bytes, bytes, bytes]: ...
def find(text: bytes, /, *arrays: NDArray[Any]) -> None: ...
def gather(pool: NDArray[Any], starts: NDArray[Any], counts: NDArray[Any], ids: NDArray[Any], /) -> None: ...
def mean_few(table: NDArray[Any], dim: int, ids: list[int], mean: NDArray[Any], /) -> None: ...
def mean_rows(
    table: NDArray[Any],
    dim: int,
    bytes_of_a_number: int,
    columns: NDArray[Any],
    offsets: NDArray[Any],
    scales: NDArray[Any] | None,
    means: NDArray[Any],
    /,
) -> None: ...
def project(rows: NDArray[Any], projection: NDArray[Any], width: int, products: NDArray[Any], /) -> None: ...

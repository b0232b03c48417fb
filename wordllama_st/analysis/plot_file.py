"""Files that matplotlib draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wordllama_st.errors import ArgumentError, require
from wordllama_st.storage.staging import staged_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be written, before any work is done for it.

    Raises:
        ArgumentError: If its suffix names no format, or it is a directory.
        MissingExtraError: If matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise ArgumentError(f"{path} cannot be drawn: the file's name ends in {', '.join(FORMATS)}.")
    if path.is_dir():
        raise ArgumentError(f"{path} is a directory; a plot is a file.")
    require("plot", "matplotlib")


@contextmanager
def plot_file(path: str | Path, inches: tuple[float, float]) -> Iterator[Figure]:
    """Yield a figure that is written whole when the block ends without an error; errors as for :func:`check_plot`."""
    path = Path(path)
    check_plot(path)
    # No pyplot, which would keep state in a program that draws figures of its own.
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=150, layout="constrained")
    yield figure
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged_file(path) as staging:
        figure.savefig(staging, format=path.suffix.lower().removeprefix("."))

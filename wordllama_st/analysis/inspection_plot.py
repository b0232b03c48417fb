"""A picture of a token table: how long its rows are, and how few directions most of it lies in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from wordllama_st.analysis.inspection import TableReport, float_blocks
from wordllama_st.codebook.found_table import FoundTable
from wordllama_st.errors import ArgumentError, require
from wordllama_st.storage.staging import staged_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg", ".pdf")
#: Rows that stand for a larger table's: many times the columns that are kept, so that chance adds little variance.
SPECTRUM_ROWS = 16_384
#: Columns beyond these are added to others, with random signs: the covariance stays small whatever the table's width.
SPECTRUM_COLUMNS = 2_048
#: Where the cumulative share is written beside the curve: the dims of the released models.
MARKED_DIMS = (64, 128, 256, 1024)

_BLUE, _ORANGE, _RED, _GREY = "#2b5c8a", "#d9822b", "#c0392b", "#555555"
#: Fewer rows than these are drawn one by one.
_SCATTERED = 4_000
_PRODUCT_ROWS = 1_024

Floats = npt.NDArray[np.float64]


def check_plot(path: Path) -> None:
    """Refuse a picture that could not be written, before any work is done for it.

    Raises:
        ArgumentError: If its suffix names no format, or it is a directory.
        MissingExtraError: If matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise ArgumentError(f"{path} cannot be drawn: the file's name ends in {', '.join(FORMATS)}.")
    if path.is_dir():
        raise ArgumentError(f"{path} is a directory; a picture is a file.")
    require("plot", "matplotlib")


def plot(found: FoundTable, report: TableReport, path: str | Path, show_progress: bool = False) -> None:
    """Draw a table that was examined. The file appears when it is whole, and replaces one of that name.

    Args:
        found: The table; it is read once more.
        report: What :func:`~wordllama_st.analysis.inspection.examine` found.
        path: A .png, .svg or .pdf file.
        show_progress: Whether to show a progress bar on stderr.

    Raises:
        ArgumentError: If its suffix names no format, or it is a directory.
        MissingExtraError: If matplotlib is not installed.
    """
    path = Path(path)
    check_plot(path)
    # The figure's own canvas, and no pyplot: nothing is left behind in a program that draws figures of its own.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    rows, dim = report.shape
    name = Path(report.source).name or report.source or "token table"
    figure.suptitle(f"{name}: {rows:,} rows of {dim:,} numbers, {report.dtype}", fontsize=15, fontweight="bold")
    _draw_norms(left, found, report)
    _draw_spectrum(right, report, *spectrum(found, report, show_progress))
    for axes in (left, right):
        axes.spines[["top"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged_file(path) as staging:
        figure.savefig(staging, format=path.suffix.lower().removeprefix("."))


def spectrum(found: FoundTable, report: TableReport, show_progress: bool = False) -> tuple[Floats, str]:
    """The share of the variance that each principal component has, largest first, and what it was computed from.

    Of a table with more than ``SPECTRUM_ROWS`` rows or ``SPECTRUM_COLUMNS`` columns it is an estimate. Folding
    columns leaves the leading shares nearly what they are, but there are fewer components for the rest of the
    variance: what many of the first have together is then overstated, the more so the more they are.
    """
    ids = np.flatnonzero(report.has_token & np.isfinite(report.norms) & (report.norms > 0))
    generator = np.random.default_rng(0)
    sample = np.sort(generator.permutation(ids)[:SPECTRUM_ROWS])
    dim = report.shape[1]
    width = min(dim, SPECTRUM_COLUMNS)
    # One scale for all, so that no square overflows.
    scale = float(report.norms[ids].max()) if len(ids) else 1.0
    mean = (report.mean / scale).astype(np.float32)
    signs = generator.choice(np.array([-1, 1], dtype=np.float32), dim)
    waiting: list[npt.NDArray[np.float32]] = []
    moment, total = np.zeros((width, width), dtype=np.float32), np.zeros(width)
    for start, _, numbers in float_blocks(found, "Decomposing", show_progress):
        first, last = np.searchsorted(sample, (start, start + len(numbers)))
        if first == last:
            continue
        rows = numbers[sample[first:last] - start] / np.float32(scale) - mean
        if width < dim:
            rows *= signs
            for column in range(width, dim, width):
                more = rows[:, column : column + width]
                rows[:, : more.shape[1]] += more
            rows = np.ascontiguousarray(rows[:, :width])
        total += rows.sum(axis=0, dtype=np.float64)
        waiting.append(rows)
        # Few large products take a fraction of the time of many small ones.
        if last == len(sample) or sum(map(len, waiting)) >= _PRODUCT_ROWS:
            together = np.concatenate(waiting)
            moment += together.T @ together
            waiting.clear()
    centre = (total / max(1, len(sample))).astype(np.float32)
    variances = np.linalg.eigvalsh(moment / max(1, len(sample)) - np.outer(centre, centre))[::-1].astype(np.float64)
    variances = np.maximum(variances, 0)
    exact = len(sample) == len(ids) and width == dim
    basis = f"{'of' if exact else 'estimated from'} {len(sample):,} rows" + (
        f", {dim:,} columns folded into {width:,}" if width < dim else ""
    )
    return variances / (variances.sum() or 1.0), basis


def _draw_norms(axes: Axes, found: FoundTable, report: TableReport) -> None:
    norms = report.norms
    drawn = np.flatnonzero(np.isfinite(norms) & (norms > 0))
    axes.set_title("How long each token's vector is", fontsize=13, loc="left")
    axes.set_xlabel("token id (roughly from frequent to rare)", fontsize=11)
    axes.set_ylabel("length of the row (Euclidean norm)", fontsize=11)
    axes.set_xlim(-0.01 * len(norms), 1.01 * len(norms))
    if len(drawn):
        low, high = float(norms[drawn].min()), float(norms[drawn].max())
        if high > 5 * low:
            axes.set_yscale("log")
        if len(drawn) < _SCATTERED:
            axes.scatter(drawn, norms[drawn], s=7, color=_BLUE, alpha=0.35, linewidths=0, label="a token")
        else:
            _draw_density(axes, drawn, norms[drawn])
        _draw_median(axes, drawn, norms[drawn])
        if axes.get_yscale() == "log":
            _label_between_decades(axes)
            axes.set_ylim(low / 1.15, high * 1.3)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    _mark_rows(axes, found, report)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize=9.5, framealpha=0.92)


def _label_between_decades(axes: Axes) -> None:
    """More numbers on a logarithmic axis than its powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_density(axes: Axes, ids: npt.NDArray[Any], norms: Floats) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    shades = ListedColormap(colormaps["Blues"](np.linspace(0.2, 1, 256)))  # a single token is not to be white
    scale: Literal["linear", "log"] = "log" if axes.get_yscale() == "log" else "linear"
    cells = axes.hexbin(ids, norms, gridsize=(110, 60), bins="log", mincnt=1, cmap=shades, linewidths=0.1, yscale=scale)
    bar = axes.figure.colorbar(cells, ax=axes, pad=0.01, aspect=40)
    bar.set_label("tokens per cell", fontsize=10)
    bar.ax.yaxis.set_major_formatter("{x:g}")


def _draw_median(axes: Axes, ids: npt.NDArray[Any], norms: Floats) -> None:
    parts = max(1, min(150, len(ids) // 40))
    pieces = list(zip(np.array_split(ids, parts), np.array_split(norms, parts), strict=True))
    middle = [(float(np.median(where)), float(np.median(what))) for where, what in pieces]
    axes.plot(*zip(*middle, strict=True), color="black", linewidth=1.8, label="running median")


def _mark_rows(axes: Axes, found: FoundTable, report: TableReport) -> None:
    """Special tokens where they are; rows that have no length along the bottom; padding as a band."""
    rows, norms = len(report.norms), report.norms
    special = np.array([i for i, t in found.tokenizer.get_added_tokens_decoder().items() if t.special and i < rows])
    special = special[norms[special] > 0] if len(special) else special
    if len(special):
        axes.scatter(
            special, norms[special], s=42, marker="^", color=_ORANGE, edgecolors="white", linewidths=0.6, zorder=4,
            label=f"special tokens ({len(special):,})", clip_on=False,
        )  # fmt: skip
    bottom = axes.get_xaxis_transform()
    for ids, marker, label in (
        (np.flatnonzero((norms == 0) & report.has_token), "x", "all zero"),
        (np.flatnonzero(np.isnan(norms)), "D", "not finite"),
    ):
        if len(ids):
            axes.scatter(
                ids, np.full(len(ids), 0.015), s=30, marker=marker, color=_RED, transform=bottom, zorder=5,
                label=f"{label} ({len(ids):,})", clip_on=False,
            )  # fmt: skip
    if report.padding_rows:
        start = rows - report.padding_rows
        axes.axvspan(start, rows, color=_ORANGE, alpha=0.15, label=f"rows without a token ({report.padding_rows:,})")


def _draw_spectrum(axes: Axes, report: TableReport, shares: Floats, basis: str) -> None:
    axes.set_title("How few directions hold its variance", fontsize=13, loc="left")
    axes.set_xlabel(f"principal component\n({basis})", fontsize=11)
    axes.set_ylabel("share of the variance, per component", fontsize=11, color=_BLUE)
    axes.tick_params(axis="y", colors=_BLUE)
    positive = shares[shares > shares.max(initial=0) * 1e-7]  # below are rounding errors
    if not len(positive):
        axes.text(0.5, 0.5, "no variance", transform=axes.transAxes, ha="center", fontsize=12, color=_GREY)
        return
    components = np.arange(1, len(positive) + 1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axes.plot(components, positive, color=_BLUE, linewidth=2, marker="o", markersize=2.5)
    together = axes.twinx()
    together.spines[["top"]].set_visible(False)
    together.set_ylabel("share of the first components together", fontsize=11, color=_ORANGE)
    together.tick_params(axis="y", colors=_ORANGE)
    together.set_ylim(0, 105)
    together.yaxis.set_major_formatter("{x:.0f} %")
    cumulative = 100 * np.cumsum(positive)
    together.plot(components, cumulative, color=_ORANGE, linewidth=2)
    for dims in MARKED_DIMS:
        if dims < len(positive):  # all of them hold all of it
            _mark_dims(together, dims, float(cumulative[dims - 1]))


def _mark_dims(axes: Axes, dims: int, share: float) -> None:
    axes.axvline(dims, color=_GREY, linewidth=0.8, linestyle=":")
    axes.plot([dims], [share], marker="o", markersize=6, color=_ORANGE, markeredgecolor="white")
    axes.annotate(
        f"{dims:,} dims: {share:.0f} %", (dims, 2), xytext=(-2, 0), textcoords="offset points", ha="right",
        va="bottom", rotation=90, fontsize=10.5,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )  # fmt: skip

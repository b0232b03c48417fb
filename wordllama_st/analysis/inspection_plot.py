"""A plot of a token table: the norms of its rows, and how few principal components hold most of its variance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from wordllama_st.analysis.inspection import TableReport, float_blocks
from wordllama_st.analysis.plot_file import plot_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Rows that stand for a larger table's: many times the columns that are kept, so that chance adds little variance.
SPECTRUM_ROWS = 16_384
#: Columns beyond these are added to others, with random signs: the covariance stays small whatever the table's width.
SPECTRUM_COLUMNS = 2_048
#: Where the cumulative share is written beside the curve: the dims of the released models.
MARKED_DIMS = (64, 128, 256, 1024)

_BLUE, _ORANGE, _RED, _GREY = "#2b5c8a", "#d9822b", "#c0392b", "#555555"
#: Rows that are multiplied at a time: few large products take a fraction of the time of many small ones.
_PRODUCT_ROWS = 1_024


def plot_table(report: TableReport, path: str | Path, *, show_progress_bar: bool | None = None) -> None:
    """Plot the norms and the spectrum of a table that was inspected, and is read once more.

    Args:
        path: A .png, .svg or .pdf file, which appears when it is complete and replaces one of that name.

    Raises:
        ArgumentError: If the suffix names no format, or the path is a directory.
        MissingExtraError: If matplotlib is not installed.
    """
    with plot_file(path, (13, 5.8)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        rows, dim = report.shape
        name = Path(report.source).name or report.source or "token table"
        figure.suptitle(f"{name}: {rows:,} rows of {dim:,} numbers, {report.dtype}", fontsize=15, fontweight="bold")
        _draw_norms(left, report)
        _mark_rows(left, report)
        _draw_spectrum(right, *spectrum(report, show_progress_bar))
        for axes in (left, right):
            axes.spines[["top"]].set_visible(False)
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.xaxis.set_major_formatter("{x:,.0f}")


def spectrum(report: TableReport, show_progress_bar: bool | None = None) -> tuple[npt.NDArray[np.float64], str]:
    """Compute each principal component's share of the variance, largest first, and say from which rows.

    For a table with more than ``SPECTRUM_ROWS`` rows or ``SPECTRUM_COLUMNS`` columns it is an estimate. Folding columns
    nearly preserves the leading shares, but leaves fewer components for the rest of the variance: the cumulative share
    of many components is overstated, the more so the more they are.
    """
    ids = np.flatnonzero(report.has_token & (report.norms > 0))
    generator = np.random.default_rng(0)
    sample = np.sort(generator.permutation(ids)[:SPECTRUM_ROWS])
    dim = report.shape[1]
    width = min(dim, SPECTRUM_COLUMNS)
    # One scale for all, so that no square overflows.
    scale = float(report.norms[ids].max(initial=0)) or 1.0
    mean = (report.mean / scale).astype(np.float32)
    signs = generator.choice(np.array([-1, 1], dtype=np.float32), dim)
    waiting: list[npt.NDArray[np.float32]] = []
    moment, total = np.zeros((width, width), dtype=np.float32), np.zeros(width)
    for start, _, numbers in float_blocks(report.found, "Decomposing", show_progress_bar):
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
        if last == len(sample) or sum(map(len, waiting)) >= _PRODUCT_ROWS:
            together = np.concatenate(waiting)
            moment += together.T @ together
            waiting.clear()
    count = max(1, len(sample))
    centre = (total / count).astype(np.float32)
    variances = np.linalg.eigvalsh(moment / count - np.outer(centre, centre))[::-1].astype(np.float64).clip(min=0)
    folded = f", {dim:,} columns folded into {width:,}" if width < dim else ""
    basis = f"{'estimated from' if folded or len(sample) < len(ids) else 'of'} {len(sample):,} rows{folded}"
    return variances / (variances.sum() or 1.0), basis


def _draw_norms(axes: Axes, report: TableReport) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_title("Norm of each token's embedding", fontsize=13, loc="left")
    axes.set(xlabel="token id (roughly from frequent to rare)", ylabel="Euclidean norm of the row")
    axes.set_xlim(-0.01 * len(report.norms), 1.01 * len(report.norms))
    ids = np.flatnonzero(report.norms > 0)
    if not len(ids):
        return
    norms = report.norms[ids]
    low, high = float(norms.min()), float(norms.max())
    scale: Literal["log", "linear"] = "log" if high > 5 * low else "linear"
    shades = ListedColormap(colormaps["Blues"](np.linspace(0.2, 1, 256)))  # a single token is not to be white
    style: dict[str, Any] = {"bins": "log", "mincnt": 1, "cmap": shades, "linewidths": 0.1}
    cells = axes.hexbin(ids, norms, gridsize=(110, 60), yscale=scale, **style)
    bar = axes.figure.colorbar(cells, ax=axes, pad=0.01, aspect=40, label="tokens per cell")
    bar.ax.yaxis.set_major_formatter("{x:g}")
    parts = max(1, min(150, len(ids) // 40))
    medians = [[np.median(part) for part in np.array_split(values, parts)] for values in (ids, norms)]
    axes.plot(*medians, color="black", linewidth=1.8, label="running median")
    if scale == "log":
        axes.set(yscale="log", ylim=(low / 1.15, high * 1.3))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _mark_rows(axes: Axes, report: TableReport) -> None:
    """Mark special tokens where they are, rows without a norm along the bottom, and padding as a band."""
    rows, norms = len(report.norms), report.norms
    added = report.found.tokenizer.get_added_tokens_decoder()
    special = [i for i, token in added.items() if token.special and i < rows and norms[i] > 0]
    zero, nonfinite = np.flatnonzero((norms == 0) & report.has_token), np.flatnonzero(np.isnan(norms))
    bottom: dict[str, Any] = {"s": 30, "color": _RED, "transform": axes.get_xaxis_transform()}
    for ids, heights, label, style in (
        (special, norms[special], "special tokens", {"s": 42, "color": _ORANGE, "marker": "^", "edgecolors": "white"}),
        (zero, np.full(len(zero), 0.015), "all zero", bottom | {"marker": "x"}),
        (nonfinite, np.full(len(nonfinite), 0.015), "not finite", bottom | {"marker": "D"}),
    ):
        if len(ids):
            axes.scatter(ids, heights, label=f"{label} ({len(ids):,})", zorder=5, clip_on=False, **style)
    if report.padding_rows:
        label = f"rows without a token ({report.padding_rows:,})"
        axes.axvspan(rows - report.padding_rows, rows, color=_ORANGE, alpha=0.15, label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize=9.5, framealpha=0.92)


def _draw_spectrum(axes: Axes, shares: npt.NDArray[np.float64], basis: str) -> None:
    axes.set_title("Variance by principal component", fontsize=13, loc="left")
    axes.set_xlabel(f"principal component\n({basis})")
    positive = shares[shares > shares.max(initial=0) * 1e-7]  # below are rounding errors
    if not len(positive):
        axes.text(0.5, 0.5, "no variance", transform=axes.transAxes, ha="center", color=_GREY)
        return
    components, cumulative = np.arange(1, len(positive) + 1), 100 * np.cumsum(positive)
    right = axes.twinx()
    right.spines[["top"]].set_visible(False)
    axes.plot(components, positive, color=_BLUE, linewidth=2, marker="o", markersize=2.5)
    right.plot(components, cumulative, color=_ORANGE, linewidth=2)
    axes.set(xscale="log", yscale="log")
    axes.set_ylabel("share of the variance, per component", color=_BLUE)
    axes.tick_params(axis="y", colors=_BLUE)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    right.set_ylim(0, 105)
    right.set_ylabel("cumulative share", color=_ORANGE)
    right.tick_params(axis="y", colors=_ORANGE)
    right.yaxis.set_major_formatter("{x:.0f} %")
    box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    for dim in MARKED_DIMS:
        if dim < len(positive):  # all of them hold all of it
            share = float(cumulative[dim - 1])
            right.axvline(dim, color=_GREY, linewidth=0.8, linestyle=":")
            right.plot([dim], [share], marker="o", markersize=6, color=_ORANGE, markeredgecolor="white")
            label = f"{dim:,} dims: {share:.0f} %"
            right.text(dim / 1.02, 2, label, ha="right", va="bottom", rotation=90, fontsize=10.5, bbox=box)

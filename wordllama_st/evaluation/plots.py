"""Plots of a report: mean score by dim, by speed, and by the time of a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wordllama_st.analysis.plot_file import plot_file
from wordllama_st.evaluation.rankings import mean_rankings
from wordllama_st.evaluation.report import ModelResult, Report
from wordllama_st.static.precision import Precision

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Distinguishable with colour vision deficiencies (Wong, Nature Methods 2011), the light ones darkened.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#56b4e9", "#333333", "#882255")
LINES: dict[Precision, str] = {"float32": "-", "int8": "--", "uint8": "-.", "binary": ":", "ubinary": ":"}
MARKERS: dict[Precision, str] = {"float32": "o", "int8": "s", "uint8": "D", "binary": "v", "ubinary": "^"}


def plot_dims(report: Report, path: str | Path) -> None:
    """Plot the mean score against the dim: a line for each model and precision.

    Args:
        path: A .png, .svg or .pdf file, which is written whole or not at all, and is replaced if it exists.

    Raises:
        ArgumentError: If the suffix names no format, or the path is a directory.
        MissingExtraError: If matplotlib is not installed.
    """
    with _axes(report, path, "Score by dimension") as axes:
        from matplotlib.ticker import NullLocator

        for model, precision, colour, dims, means in _curves(report):
            axes.plot(
                dims, means, color=colour, linestyle=LINES[precision], linewidth=2, marker=MARKERS[precision],
                markersize=6.5, markeredgecolor="white", markeredgewidth=0.7, label=f"{model.name}, {precision}",
            )  # fmt: skip
        dims = sorted({dim for _, dim, _ in report.settings()})
        axes.set_xscale("log", base=2)
        axes.set_xticks(dims, [f"{dim:,}" for dim in dims])
        axes.xaxis.set_minor_locator(NullLocator())
        if len(dims) == 1:
            axes.set_xlim(dims[0] / 2, dims[0] * 2)
        axes.set_xlabel("dimensions of a vector", fontsize=11)


def plot_speed(report: Report, path: str | Path) -> None:
    """Plot the mean score against the speed: a point for each model, and smaller points below it for its smaller dims.

    The scores are those of the first precision. All dims of a model have the speed of encoding at full dim. Arguments
    and errors are those of :func:`plot_dims`.
    """
    first = report.scores[0].precision
    with _axes(report, path, f"Score by speed, {first} vectors") as axes:
        labels: list[tuple[str, float, float, str]] = []
        for model, precision, colour, dims, means in _curves(report):
            if precision != first:
                continue
            dims, means = dims[::-1], means[::-1]
            speeds = [model.texts_per_second] * len(dims)
            described = f"{model.name}: {dims[0]:,} dims, {model.describe_size()}, {model.describe_runtime()}"
            axes.plot(speeds, means, color=colour, linewidth=1, alpha=0.5)
            axes.scatter(speeds[:1], means[:1], s=110, color=colour, edgecolors="white", zorder=3, label=described)
            axes.scatter(speeds[1:], means[1:], s=38, color="white", edgecolors=colour, linewidths=1.5, zorder=3)
            labels += [(f"{dim:,}", x, y, colour) for dim, x, y in zip(dims, speeds, means, strict=True)]
        _scale_by_log(axes, [model.texts_per_second for model in report.models], room=2)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        _draw_labels(axes, labels)
        axes.set_xlabel(f"texts per second, on a machine with {report.describe_cores()} (log scale)", fontsize=11)


def plot_queries(report: Report, path: str | Path) -> None:
    """Plot nDCG@10 against the time of a query, both means over the retrieval tasks: a point for each row.

    A model and the model with BM25 have one colour, and the latter an open point. Arguments and errors are those of
    :func:`plot_dims`.
    """
    with _axes(report, path, "nDCG@10 by the time of a query") as axes:
        labels: list[tuple[str, float, float, str]] = []
        colours: dict[str, str] = {}
        for row in mean_rankings(report.rankings):
            model = row.name.removesuffix(" + BM25")
            colour = colours.setdefault(model, COLOURS[len(colours) % len(COLOURS)])
            x, y = row.milliseconds or 0.0, 100 * row.metrics["ndcg@10"]
            axes.scatter(
                x, y, s=90, color=colour if row.name == model else "white", edgecolors=colour, linewidths=2,
                marker=MARKERS[row.precision or "float32"], zorder=3, label=row.label,
            )  # fmt: skip
            labels.append((row.name, x, y, colour))
        _scale_by_log(axes, [milliseconds for _, milliseconds, _, _ in labels], room=3)
        axes.xaxis.set_major_formatter("{x:g}")
        _draw_labels(axes, labels)
        axes.set_xlabel("milliseconds from a query to the scores of all documents (log scale)", fontsize=11)


@contextmanager
def _axes(report: Report, path: str | Path, title: str) -> Iterator[Axes]:
    """Yield the axes of a plot of scores, which gets its title, labels and legend and is written after the block."""
    with plot_file(path, (9, 6.2)) as figure:
        axes = figure.subplots()
        axes.margins(y=0.08)
        yield axes
        count = len(report.tasks)
        what = f"mean of {count} tasks" if count > 1 else f"{report.tasks[0].name}, {report.tasks[0].metric_name}"
        axes.set_ylabel(f"score x 100 ({what})", fontsize=11)
        axes.set_title(title, fontsize=14, fontweight="bold", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        # Below the axes, where it covers no points; a column for each model if there is room, for 120 characters.
        texts = axes.get_legend_handles_labels()[1]
        columns = max(1, min(len(report.models), 120 // (max(map(len, texts)) + 8)))
        figure.legend(loc="outside lower left", ncols=columns, fontsize=9.5, frameon=False)


def _curves(report: Report) -> Iterator[tuple[ModelResult, Precision, str, list[int], list[float]]]:
    """Yield each model and precision with the model's colour, the dims, and the mean scores x 100 at these."""
    for number, model in enumerate(report.models):
        settings = report.settings(model.name)
        for precision in dict.fromkeys(precision for _, _, precision in settings):
            dims = sorted(dim for _, dim, held in settings if held == precision)
            means = [100 * report.mean(model.name, dim, precision) for dim in dims]
            yield model, precision, COLOURS[number % len(COLOURS)], dims, means


def _scale_by_log(axes: Axes, values: Sequence[float], room: float) -> None:
    """Scale the x axis by the logarithm, with room for labels beside the least and the largest value."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(min(values) / room, max(values) * room)
    if max(values) / min(values) < 30:  # label more than the powers of ten
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_labels(axes: Axes, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Draw each (text, x, y, colour) right or left of its point, if it fits there and overlaps no point or text."""
    from matplotlib.transforms import Bbox

    axes.autoscale_view()  # determines where points are, in shares of the axes
    to_axes = axes.transData + axes.transAxes.inverted()
    points = [to_axes.transform((x, y)) for _, x, y, _ in labels]
    boxes = [Bbox.from_extents(x - 0.009, y - 0.012, x + 0.009, y + 0.012) for x, y in points]
    for (x, y), (text, speed, score, colour) in zip(points, labels, strict=True):
        for side, anchor in ((1, "left"), (-1, "right")):
            far = x + side * (0.012 + 0.015 * len(text))
            box = Bbox.from_extents(x + side * 0.012, y - 0.018, far, y + 0.018)
            if not box.count_overlaps(boxes) and box.x0 >= 0 and box.x1 <= 1:
                axes.annotate(
                    text, (speed, score), xytext=(9 * side, 0), textcoords="offset points", ha=anchor, va="center",
                    fontsize=9, color=colour,
                )  # fmt: skip
                boxes.append(box)
                break

"""Pictures of a report: what a dim costs in score, and what a score costs in speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wordllama_st.analysis.inspection_plot import check_plot
from wordllama_st.evaluation.report import ModelResult, Report, encoded_by, readable_size
from wordllama_st.static.precision import Precision
from wordllama_st.storage.staging import staged_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Told apart by people who are colour-blind too (Wong, Nature Methods 2011), and darker where they were light.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#56b4e9", "#333333", "#882255")
LINES: dict[Precision, str] = {"float32": "-", "int8": "--", "uint8": "-.", "binary": ":", "ubinary": ":"}
MARKERS: dict[Precision, str] = {"float32": "o", "int8": "s", "uint8": "D", "binary": "v", "ubinary": "^"}
#: Room above and below the points, as a share of the height they take; and characters of a legend that fit abreast.
_MARGIN, _LEGEND_CHARACTERS = 0.08, 120


def plot_dims(report: Report, path: str | Path) -> None:
    """Draw the mean score against the dim: a line for each model and precision.

    Args:
        report: What was measured.
        path: A .png, .svg or .pdf file, which appears when it is whole and replaces one of that name.

    Raises:
        ArgumentError: If its suffix names no format, or it is a directory.
        MissingExtraError: If matplotlib is not installed.
    """
    path = Path(path)
    check_plot(path)
    figure, axes = _figure()
    from matplotlib.ticker import NullLocator

    dims = sorted({dim for _, dim, _ in report.settings()})
    for model, colour in _coloured(report):
        settings = report.settings(model.name)
        for precision in dict.fromkeys(precision for _, _, precision in settings):
            own = sorted(dim for _, dim, held in settings if held == precision)
            means = [100 * report.mean(model.name, dim, precision) for dim in own]
            axes.plot(
                own, means, color=colour, linestyle=LINES[precision], linewidth=2, marker=MARKERS[precision],
                markersize=6.5, markeredgecolor="white", markeredgewidth=0.7, label=f"{model.name}, {precision}",
            )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(dims, [f"{dim:,}" for dim in dims])
    axes.xaxis.set_minor_locator(NullLocator())
    if len(dims) == 1:
        axes.set_xlim(dims[0] / 2, dims[0] * 2)
    axes.margins(y=_MARGIN)
    axes.set_xlabel("dimensions of a vector", fontsize=11)
    _finish(figure, axes, report, "Score by dimension", path)


def plot_speed(report: Report, path: str | Path) -> None:
    """Draw the mean score against the speed: a point for each model, its smaller dims as smaller points below it.

    In the first of the precisions. Every dim of a model takes the same time, that of encoding at full dim.

    Args:
        report: What was measured.
        path: As for :func:`plot_dims`.

    Raises:
        ArgumentError: As for :func:`plot_dims`.
        MissingExtraError: If matplotlib is not installed.
    """
    path = Path(path)
    check_plot(path)
    figure, axes = _figure()
    precision = report.scores[0].precision
    labels: list[_Label] = []
    for model, colour in _coloured(report):
        dims = sorted({dim for _, dim, held in report.settings(model.name) if held == precision}, reverse=True)
        means = [100 * report.mean(model.name, dim, precision) for dim in dims]
        speeds = [model.texts_per_second] * len(dims)
        described = f"{model.name}: {dims[0]:,} dims, {readable_size(model.size)}, {encoded_by(model)}"
        axes.plot(speeds, means, color=colour, linewidth=1, alpha=0.5)
        axes.scatter(speeds[:1], means[:1], s=110, color=colour, edgecolors="white", zorder=3, label=described)
        axes.scatter(speeds[1:], means[1:], s=38, color="white", edgecolors=colour, linewidths=1.5, zorder=3)
        labels += [_Label(f"{dim:,}", x, y, colour) for dim, x, y in zip(dims, speeds, means, strict=True)]
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    _widen_log(axes, [model.texts_per_second for model in report.models])
    axes.margins(y=_MARGIN)
    _draw_labels(axes, labels)
    cores = f"{report.cores} core{'s' * (report.cores != 1)}"
    axes.set_xlabel(f"texts per second, on a machine with {cores} (log scale)", fontsize=11)
    _finish(figure, axes, report, f"Score by speed, {precision} vectors", path)


class _Label(NamedTuple):
    """A text for a point."""

    text: str
    x: float
    y: float
    colour: str


def _figure() -> tuple[Figure, Axes]:
    # The figure's own canvas, and no pyplot: nothing is left behind in a program that draws figures of its own.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _coloured(report: Report) -> list[tuple[ModelResult, str]]:
    return [(model, COLOURS[number % len(COLOURS)]) for number, model in enumerate(report.models)]


def _draw_labels(axes: Axes, labels: Sequence[_Label]) -> None:
    """Each text beside its point, right or left, wherever it covers no point and no other text; or else not at all."""
    axes.autoscale_view()  # where a point is, in shares of the axes, is known only then
    to_axes = axes.transData + axes.transAxes.inverted()
    points = [to_axes.transform((label.x, label.y)) for label in labels]
    boxes = [(x - 0.009, y - 0.012, x + 0.009, y + 0.012) for x, y in points]
    for (x, y), label in zip(points, labels, strict=True):
        for side, anchor in ((1, "left"), (-1, "right")):
            near, far = x + side * 0.012, x + side * (0.012 + 0.015 * len(label.text))
            box = (min(near, far), y - 0.018, max(near, far), y + 0.018)
            if not any(_overlap(box, other) for other in boxes):
                axes.annotate(
                    label.text, (label.x, label.y), xytext=(9 * side, 0), textcoords="offset points", ha=anchor,
                    va="center", fontsize=9, color=label.colour,
                )  # fmt: skip
                boxes.append(box)
                break


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _widen_log(axes: Axes, values: Sequence[float]) -> None:
    """Room beside the outermost points, and more than one number on the axis where all lie within a decade."""
    low, high = min(values), max(values)
    axes.set_xlim(low / 1.8, high * 2.2)
    if high / low < 30:
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())


def _finish(figure: Figure, axes: Axes, report: Report, title: str, path: Path) -> None:
    count = len(report.tasks)
    what = f"mean of {count} tasks" if count > 1 else f"{report.tasks[0].name}, {report.tasks[0].metric_name}"
    axes.set_ylabel(f"score x 100 ({what})", fontsize=11)
    axes.set_title(title, fontsize=14, fontweight="bold", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    # Below the axes, where it covers no point however many there are; a column for each model if there is room.
    texts = axes.get_legend_handles_labels()[1]
    columns = max(1, min(len(report.models), _LEGEND_CHARACTERS // (max(map(len, texts)) + 8)))
    figure.legend(loc="outside lower left", ncols=columns, fontsize=9.5, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged_file(path) as staging:
        figure.savefig(staging, format=path.suffix.lower().removeprefix("."))

"""``wordllama-st inspect``: what a table is and what is odd about it, as text, JSON or a picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

from wordllama_st.analysis.inspection import Neighbours, TableReport, examine
from wordllama_st.cli.options import positive
from wordllama_st.codebook.found_table import FoundTable

Line = tuple[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked about a table. Where the table is, is the caller's to ask."""
    parser.add_argument(
        "--tokens",
        nargs="+",
        default=[],
        metavar="TOKEN",
        help="show the tokens closest to these: words, or tokens as they are, as in Ġking",
    )
    parser.add_argument(
        "--neighbours", type=positive, default=8, metavar="N", help="how many of each (default: %(default)s)"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the rows' lengths and spectrum (.png, .svg or .pdf)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(found: FoundTable, options: argparse.Namespace, echo: Callable[[str], None]) -> None:
    """Look at a table and tell what there is to see.

    Raises:
        ArgumentError: If a token is none, or the picture's suffix names no format.
        MissingExtraError: If a picture is asked for and matplotlib is not installed.
    """
    from wordllama_st.analysis.inspection_plot import check_plot, plot

    if options.plot:
        check_plot(options.plot)
    show_progress = sys.stderr.isatty()
    report = examine(found, options.tokens, options.neighbours, show_progress)
    if options.plot:
        plot(found, report, options.plot, show_progress)
    if options.json:
        echo(as_json(report))
        return
    lines = [*_table_lines(report), ("", ""), *_row_lines(report)]
    if options.plot:
        lines.append(("picture", str(options.plot)))
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        echo(f"{label:<{width}}  {text}".rstrip())
    for found_near in report.neighbours:
        _tell_neighbours(found_near, echo)


def as_json(report: TableReport) -> str:
    """All of a report but its arrays."""
    plain = {f.name: getattr(report, f.name) for f in fields(report) if f.compare}
    plain["neighbours"] = [
        {
            **{key: getattr(found, key) for key in ("name", "token_id", "token")},
            "nearest": [dict(zip(("token_id", "token", "cosine"), near, strict=True)) for near in found.nearest],
        }
        for found in report.neighbours
    ]
    return json.dumps(plain, indent=2, ensure_ascii=False)


def _table_lines(report: TableReport) -> Iterator[Line]:
    rows, dim = report.shape
    yield "source", report.source + (f" at {report.commit}" if report.commit else "")
    if report.architecture:
        yield "architecture", report.architecture
    if report.tensor_name:
        yield "tensor", report.tensor_name
    yield "table", f"{rows:,} rows x {dim:,} columns, {report.dtype}, {_size(report.bytes)}"
    yield (
        "tokenizer",
        f"{report.tokenizer_kind}, {report.vocabulary_size:,} tokens "
        f"({report.added_tokens:,} added, {report.special_tokens:,} special)",
    )


def _row_lines(report: TableReport) -> Iterator[Line]:
    yield "rows behind the last token", f"{report.padding_rows:,}"
    yield "tokens without a row", _counted(report.ids_beyond_rows, report.beyond_examples)
    yield "rows not finite", _counted(report.nonfinite_rows, report.nonfinite_examples)
    yield "rows all zero", _counted(report.zero_rows, report.zero_examples)
    pairs = tuple(f"{token} = {first}" for token, first in report.duplicate_examples)
    yield "rows equal to an earlier one", _counted(report.duplicate_rows, pairs)
    if not report.norm_quantiles:
        yield "norms", "no token has a row that is finite and not zero"
        return
    yield "norms: quantile", "".join(f"{f'{percent} %':>10}" for percent in report.norm_quantiles).lstrip()
    yield "norms: value", "".join(f"{value:>10.4g}" for value in report.norm_quantiles.values()).lstrip()
    yield "norm of the mean row", f"{report.anisotropy:.1%} of the mean norm, {report.mean_norm:.4g}"


def _tell_neighbours(found: Neighbours, echo: Callable[[str], None]) -> None:
    echo(f"\nclosest to {found.token} (id {found.token_id}), by cosine from the mean row")
    for token_id, token, cosine in found.nearest:
        echo(f"  {cosine:>6.3f}  {token_id:>7}  {token}")


def _counted(count: int, examples: tuple[str, ...]) -> str:
    more = ", ..." if count > len(examples) else ""
    return f"{count:,}" + (f": {', '.join(examples)}{more}" if examples else "")


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def add_command(commands):  # type: ignore
    from wordllama_st.cli import options as opt

    parser = opt.command(commands, "inspect", "x", "x")
    parser.add_argument("source")
    opt.add_source_options(parser)
    add_arguments(parser)

    def go(options):  # type: ignore
        from wordllama_st.codebook.find import find_table

        run(
            find_table(options.source, tensor_name=options.tensor_name, revision=options.revision, token=options.token),
            options,
            echo=print,
        )

    parser.set_defaults(run=go)

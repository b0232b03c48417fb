"""The ``explain`` command: the tokens that make two texts similar, as text, as a page and as JSON."""

from __future__ import annotations

import argparse
import json
import unicodedata
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

from wordllama_st.analysis.explanation import Explanation, Figures, RankedPairs, Side, explain
from wordllama_st.analysis.heat_map import MOST_ROWS, heat_map, heat_table
from wordllama_st.analysis.text_pieces import visible
from wordllama_st.cli.options import positive
from wordllama_st.errors import ArgumentError
from wordllama_st.static import StaticEncoder
from wordllama_st.storage.staging import check_output_file, staged_file

#: Columns of a line, of a token in it, of a number and of a share.
_LINE, _TOKEN, _NUMBER, _SHARE = 98, 26, 11, 9
#: Tokens of a text that are listed, besides one line for all others.
_MOST_TOKENS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", help="directory of a static model, a released model's name, or a Hub id")
    parser.add_argument("text_a", metavar="text-a", help="a text")
    parser.add_argument("text_b", metavar="text-b", help="the text it is compared with")
    parser.add_argument(
        "--dim", type=int, metavar="DIM", help="Matryoshka dim to compare at (default: the model's own)"
    )
    parser.add_argument(
        "--prompt-name",
        action="append",
        default=[],
        metavar="NAME",
        help="the model's prompt to put in front of both texts; given twice, of the first and of the second",
    )
    parser.add_argument("--words", action="store_true", help="tell by word instead of by token")
    parser.add_argument(
        "--top", type=positive, default=10, metavar="N", help="pairs to list for and against (default: %(default)s)"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a heat map whose cells add up to the score")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what the heat map shows as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace the files if they exist")


def run(options: argparse.Namespace, echo: Callable[[str], None]) -> None:
    """Explain the similarity of two texts.

    Raises:
        OutputExistsError: If a file to be written exists.
        ArgumentError: As :func:`~wordllama_st.analysis.explanation.explain`, or if there are more than two prompt names.
        ModelLoadError: If the model is no static model.
    """
    for path in filter(None, (options.html, options.json)):
        check_output_file(path, overwrite=options.overwrite)
    if options.html and options.json and options.html.absolute() == options.json.absolute():
        raise ArgumentError(f"The heat map and the JSON cannot both be {options.html}; choose another name for one.")
    if len(options.prompt_name) > 2:
        raise ArgumentError(f"There are two texts, and {len(options.prompt_name)} prompt names; give one or two.")
    prompt_names = (options.prompt_name * 2)[:2] if len(options.prompt_name) == 1 else options.prompt_name
    encoder = StaticEncoder.from_pretrained(options.model)
    explanation = explain(
        encoder,
        options.text_a,
        options.text_b,
        **dict(zip(("prompt_name_a", "prompt_name_b"), prompt_names, strict=False)),
        truncate_dim=options.dim,
    )
    if options.words:
        explanation = explanation.by_word()
    for line in told(explanation, options.top):
        echo(line)
    for path, content in ((options.html, heat_map), (options.json, as_json)):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            with staged_file(path) as staging:
                staging.write_text(content(explanation, options.model), encoding="utf-8")
            echo(str(path))


def told(explanation: Explanation, top: int) -> Iterator[str]:
    """An explanation in lines of text, none wider than a hundred columns.

    Args:
        explanation: Of tokens or of words.
        top: How many pairs to list for the similarity, and how many against it.
    """
    explanation = explanation.shortened(MOST_ROWS)
    strongest, opposed = explanation.strongest_pairs(top), explanation.opposed_pairs(top)
    largest = max((abs(pair.contribution) for pair in (*strongest.pairs[:1], *opposed.pairs[:1])), default=0.0)
    figures = Figures.of(explanation, largest, strongest.total - opposed.total)
    pairs = len(explanation.a.pieces) * len(explanation.b.pieces)
    yield f"{explanation.similarity_fn_name} similarity {figures.similarity(explanation.score)}"
    for label, side in (("A", explanation.a), ("B", explanation.b)):
        yield f"  {label}  {_fit(visible(' '.join(side.text.split()) or side.text), _LINE - 5)}".rstrip()
    yield ""
    yield f"{figures.show(explanation.score)} is the sum over {_pairs(pairs)} of {explanation.unit}s{figures.scale}."
    if not figures.whole:
        yield "What speaks for and against it all but cancels out, so there are no shares of it."
    yield from _ranked("What makes them similar", strongest, figures)
    yield from _ranked("What pulls them apart", opposed, figures)
    yield from _sums(explanation.folded(_MOST_TOKENS), figures)
    yield ""
    yield f"Each number is rounded by itself, to {figures.step}."


def as_json(explanation: Explanation, model: str) -> str:
    """What :func:`~wordllama_st.analysis.heat_map.heat_map` shows, unrounded."""
    table = heat_table(explanation)
    plain = {
        "model": model,
        "similarity": table.similarity_fn_name,
        "dim": table.a.vectors.shape[1],
        "score": table.score,
        "unit": table.unit,
        "a": _side(table.a, table.contributions_a.tolist()),
        "b": _side(table.b, table.contributions_b.tolist()),
        "contributions": table.contributions.tolist(),
    }
    return json.dumps(plain, ensure_ascii=False) + "\n"


def _side(side: Side, contributions: list[float]) -> dict[str, object]:
    """A text, and its tokens or words: the last of them stands for ``folded`` others, unless that is 0."""
    pieces = [
        {**piece._asdict(), "contribution": contribution}
        for piece, contribution in zip(side.pieces, contributions, strict=True)
    ]
    return {"text": side.text, "pieces": pieces, "folded": side.folded}


def _ranked(heading: str, ranked: RankedPairs, figures: Figures) -> Iterator[str]:
    yield ""
    yield heading if ranked.pairs else f"{heading}: nothing"
    for pair in ranked.pairs:
        yield f"  {_fit(pair.a, _TOKEN)}  {_fit(pair.b, _TOKEN)}{_numbers(pair.contribution, figures)}"
    others = ranked.number - len(ranked.pairs)
    if others:
        left = ranked.total - sum(pair.contribution for pair in ranked.pairs)
        yield f"  {_fit(f'{_pairs(others)} more, together', 2 * _TOKEN + 2)}{_numbers(left, figures)}"


def _sums(table: Explanation, figures: Figures) -> Iterator[str]:
    """What each token or word contributes, the texts side by side."""
    columns = []
    for side, sums in ((table.a, table.contributions_a.tolist()), (table.b, table.contributions_b.tolist())):
        rows = [(piece.label, total) for piece, total in zip(side.pieces, sums, strict=True)]
        columns.append([*rows, ("all together", table.score)])
    width = max(_NUMBER, *(len(figures.show(total)) + 1 for rows in columns for _, total in rows))
    token = _LINE // 2 - 3 - width - _SHARE
    order = ", the farthest from zero first" if table.a.folded or table.b.folded else ""
    yield ""
    yield f"What each {table.unit} contributes, paired with all of the other text{order}"
    yield f"  {_fit('A', _LINE // 2 - 1)}B"
    for row in zip_longest(*columns):
        cells = [f"{_fit(entry[0], token)}{_numbers(entry[1], figures, width)}" if entry else "" for entry in row]
        yield f"  {_fit(cells[0], _LINE // 2 - 1)}{cells[1]}".rstrip()


def _numbers(contribution: float, figures: Figures, width: int = _NUMBER) -> str:
    return f"{figures.show(contribution):>{width}}{figures.share(contribution):>{_SHARE}}".rstrip()


def _pairs(count: int) -> str:
    return f"{count:,} pair{'' if count == 1 else 's'}"


def _fit(text: str, width: int) -> str:
    """A text that takes so many columns: cut, or filled with spaces."""
    if sum(map(_width, text)) > width:
        left = width - 1
        kept = []
        for character in text:
            left -= _width(character)
            if left < 0:
                break
            kept.append(character)
        text = "".join(kept) + "…"
    return text + " " * (width - sum(map(_width, text)))


def _width(character: str) -> int:
    """Columns of a terminal that a character takes: two for most of East Asia's, none for accents."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def add_command(commands):  # type: ignore
    from wordllama_st.cli import options as opt

    parser = opt.command(commands, "explain", "x", "x")
    add_arguments(parser)
    parser.set_defaults(run=lambda options: run(options, print))

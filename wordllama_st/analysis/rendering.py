"""An explanation as lines of text and as an HTML page, with all its numbers in one unit and as many decimals."""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from itertools import accumulate, zip_longest
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from wordllama_st.analysis.text_pieces import visible

if TYPE_CHECKING:
    from wordllama_st.analysis.explanation import Explanation, Floats, Side

#: Terminal columns of a text, a token of a pair, a token in the two lists, a number and a share.
_TEXT, _TOKEN, _LISTED, _NUMBER, _SHARE = 93, 26, 22, 16, 9
#: The most tokens or words of a text that are listed, and the most decimals.
_MOST_LISTED, _MOST_DECIMALS = 40, 12
#: The most columns of a table with horizontal headings, and the most characters of a heading.
_MANY_COLUMNS, _LONGEST_LABEL = 14, 40


class Figures:
    """Numbers with which the largest absolute contribution has three significant digits; cosines are in hundredths."""

    def __init__(self, similarity_fn_name: str, largest: float) -> None:
        cosine = similarity_fn_name == "cosine"
        self.factor, fewest = (100, 2) if cosine else (1, 0)
        needed = 2 - math.floor(math.log10(largest * self.factor)) if largest else fewest
        self.decimals = min(max(needed, fewest), _MOST_DECIMALS)
        self.unit = ", in hundredths of the cosine" if cosine else ""
        self.step = f"{10**-self.decimals:.{self.decimals}f}"

    def contribution(self, value: float) -> str:
        """A contribution with its sign."""
        return _signed(value * self.factor, self.decimals)

    def score(self, value: float) -> str:
        """A score as the similarity function gives it, as precise as the contributions."""
        return _signed(value, self.decimals + len(str(self.factor)) - 1).removeprefix("+")


def text_lines(explanation: Explanation, top: int) -> Iterator[str]:
    """Write an explanation as lines of at most 100 columns, with ``top`` pairs of each sign."""
    strongest, opposed = explanation.ranked_pairs(top), explanation.ranked_pairs(top, sign=-1)
    largest = max((abs(pair.contribution) for pair in strongest.pairs[:1] + opposed.pairs[:1]), default=0.0)
    figures, score = Figures(explanation.similarity_fn_name, largest), explanation.score
    shared = abs(score) > 0.01 * (strongest.total - opposed.total)  # else it is too close to zero to give shares of

    def row(label: str, value: float, width: int = 2 * _TOKEN + 2) -> str:
        share = f"{_signed(100 * value / score, 1).removeprefix('+')} %" if shared else ""
        return f"  {_fit(label, width)}{figures.contribution(value):>{_NUMBER}}{share:>{_SHARE}}"

    yield f"{explanation.similarity_fn_name} similarity {figures.score(score)}"
    for name, side in (("A", explanation.a), ("B", explanation.b)):
        yield f"  {name}  {_fit(visible(' '.join(side.text.split()) or side.text), _TEXT)}".rstrip()
    pairs = _pairs(len(explanation.a.pieces) * len(explanation.b.pieces))
    yield f"\n{figures.contribution(score)} is the sum over {pairs} of {explanation.unit}s{figures.unit}."
    if not shared:
        yield "Positive and negative contributions nearly cancel out, so no shares are given."
    for heading, ranked in (("What makes them similar", strongest), ("What pulls them apart", opposed)):
        yield f"\n{heading}{'' if ranked.pairs else ': nothing'}"
        yield from (row(f"{_fit(pair.a, _TOKEN)}  {pair.b}", pair.contribution) for pair in ranked.pairs)
        if others := ranked.number - len(ranked.pairs):
            rest = ranked.total - sum(pair.contribution for pair in ranked.pairs)
            yield row(f"{_pairs(others)} more, together", rest)
    table = explanation.folded(_MOST_LISTED)
    order = ", the farthest from zero first" if table.a.folded or table.b.folded else ""
    yield f"\nWhat each {table.unit} contributes, paired with all of the other text{order}"
    blank = " " * (_LISTED + _NUMBER + _SHARE + 2)
    yield f"{_fit('  A', len(blank))}  B"
    sides = (table.a, table.contributions_a), (table.b, table.contributions_b)
    columns = ([*zip(side.labels, sums.tolist(), strict=True), ("all together", score)] for side, sums in sides)
    for cells in zip_longest(*columns):
        yield "".join(row(cell[0], cell[1], _LISTED) if cell else blank for cell in cells).rstrip()
    yield f"\nEach number is rounded by itself, to {figures.step}."


def html_page(explanation: Explanation) -> str:
    """Draw an explanation that is not folded as a page of HTML, in which all of its texts is escaped."""
    table, words = explanation.shortened().folded(), explanation.by_word()
    contributions, score = table.contributions, table.score
    rows, columns = (len(side.pieces) - bool(side.folded) for side in (table.a, table.b))
    # Without what stands for many, which would leave the others pale.
    largest = float(np.abs(contributions[:rows, :columns]).max())
    figures = Figures(table.similarity_fn_name, largest)
    printed = sum(float(figures.contribution(value)) for value in contributions.ravel().tolist()) / figures.factor

    def show(value: float) -> str:
        return _minus(figures.contribution(value))

    def heading(scope: str, label: str, folded: bool) -> str:
        folds = ' class="folded"' if folded else ""
        return f'<th scope="{scope}"{folds} title="{escape(label)}"><span dir="auto">{escape(label)}</span></th>'

    def table_row(label: str, folded: bool, values: list[float], total: float) -> Iterator[str]:
        yield f"<tr>{heading('row', label, folded)}"
        for column, (other, value) in enumerate(zip(labels_b, values, strict=True)):
            colour = ' class="folded"' if folded or column == columns else _colour(value, largest)
            yield f'<td{colour} title="{escape(f"{label} · {other}")}">{show(value)}</td>'
        yield f'<td class="sum">{show(total)}</td></tr>\n'

    def coloured(side: Side, sums: Floats) -> Iterator[str]:
        done = 0
        for piece, value in zip(side.pieces, sums.tolist(), strict=True):
            colour, start = _colour(value, strongest), max(piece.start, done)
            # White space belongs to a word's tokens, but looks odd in colour.
            word = side.text[start : piece.end].strip()
            if colour and word:
                start = side.text.index(word, start)
                yield f'{escape(side.text[done:start])}<mark{colour} title="{show(value)}">{escape(word)}</mark>'
                done = start + len(word)
        yield escape(side.text[done:])

    labels_a, labels_b = (
        [label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…" for label in side.labels]
        for side in (table.a, table.b)
    )
    strongest = max(float(np.abs(sums).max()) for sums in (words.contributions_a, words.contributions_b))
    body = zip(labels_a, contributions.tolist(), table.contributions_a.tolist(), strict=True)
    folded = "".join(
        f"<p>Of the {which} text's {len(side.pieces) - 1 + side.folded:,} {table.unit}s, the {side.folded:,} "
        f"whose sums are closest to zero are one {place}, the last.</p>\n"
        for which, side, place in (("first", table.a, "row"), ("second", table.b, "column"))
        if side.folded
    )
    return Template(files(__package__).joinpath("explanation.html").read_text(encoding="utf-8")).substitute(
        score=_minus(figures.score(score)),
        similarity=table.similarity_fn_name,
        model=escape(table.model),
        text_a="".join(coloured(words.a, words.contributions_a)),
        text_b="".join(coloured(words.b, words.contributions_b)),
        largest=show(largest).removeprefix("+"),
        upright=' class="upright"' if len(labels_b) > _MANY_COLUMNS else "",
        unit=table.unit,
        scale=figures.unit,
        total=show(score),
        columns="".join(heading("col", label, column == columns) for column, label in enumerate(labels_b)),
        rows="".join(cell for place, row in enumerate(body) for cell in table_row(row[0], place == rows, *row[1:])),
        sums="".join(f"<td>{show(total)}</td>" for total in table.contributions_b.tolist()),
        step=figures.step,
        cells=f"{contributions.size:,}",
        printed=show(printed),
        folded=folded,
    )


def _colour(contribution: float, largest: float) -> str:
    """The attributes of an element that colour it."""
    strength = abs(contribution) / largest if largest else 0.0
    sign = "p" if contribution > 0 else "n"
    return f' class="{sign}" style="--s:{strength:.2f}"' if strength >= 0.01 else ""  # a fainter one cannot be seen


def _minus(number: str) -> str:
    """A number with a minus sign, which is read aloud, instead of a hyphen."""
    return number.replace("-", "\N{MINUS SIGN}")


def _signed(number: float, decimals: int) -> str:
    """A number with its sign; one that is rounded to zero has none."""
    number = round(number, decimals)
    return f"{number:+.{decimals}f}" if number else f"{0:.{decimals}f}"


def _pairs(count: int) -> str:
    return f"{count:,} pair{'' if count == 1 else 's'}"


def _fit(text: str, width: int) -> str:
    """Cut or pad a text to ``width`` terminal columns."""
    ends = [0, *accumulate(map(_columns, text))]
    if ends[-1] > width:
        kept = bisect_right(ends, width - 1) - 1
        text, ends = f"{text[:kept]}…", [ends[kept] + 1]
    return text + " " * (width - ends[-1])


def _columns(character: str) -> int:
    """The terminal columns of a character: two for most of East Asia's, none for combining marks."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

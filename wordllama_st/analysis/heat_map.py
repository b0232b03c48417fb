"""An explanation as a page: the two texts, and a table of what each pair of their tokens contributes.

One file that loads nothing and runs nothing; its style is in it, and whatever comes from a text or a model is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from wordllama_st.analysis.explanation import Explanation, Figures, Floats, Side

#: Rows, and columns, of the table, besides one for all others.
MOST_ROWS = 80
#: Columns from which on their headings stand upright.
_MANY_COLUMNS = 14
#: Characters of a heading.
_LONGEST_LABEL = 40
#: Strength of colour, of 1, below which there is none to be seen.
_FAINTEST = 0.01

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1c2127; --soft: #59636e; --line: #d4dae1; --head: #f4f6f8;
  --positive: 33 113 181; --negative: 206 84 22; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --ink: #e8ebee; --soft: #a4adb7; --line: #363d45; --head: #1e2329;
    --positive: 64 148 230; --negative: 226 108 52; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem; width: fit-content; min-width: min(100%, 60rem); max-width: 100%;
  background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.35rem; }
.score { margin: 0 0 1.25rem; color: var(--soft); }
.score strong { margin-right: .4rem; color: var(--ink); font-size: 2.2rem; font-variant-numeric: tabular-nums; }
h2 { margin: 0; color: var(--soft); font-size: .85rem; font-weight: 600; }
.text { margin: .2rem 0 1rem; max-width: 75rem; max-height: 14rem; overflow: auto; font-size: 1.1rem; line-height: 1.8;
  white-space: pre-wrap; overflow-wrap: anywhere; }
mark { padding: .1em 0; border-radius: .2em; color: inherit; }
.scale { display: flex; align-items: center; gap: .6rem; margin: 1.25rem 0 .6rem; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
.scale i { width: 14rem; height: .8rem; border: 1px solid var(--line); border-radius: .2rem;
  background: linear-gradient(to right, rgb(var(--negative) / .62), transparent, rgb(var(--positive) / .62)); }
.p { background: rgb(var(--positive) / calc(var(--s) * .62)); }
.n { background: rgb(var(--negative) / calc(var(--s) * .62)); }
.table { max-width: 100%; width: fit-content; max-height: 90vh; overflow: auto;
  border: 1px solid var(--line); border-radius: .4rem; }
.table:focus-visible { outline: 3px solid rgb(var(--positive)); outline-offset: 2px; }
table { border-collapse: separate; border-spacing: 0; font-size: .8rem; font-variant-numeric: tabular-nums; }
caption { padding: .5rem .7rem; color: var(--soft); text-align: left; }
th, td { padding: .25rem .45rem; border: 0 solid var(--line); border-width: 1px 0 0 1px; white-space: nowrap; }
td { text-align: right; }
th { background: var(--head); font-weight: 600; }
th span { display: block; max-inline-size: 12rem; overflow: hidden; text-overflow: ellipsis; unicode-bidi: isolate; }
thead th { position: sticky; top: 0; z-index: 2; vertical-align: bottom; }
tbody th, tfoot th, thead th:first-child { position: sticky; left: 0; text-align: right; }
thead th:first-child { z-index: 3; color: var(--soft); font-weight: 400; }
tr > :first-child { border-left-width: 0; }
.upright th[scope=col] span { writing-mode: vertical-rl; }
tfoot > tr > *, tr > .sum { background: var(--head); font-weight: 600; }
tr > .sum { position: sticky; right: 0; border-left-width: 2px; }
thead th.sum { z-index: 3; }
tfoot > tr > * { position: sticky; bottom: 0; z-index: 2; border-top-width: 2px; }
tfoot th, tfoot .sum { z-index: 3; }
.folded { color: var(--soft); font-style: italic; }
tbody tr:hover > :not(.p, .n) { background: var(--line); }
td:hover { outline: 2px solid var(--ink); outline-offset: -2px; }
footer { max-width: 60rem; margin-top: .8rem; color: var(--soft); font-size: .85rem; }
footer p { margin: .3rem 0; }
"""


def heat_map(explanation: Explanation, model: str) -> str:
    """A page of HTML that shows an explanation.

    Args:
        explanation: Of tokens or of words, not folded.
        model: What to call the model.
    """
    table = heat_table(explanation)
    largest, gross = _largest(_unfolded(table)), float(np.abs(table.contributions).sum())
    figures = Figures.of(table, largest, gross)
    return "".join(_page(explanation.by_word(), table, figures, model))


def heat_table(explanation: Explanation) -> Explanation:
    """What of an explanation is shown as a table, few enough rows and columns whose cells add up to the score."""
    return explanation.shortened(MOST_ROWS).folded(MOST_ROWS)


def _page(words: Explanation, table: Explanation, figures: Figures, model: str) -> Iterator[str]:
    score = _minus(figures.similarity(table.score))
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        # Nothing is fetched and no script is run, even if there were one.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{score}: why two texts are similar</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        "<h1>Why two texts are similar</h1>\n"
        f'<p class="score"><strong>{score}</strong> {table.similarity_fn_name} similarity, by '
        f"{escape(model)}</p>\n"
    )
    largest = max(_largest(words.contributions_a), _largest(words.contributions_b))
    yield from _text("First text (rows)", words.a, words.contributions_a, largest, figures)
    yield from _text("Second text (columns)", words.b, words.contributions_b, largest, figures)
    yield from _table(table, figures)
    yield from _notes(table, figures)
    yield "</body>\n</html>\n"


def _text(heading: str, side: Side, sums: Floats, largest: float, figures: Figures) -> Iterator[str]:
    """A text as it was written, its words coloured by what they contribute."""
    yield f'<section>\n<h2>{heading}</h2>\n<p class="text" dir="auto" tabindex="0">'
    done = 0
    for piece, contribution in zip(side.pieces, sums.tolist(), strict=True):
        colour = _colour(contribution, largest)
        start = max(piece.start, done)
        # White space belongs to a word's tokens, but looks odd in colour.
        word = side.text[start : piece.end].strip()
        if not colour or not word:
            continue
        start = side.text.index(word, start)
        yield escape(side.text[done:start])
        yield f'<mark{colour} title="{_minus(figures.show(contribution))}">{escape(word)}</mark>'
        done = start + len(word)
    yield f"{escape(side.text[done:])}</p>\n</section>\n"


def _table(table: Explanation, figures: Figures) -> Iterator[str]:
    contributions = table.contributions
    largest = _largest(_unfolded(table))
    rows, columns = _headings(table.a), _headings(table.b)
    upright = ' class="upright"' if len(columns) > _MANY_COLUMNS else ""
    edge = _minus(figures.show(largest)).removeprefix("+")
    yield f'<div class="scale" aria-hidden="true">&minus;{edge}<i></i>+{edge}</div>\n'
    yield (
        '<div class="table" role="region" aria-labelledby="caption" tabindex="0">\n'
        f'<table{upright}>\n<caption id="caption">What each pair of {table.unit}s contributes to the similarity'
        f"{figures.scale}: together {_minus(figures.show(table.score))}</caption>\n"
        '<thead>\n<tr><th scope="col">first \\ second</th>'
    )
    yield from (_heading("col", heading) for heading in columns)
    yield '<th scope="col" class="sum">sum</th></tr>\n</thead>\n<tbody>\n'
    for heading, row, total in zip(rows, contributions.tolist(), table.contributions_a.tolist(), strict=True):
        yield f"<tr>{_heading('row', heading)}"
        for (column, of_many), contribution in zip(columns, row, strict=True):
            # What stands for hundreds of words is no match for a pair of two.
            kind = ' class="folded"' if of_many or heading[1] else _colour(contribution, largest)
            pair = escape(f"{heading[0]} · {column}")
            yield f'<td{kind} title="{pair}">{_minus(figures.show(contribution))}</td>'
        yield f'<td class="sum">{_minus(figures.show(total))}</td></tr>\n'
    yield '</tbody>\n<tfoot>\n<tr><th scope="row">sum</th>'
    yield from (f"<td>{_minus(figures.show(total))}</td>" for total in table.contributions_b.tolist())
    yield f'<td class="sum">{_minus(figures.show(table.score))}</td></tr>\n</tfoot>\n</table>\n</div>\n'


def _notes(table: Explanation, figures: Figures) -> Iterator[str]:
    shown = table.contributions
    printed = sum(float(figures.show(value)) for value in shown.ravel().tolist()) / figures.factor
    yield (
        "<footer>\n<p>The model's vector of a text is the mean of its tokens' vectors, so the similarity is exactly\n"
        "the sum of what all pairs of tokens contribute. Blue pairs make texts similar, orange ones\n"
        "pull them apart.</p>"
    )
    yield (
        f"\n<p>Each number is rounded by itself, to {figures.step}: as printed, the {shown.size:,} cells add up to "
        f"{_minus(figures.show(printed))}, unrounded to {_minus(figures.show(table.score))}."
    )
    yield "</p>\n"
    for which, side in (("first", table.a), ("second", table.b)):
        if side.folded:
            yield (
                f"<p>Of the {which} text's {len(side.pieces) - 1 + side.folded:,} {table.unit}s, the {side.folded:,} "
                f"whose sums are closest to zero are one {'row' if which == 'first' else 'column'}, the last.</p>\n"
            )
    yield "</footer>\n"


def _headings(side: Side) -> list[tuple[str, bool]]:
    """What to write at the rows or columns, and whether each stands for many."""
    labels = [piece.label for piece in side.pieces]
    short = [label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…" for label in labels]
    return [(label, bool(side.folded) and index == len(short) - 1) for index, label in enumerate(short)]


def _heading(scope: str, heading: tuple[str, bool]) -> str:
    label, folded = heading
    kind = ' class="folded"' if folded else ""
    return f'<th scope="{scope}"{kind} title="{escape(label)}"><span dir="auto">{escape(label)}</span></th>'


def _colour(contribution: float, largest: float) -> str:
    """The attributes of a cell that colour it."""
    strength = abs(contribution) / largest if largest else 0.0
    if strength < _FAINTEST:
        return ""
    return f' class="{"p" if contribution > 0 else "n"}" style="--s:{strength:.2f}"'


def _unfolded(table: Explanation) -> Floats:
    """The contributions of pairs that are two tokens or words, and not all others together."""
    rows, columns = (len(side.pieces) - bool(side.folded) for side in (table.a, table.b))
    return table.contributions[:rows, :columns]


def _largest(values: Floats) -> float:
    return float(np.abs(values).max())


def _minus(number: str) -> str:
    """A number with a minus sign, which is read aloud, instead of a hyphen."""
    return number.replace("-", "\N{MINUS SIGN}")

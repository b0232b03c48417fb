"""``wordllama-st explain``: the tokens that make two texts similar, as text, as an HTML page and as JSON."""

from __future__ import annotations

import argparse
from pathlib import Path

from wordllama_st.cli.options import Commands, add_overwrite, command, positive
from wordllama_st.errors import ArgumentError


def add_command(commands: Commands) -> None:
    """Declare the command."""
    what = "Explain the similarity of two texts by what each pair of their tokens contributes"
    description = f"{what}, exactly and without torch. Put -- before a text that begins with a dash."
    parser = command(commands, "explain", "see why two texts are similar", description)
    add = parser.add_argument
    add("model", help="directory of a static model, a released model's name, or a Hub id")
    add("text_a", metavar="text-a", help="a text")
    add("text_b", metavar="text-b", help="the text it is compared with")
    add("--dim", type=int, help="Matryoshka dim to compare at (default: the model's own)")
    prompts = "prompt of both texts; given twice, of each"
    add("--prompt-name", action="append", default=[], metavar="NAME", help=prompts)
    add("--words", action="store_true", help="explain by word instead of by token")
    add("--top", type=positive, default=10, metavar="N", help="pairs to list of each sign (default: 10)")
    add("--html", type=Path, metavar="FILE", help="write a heat map whose cells add up to the score")
    add("--json", type=Path, metavar="FILE", help="write the heat map's numbers as JSON")
    add_overwrite(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Explain the similarity of two texts."""
    from wordllama_st.analysis import explain
    from wordllama_st.storage.staging import check_output_file, write_text

    for path in filter(None, (options.html, options.json)):
        check_output_file(path, overwrite=options.overwrite)
    if options.html and options.json and options.html.absolute() == options.json.absolute():
        raise ArgumentError(f"The heat map and the JSON cannot both be {options.html}; choose another name for one.")
    if len(options.prompt_name) > 2:
        raise ArgumentError(f"There are two texts, and {len(options.prompt_name)} prompt names; give one or two.")
    first, second = (options.prompt_name * 2 or [None] * 2)[:2]
    explanation = explain(
        options.model, options.text_a, options.text_b, prompt_name_a=first, prompt_name_b=second, dim=options.dim
    )
    if options.words:
        explanation = explanation.by_word()
    print(explanation.to_text(options.top))
    for path, write in ((options.html, explanation.to_html), (options.json, lambda: explanation.to_json() + "\n")):
        if path:
            write_text(path, write())
            print(path)

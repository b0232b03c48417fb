"""The ``finetune`` command: a static model, released or baked, is trained further, every row of its table."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from wordllama_st.cli.train import read_all, train_and_report
from wordllama_st.modules import Binarize
from wordllama_st.storage.staging import check_output
from wordllama_st.training.static_model import load_trainable, save_static_model


def run(options: argparse.Namespace, echo: Callable[[str], None]) -> None:
    """Run the command with its parsed options; ``echo`` takes each line of the report.

    Raises:
        DatasetError: If the data cannot be read, or has no usable columns.
        ModelLoadError: If the model is no static model.
        OutputExistsError: If the output exists.
    """
    check_output(options.out, overwrite=options.overwrite)
    data = read_all(options)
    model = load_trainable(options.model)
    if options.binary:
        model.append(Binarize())
    rows = sum(len(part.rows) for part in data.values())
    train_and_report(model, data, options, echo, stay_close=options.stay_close)
    made_from = [
        f"{options.model}, every row of its table",
        f"Fine-tuned on {rows:,} rows of {', '.join(options.datasets)}, held to its start with strength "
        f"{options.stay_close:g}",
    ]
    save_static_model(model, options.out, made_from, overwrite=options.overwrite)
    echo(f"Saved {options.out}. Use it: SentenceTransformer({str(options.out)!r})")

"""The ``adapt`` command: a static model learns a folder of documents, with no labels, and shows whether it helped."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from wordllama_st.data.datasets import TrainingData
from wordllama_st.data.documents import (
    hold_out_documents,
    make_pairs,
    read_documents,
    summarize_documents,
    summarize_pairs,
    summarize_split,
)
from wordllama_st.data.documents.pairs import training_data
from wordllama_st.storage.staging import check_output
from wordllama_st.training.static_model import load_trainable, save_static_model
from wordllama_st.training.supervised import mean_score, retrieval_scores, train_supervised
from wordllama_st.training.trainer import since


def run(options: argparse.Namespace, echo: Callable[[str], None]) -> None:
    """Run the command with its parsed options; ``echo`` takes each line of the report.

    Raises:
        DocumentError: If the folder has nothing usable, or too little.
        ModelLoadError: If the model is no static model.
        OutputExistsError: If the output exists.
    """
    check_output(options.out, overwrite=options.overwrite)
    model = load_trainable(options.model)
    documents = read_documents(options.folder, show_progress_bar=True)
    pairs = make_pairs(documents.documents)
    split = hold_out_documents(pairs.pairs, options.hold_out, options.seed)
    for line in (*summarize_documents(documents), *summarize_pairs(pairs), summarize_split(split)):
        echo(line)
    data, held_out = training_data(split.train), training_data(split.held_out)
    before = retrieval_scores(model, held_out)
    clock = time.perf_counter()
    train_supervised(
        model,
        data,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        stay_close=options.stay_close,
        seed=options.seed,
    )
    echo(f"Training    {since(clock)}\n")
    for line in _comparison(held_out, before, retrieval_scores(model, held_out)):
        echo(line)
    made_from = [
        f"{options.model}, every row of its table",
        f"Adapted to {len(documents.documents):,} documents: {len(split.train):,} pairs formed from their structure, "
        f"held to its start with strength {options.stay_close:g}",
    ]
    save_static_model(model, options.out, made_from, overwrite=options.overwrite)
    echo(f"\nSaved {options.out}. Use it: SentenceTransformer({str(options.out)!r})")


def _comparison(parts: dict[str, TrainingData], before: dict[str, float], after: dict[str, float]) -> list[str]:
    lines = [f"{'held-out retrieval, nDCG@10':<28}{'pairs':>7}{'before':>9}{'after':>8}"]
    for name, part in parts.items():
        change = f"{after[name] / before[name] - 1:>+8.0%}" if before[name] else ""
        lines.append(f"{name:<28}{len(part.rows):>7,}{before[name]:>9.3f}{after[name]:>8.3f}{change}")
    was, now = mean_score(parts, before), mean_score(parts, after)
    verdict = "It helped." if now > was else "It did not help: keep the model as it was."
    return [*lines, f"{'mean':<35}{was:>9.3f}{now:>8.3f}{now / was - 1:>+8.0%}" if was else "", verdict]

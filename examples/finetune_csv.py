"""Fine-tune a released model on a CSV of pairs, bake the result, and load it with the stock class.

    pip install "wordllama-st[train]"
    python examples/finetune_csv.py                # on a CSV made of docstrings: what a function does, and the details
    python examples/finetune_csv.py faq.csv --out faq-embedder      # on yours, of two columns that belong together

Nothing is fetched: the model is in the installed wordllama package. The same in the shell: `wordllama-st train
wordllama-l2-supercat-256 faq.csv --out faq-model`, then `wordllama-st bake faq-model --out faq-embedder`.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import cast

from sentence_transformers import SentenceTransformer

import wordllama_st
from wordllama_st import Codebook, bake, build_model
from wordllama_st.data.datasets import read_training_data
from wordllama_st.data.docstrings import harvest, installed_packages
from wordllama_st.training.supervised import hold_out_rows, make_evaluator, train_supervised

MODEL = "wordllama-l2-supercat-256"
#: Docstrings of each package.
EACH = 100


def write_csv(path: Path, rows: int) -> None:
    """Make a CSV of docstrings: their first sentences, and what comes behind."""
    docstrings = (found for folder in installed_packages().values() for found in harvest(folder, limit=EACH))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        for _, docstring in zip(range(rows), docstrings, strict=False):
            writer.writerow([docstring.summary, docstring.body])


def main() -> None:
    """Train on nine tenths of the rows; show before and after on the last tenth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, nargs="?", help="a CSV with two columns of text and a header")
    parser.add_argument("--out", type=Path, help="where to save the baked model (default: nowhere that lasts)")
    parser.add_argument("--rows", type=int, default=2000, help="of the CSV that is made (default: %(default)s)")
    parser.add_argument("--epochs", type=float, default=3, help="times to go over it (default: %(default)s)")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.csv or Path(scratch, "docstrings.csv")
        if arguments.csv is None:
            write_csv(path, arguments.rows)
        rows, held_out = hold_out_rows(read_training_data(str(path)), share=0.1)
        print(f"{path.name}: {len(rows.rows):,} pairs to train on, {len(held_out.rows):,} held out")

        # The released model is the token table, and where training begins.
        model = build_model(Codebook.from_pretrained(MODEL), dim=256, initialize="identity")
        train_supervised(model, rows, epochs=arguments.epochs)
        output = arguments.out or Path(scratch, "embedder")
        bake(model, output)

        wordllama_st.register()
        models = {"before": SentenceTransformer(MODEL), "after": SentenceTransformer(str(output))}
        evaluate = make_evaluator(held_out, "held-out")
        for label, loaded in models.items():
            scores = cast(dict[str, float], evaluate(loaded))
            found, rank = (scores[f"held-out_cosine_{metric}"] for metric in ("recall@10", "mrr@10"))
            print(f"{label:8} recall@10 {found:.3f}   MRR@10 {rank:.3f}")
        if arguments.out:
            print(f"Saved: SentenceTransformer({str(output)!r})")


if __name__ == "__main__":
    main()

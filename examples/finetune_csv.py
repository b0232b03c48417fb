"""Train a released model further on a CSV of pairs, bake the result, and load it with the stock class.

    pip install "wordllama-st[train]"
    python examples/finetune_csv.py                             # on a CSV of docstrings: their summaries and bodies
    python examples/finetune_csv.py faq.csv --out faq-embedder  # on your CSV: two columns of texts that belong together

No network is needed: the model is in the installed wordllama package. In the shell, the same is `wordllama-st train
wordllama-l2-supercat-256 faq.csv --out faq-model` and `wordllama-st bake faq-model --out faq-embedder`.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

from sentence_transformers import SentenceTransformer

from wordllama_st import bake, train
from wordllama_st.data.docstrings import extract_docstrings, installed_packages

MODEL = "wordllama-l2-supercat-256"
#: The most docstrings of one package.
EACH = 100


def write_csv(path: Path, rows: int) -> None:
    """Write a CSV of docstrings: their first sentences, and what follows."""
    docstrings = (found for folder in installed_packages().values() for found in extract_docstrings(folder, limit=EACH))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        for _, docstring in zip(range(rows), docstrings, strict=False):
            writer.writerow([docstring.summary, docstring.body])


def main() -> None:
    """Train on nine tenths of the rows, and print retrieval on the held-out tenth before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, nargs="?", help="a CSV with two columns of text and a header")
    parser.add_argument("--out", type=Path, help="where to save the baked model (default: a temporary directory)")
    parser.add_argument("--rows", type=int, default=2000, help="of the CSV that is made (default: %(default)s)")
    parser.add_argument("--epochs", type=float, default=3, help="passes over it (default: %(default)s)")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.csv or Path(scratch, "docstrings.csv")
        if arguments.csv is None:
            write_csv(path, arguments.rows)
        # The released model is the token table, and where training begins.
        result = train(MODEL, path, epochs=arguments.epochs)
        (data,) = result.report.datasets
        print(f"{path.name}: {data.rows - data.held_out:,} pairs to train on, {data.held_out:,} held out")
        recall, rank = (score for score in result.report.scores if "256 dims" in score.metric)
        print(f"before   recall@10 {recall.before:.3f}   MRR@10 {rank.before:.3f}")
        print(f"after    recall@10 {recall.after:.3f}   MRR@10 {rank.after:.3f}")

        output = arguments.out or Path(scratch, "embedder")
        bake(result.model, output)
        print(f"Baked: {SentenceTransformer(str(output))!r}")
        if arguments.out:
            print(f"Saved: SentenceTransformer({str(output)!r})")


if __name__ == "__main__":
    main()

"""Contrastive and scored data together, with hard negatives, for embeddings that are signs: fine-tuning in Python.

    pip install "wordllama-st[train]"
    python examples/mixed_training.py [--rows 2000] [--out mixed]

Pairs are the summary lines and bodies of docstrings, with hard negatives that the library mines; scored pairs say that
two docstrings of one package are rather alike, and two of different packages are not. `Binarize` trains their signs.
"""

from __future__ import annotations

import argparse
import random
from itertools import pairwise

from datasets import Dataset

from wordllama_st import Binarize
from wordllama_st.data.datasets import Kind, TrainingData
from wordllama_st.data.docstrings import Docstring, harvest, installed_packages
from wordllama_st.training.hard_negatives import add_hard_negatives
from wordllama_st.training.static_model import save_static_model, static_model_from_pretrained
from wordllama_st.training.supervised import hold_out_rows, make_evaluator, train_supervised

MODEL = "wordllama-l2-supercat-256"
#: Docstrings of each package at the most.
EACH = 100
#: How alike two docstrings are taken to be: of one package and of two.
RELATED, UNRELATED = 0.5, 0.0


def scored(docstrings: list[Docstring]) -> TrainingData:
    """Neighbours in a package, and strangers."""
    strangers = random.Random(1).sample(docstrings, len(docstrings))
    rows = [(a, b, RELATED if a.package == b.package else UNRELATED) for a, b in pairwise(docstrings)]
    rows += [(a, b, UNRELATED) for a, b in zip(docstrings, strangers, strict=True) if a.package != b.package]
    columns = {
        "sentence1": [a.summary for a, _, _ in rows],
        "sentence2": [b.summary for _, b, _ in rows],
        "score": [score for _, _, score in rows],
    }
    return TrainingData(Dataset.from_dict(columns), Kind.SCORED_PAIRS, "related")


def main() -> None:
    """Train on both, and score the signs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--out", default="mixed")
    options = parser.parse_args()

    found = [docstring for folder in installed_packages().values() for docstring in harvest(folder, limit=EACH)]
    chosen = [
        found[index] for index in sorted(random.Random(0).sample(range(len(found)), min(options.rows, len(found))))
    ]
    columns = {"anchor": [one.summary for one in chosen], "positive": [one.body for one in chosen]}
    pairs, held_out = hold_out_rows(TrainingData(Dataset.from_dict(columns), Kind.PAIRS, "pairs"), 0.1)

    model = static_model_from_pretrained(MODEL)
    triplets = add_hard_negatives(model, pairs, 2)
    print(f"{len(triplets.rows):,} of {len(pairs.rows):,} pairs have 2 hard negatives")
    model.append(Binarize())
    evaluator = make_evaluator(held_out, "signs")
    before = evaluator(model)["signs_cosine_recall@10"]
    train_supervised(model, {"triplets": triplets, "related": scored(chosen)}, stay_close=30)
    print(f"recall@10 by signs: {before:.3f} before, {evaluator(model)['signs_cosine_recall@10']:.3f} after")
    save_static_model(
        model, options.out, [MODEL, "Trained on pairs with hard negatives and on scored pairs"], overwrite=True
    )
    print(f'Saved. SentenceTransformer("{options.out}").encode(texts, precision="ubinary") gives 32 bytes a text.')


if __name__ == "__main__":
    main()

"""Fine-tuning in Python on pairs with hard negatives and on scored pairs together, for sign embeddings.

    pip install "wordllama-st[train]"
    python examples/mixed_training.py [--rows 2000] [--out mixed]

Pairs are the first lines and bodies of docstrings, with mined hard negatives; scored pairs say that two docstrings of
one package are similar, and two of different packages are not. Sign embeddings are trained.
"""

from __future__ import annotations

import argparse
import random
from itertools import pairwise

from datasets import Dataset

from wordllama_st import finetune
from wordllama_st.data.docstrings import Docstring, extract_docstrings, installed_packages

MODEL = "wordllama-l2-supercat-256"
#: The most docstrings of one package.
EACH = 100
#: The similarity of two docstrings of one package, and of two packages.
RELATED, UNRELATED = 0.5, 0.0


def scored(docstrings: list[Docstring]) -> Dataset:
    """Make scored pairs: neighbours in a package, and docstrings of different packages."""
    strangers = random.Random(1).sample(docstrings, len(docstrings))
    rows = [(a, b, RELATED if a.package == b.package else UNRELATED) for a, b in pairwise(docstrings)]
    rows += [(a, b, UNRELATED) for a, b in zip(docstrings, strangers, strict=True) if a.package != b.package]
    columns = {
        "sentence1": [a.summary for a, _, _ in rows],
        "sentence2": [b.summary for _, b, _ in rows],
        "score": [score for _, _, score in rows],
    }
    return Dataset.from_dict(columns)


def main() -> None:
    """Train on both, and score sign embeddings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--out", default="mixed")
    options = parser.parse_args()

    found = [
        docstring for folder in installed_packages().values() for docstring in extract_docstrings(folder, limit=EACH)
    ]
    chosen = [
        found[index] for index in sorted(random.Random(0).sample(range(len(found)), min(options.rows, len(found))))
    ]
    pairs = Dataset.from_dict({"anchor": [one.summary for one in chosen], "positive": [one.body for one in chosen]})

    data = [pairs, scored(chosen)]
    report = finetune(MODEL, data, options.out, mine_negatives=2, binary=True, overwrite=True).report
    first, recall = report.datasets[0], report.scores[0]
    print(f"{first.mined:,} of {first.rows - first.held_out:,} pairs have 2 hard negatives")
    print(f"recall@10 by signs: {recall.before:.3f} before, {recall.after:.3f} after")
    print(f'Saved. SentenceTransformer("{options.out}").encode(texts, precision="ubinary") gives 32 bytes a text.')


if __name__ == "__main__":
    main()

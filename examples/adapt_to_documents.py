"""Adaptation in Python: a released model learns a folder of documents, with no labels.

    pip install "wordllama-st[train,documents]"
    python examples/adapt_to_documents.py [folder] [--out adapted]

Pairs are formed from the documents' own structure, and some documents are held out. Without a folder, the documents are
the sources of the installed networkx.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wordllama_st.data.docstrings import installed_packages
from wordllama_st.data.documents import (
    hold_out_documents,
    make_pairs,
    read_documents,
    summarize_documents,
    summarize_pairs,
    summarize_split,
)
from wordllama_st.data.documents.pairs import training_data
from wordllama_st.training.static_model import save_static_model, static_model_from_pretrained
from wordllama_st.training.supervised import retrieval_scores, train_supervised

MODEL = "wordllama-l2-supercat-256"


def main() -> None:
    """Adapt, and tell whether it helped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=installed_packages()["networkx"])
    parser.add_argument("--out", default="adapted")
    options = parser.parse_args()

    documents = read_documents(options.folder)
    pairs = make_pairs(documents.documents)
    split = hold_out_documents(pairs.pairs)
    print("\n".join([*summarize_documents(documents), *summarize_pairs(pairs), summarize_split(split)]))

    data, held_out = training_data(split.train), training_data(split.held_out)
    model = static_model_from_pretrained(MODEL)
    before = retrieval_scores(model, held_out)["mean"]
    train_supervised(
        model, data, stay_close=30
    )  # every row; held to where it started, since the rest of the language goes on
    after = retrieval_scores(model, held_out)["mean"]
    print(
        f"Finding what belongs together among the held-out documents, nDCG@10: {before:.3f} before, {after:.3f} after"
    )
    save_static_model(model, options.out, [MODEL, f"Adapted to {options.folder.name}"], overwrite=True)
    print(f'Saved. SentenceTransformer("{options.out}") loads it.')


if __name__ == "__main__":
    main()

"""Adaptation in Python: a released model is adapted to a folder of documents, without labels.

    pip install "wordllama-st[train,documents]"
    python examples/adapt_to_documents.py [folder] [--out adapted]

Pairs are formed from the documents' structure, and some documents are held out. Without a folder, the documents are the
sources of the installed networkx.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wordllama_st import adapt
from wordllama_st.data.docstrings import installed_packages

MODEL = "wordllama-l2-supercat-256"


def main() -> None:
    """Adapt, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=installed_packages()["networkx"])
    parser.add_argument("--out", default="adapted")
    options = parser.parse_args()

    report = adapt(MODEL, options.folder, options.out, overwrite=True).report
    print(report)
    print(f"nDCG@10 among the held-out documents: {report.mean.before:.3f} before, {report.mean.after:.3f} after")
    print(f'Saved. SentenceTransformer("{options.out}") loads it.')


if __name__ == "__main__":
    main()

"""Search the docstrings of the installed packages with a released model in the stock class.

    pip install "wordllama-st[st]"
    python examples/semantic_search.py "read a table from a text file" "split a string into words"

No network is needed: the model is in the installed wordllama package.
"""

from __future__ import annotations

import argparse
from textwrap import shorten

from sentence_transformers import SentenceTransformer
from sentence_transformers.util import semantic_search

import wordllama_st
from wordllama_st.data.docstrings import extract_docstrings, installed_packages

QUESTIONS = ("read a table from a text file", "retry when the connection fails", "check that the input is valid")
#: The most docstrings of one package.
EACH = 100


def main() -> None:
    """Encode the docstrings, then find those nearest to each question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", default=QUESTIONS, help="what to look for")
    parser.add_argument("--packages", type=int, default=50, help="how many packages to search (default: %(default)s)")
    arguments = parser.parse_args()

    folders = list(installed_packages().values())[: arguments.packages]
    docstrings = [docstring for folder in folders for docstring in extract_docstrings(folder, limit=EACH)]

    wordllama_st.register()  # the stock class accepts the name from here on
    model = SentenceTransformer("wordllama-l2-supercat-256", device="cpu")
    corpus = model.encode(
        [f"{docstring.summary} {docstring.body}" for docstring in docstrings], batch_size=256, convert_to_tensor=True
    )
    print(f"{len(docstrings):,} docstrings of {len(folders)} packages, {corpus.shape[1]} dimensions")

    questions = model.encode(list(arguments.questions), convert_to_tensor=True)
    for question, hits in zip(arguments.questions, semantic_search(questions, corpus, top_k=3), strict=True):
        print(f"\n{question}")
        for hit in hits:
            found = docstrings[int(hit["corpus_id"])]
            line = f"{found.package} {found.name}: {found.summary}"
            print(f"  {hit['score']:.2f}  {shorten(line, 100, placeholder=' …')}")


if __name__ == "__main__":
    main()

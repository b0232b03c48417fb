"""Score a static model with mteb, on a task over the docstrings of the installed packages.

    pip install "wordllama-st[st]" mteb
    python examples/evaluate_with_mteb.py [model]

mteb takes any SentenceTransformer, and a baked model is one. The tasks of mteb are on the Hub and are run by their
names: ``mteb.evaluate(model, mteb.get_tasks(["STS12"]))``. This task needs no network: find the body of a docstring,
given its summary line.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any

import mteb
from datasets import Dataset
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from sentence_transformers import SentenceTransformer

import wordllama_st
from wordllama_st.data.docstrings import extract_docstrings, installed_packages

#: The most docstrings of one package.
EACH = 100


class DocstringRetrieval(AbsTaskRetrieval):
    """A retrieval task over docstrings of the installed packages."""

    metadata = TaskMetadata(
        name="DocstringRetrieval",
        description="From the summary line of a docstring to its body.",
        dataset={"path": "local/docstrings", "revision": "1"},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )
    #: How many packages to read, and how many docstrings were found.
    packages, found = 40, 0

    def load_data(self, num_proc: int | None = None, **options: Any) -> None:
        """Read the docstrings. Other tasks download a dataset here."""
        folders = list(installed_packages().values())[: self.packages]
        docstrings = [docstring for folder in folders for docstring in extract_docstrings(folder, limit=EACH)]
        self.found = len(docstrings)
        ids = [str(number) for number in range(self.found)]
        data = RetrievalSplitData(
            corpus=Dataset.from_dict({"id": ids, "text": [docstring.body for docstring in docstrings]}),
            queries=Dataset.from_dict({"id": ids, "text": [docstring.summary for docstring in docstrings]}),
            relevant_docs={number: {number: 1} for number in ids},
            top_ranked=None,
        )
        self.dataset = {"default": {"test": data}}
        self.data_loaded = True


def main() -> None:
    """Load a model with the stock class, evaluate it with mteb, and print its scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="wordllama-l2-supercat-256", help="default: %(default)s")
    parser.add_argument("--packages", type=int, default=40, help="how many packages to read (default: %(default)s)")
    arguments = parser.parse_args()

    logging.getLogger("mteb").setLevel(logging.CRITICAL)  # it looks for a transformer's parameters, and finds none
    wordllama_st.register()  # for the released models' names; a baked model's directory needs nothing
    model = SentenceTransformer(arguments.model, device="cpu")
    task = DocstringRetrieval()
    task.packages = arguments.packages
    results = mteb.evaluate(model, task, cache=None, encode_kwargs={"batch_size": 256}, show_progress_bar=False)
    (scores,) = results[0].scores["test"]
    print(f"{arguments.model}: {task.found:,} docstrings of {arguments.packages} packages")
    for metric in ("ndcg_at_10", "recall_at_10", "mrr_at_10"):
        print(f"{metric:<14}{scores[metric]:.4f}")


if __name__ == "__main__":
    main()

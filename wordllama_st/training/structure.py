"""Training on the structure of documents: pairs that they form, and retrieval among those of held-out documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from wordllama_st.data.documents import hold_out_documents, make_pairs, read_documents
from wordllama_st.data.documents.pairs import pairs_to_training_data
from wordllama_st.training.report import AdaptationReport, ScoreChange
from wordllama_st.training.supervised import retrieval_scores, train_supervised


def train_on_structure(
    model: SentenceTransformer,
    folder: str | Path,
    *,
    hold_out: float,
    seed: int,
    show_progress_bar: bool | None,
    **arguments: Any,
) -> AdaptationReport:
    """Train a static model in place on pairs from a folder of documents, some of which are held out.

    The arguments are those of :func:`~wordllama_st.training.supervised.train_supervised`.

    Raises:
        DocumentError: If the folder has no usable documents, or too few.
    """
    documents = read_documents(folder, show_progress_bar=show_progress_bar)
    pairs = make_pairs(documents.documents)
    split = hold_out_documents(pairs.pairs, hold_out, seed)
    held_out = pairs_to_training_data(split.held_out)
    before = retrieval_scores(model, held_out)
    data = pairs_to_training_data(split.train)
    seconds = train_supervised(model, data, seed=seed, show_progress_bar=show_progress_bar, **arguments)
    after = retrieval_scores(model, held_out)
    *scores, mean = (ScoreChange(name, before[name], after[name]) for name in before)
    return AdaptationReport(documents, pairs, split, tuple(scores), mean, seconds)

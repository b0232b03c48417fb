"""Training of queries against the fixed vectors of the documents that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset
from sentence_transformers import SentenceTransformer

from wordllama_st.data.corpus import Corpus
from wordllama_st.errors import ArgumentError, DatasetError
from wordllama_st.static.similarity import normalized
from wordllama_st.training.batches import ShuffledBatches
from wordllama_st.training.losses import FixedVectorsLoss, L2SPLoss
from wordllama_st.training.processes import from_main_process, num_processes
from wordllama_st.training.report import DatasetReport, ScoreChange, TrainingReport
from wordllama_st.training.supervised import MIN_ROWS_TO_HOLD_OUT, default_batch_size, default_learning_rate
from wordllama_st.training.trainer import run_trainer


def train_on_vectors(
    model: SentenceTransformer,
    data: Corpus,
    name: str,
    *,
    columns: Sequence[str],
    hold_out: float,
    stay_close: float,
    epochs: float,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
    **arguments: Any,
) -> TrainingReport:
    """Train a static model of queries in place, and score it on queries that are held out.

    Args:
        model: The static model, D dimensions.
        data: n queries, and the vector of a document that answers each [n, D].
        name: What the report calls the data; its ``columns`` likewise.
        **arguments: Those of :func:`~wordllama_st.training.trainer.run_trainer`. The others are those of the recipes.

    Raises:
        ArgumentError: If the vectors have another dim than the model.
        DatasetError: If a query is empty, a vector is zero or not finite, or there are fewer than 2 rows.
    """
    assert data.vectors is not None
    vectors = np.asarray(data.vectors, np.float32)
    dim = model.get_embedding_dimension()
    if vectors.shape[1] != dim:
        raise ArgumentError(f"{name} has vectors of {vectors.shape[1]} dimensions, and the model's have {dim}.")
    lengths = np.linalg.norm(vectors, axis=1)
    for number, (query, length) in enumerate(zip(data.texts, lengths, strict=True), 1):
        if not query.strip():
            raise DatasetError(f"{name}, row {number}: the query is empty. Fill or drop it.")
        if not 0 < length < np.inf:
            raise DatasetError(f"{name}, row {number}: the vector is zero or not finite.")
    if len(vectors) < 2:
        raise DatasetError(f"{name} has {len(vectors)} row{'s' * (len(vectors) != 1)}; training compares rows.")
    vectors = normalized(vectors)
    order = np.random.default_rng(seed).permutation(len(vectors))
    count = max(1, round(hold_out * len(order))) if hold_out and len(order) >= MIN_ROWS_TO_HOLD_OUT else 0
    held_out, rows = order[:count], order[count:]
    before = from_main_process(_scores, model, data.texts, vectors, held_out)
    loss = FixedVectorsLoss(model, vectors)
    share = len(rows) // num_processes()
    seconds = run_trainer(
        model,
        {"queries": Dataset.from_dict({"query": [data.texts[row] for row in rows], "label": rows})},
        {"queries": L2SPLoss(loss, model, stay_close) if stay_close else loss},
        epochs=epochs,
        batch_size=min(share, batch_size or default_batch_size(share)),
        learning_rate=learning_rate or default_learning_rate(model),
        seed=seed,
        run={"closeness": stay_close},
        batch_sampler=ShuffledBatches,  # what is twice in a batch is masked
        **arguments,
    )
    after = from_main_process(_scores, model, data.texts, vectors, held_out)
    scores = tuple(ScoreChange(metric, before[metric], after[metric]) for metric in after)
    what = "FixedVectorsLoss, in-batch negatives"
    described = DatasetReport(name, "queries with vectors", len(vectors), count, None, tuple(columns), (), what)
    return TrainingReport((described,), scores, seconds)


def _scores(
    model: SentenceTransformer, queries: Sequence[str], vectors: npt.NDArray[np.float32], held_out: npt.NDArray[np.intp]
) -> dict[str, float]:
    """Score how held-out queries find their vector among all different ones."""
    if not len(held_out):
        return {}
    encoded = model.encode([queries[row] for row in held_out], normalize_embeddings=True, show_progress_bar=False)
    scores = encoded @ np.unique(vectors, axis=0).T
    right = (encoded * vectors[held_out]).sum(axis=1, keepdims=True)
    ranks = 1 + (scores > right + 1e-6).sum(axis=1)  # the two products may differ in the last digit
    return {"recall@10": float((ranks <= 10).mean()), "MRR@10": float(np.where(ranks <= 10, 1 / ranks, 0).mean())}

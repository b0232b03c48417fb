"""Supervised training on pairs, triplets and scored pairs, with the losses and evaluators of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
)
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from sentence_transformers.util import cos_sim
from torch import nn

from wordllama_st.data.datasets import SCORE, Kind, TrainingData, infer_training_data, read_training_data
from wordllama_st.errors import ArgumentError, DatasetError
from wordllama_st.modules import Binarize
from wordllama_st.training.checkpoints import last_complete_checkpoint
from wordllama_st.training.hard_negatives import add_hard_negatives
from wordllama_st.training.losses import GatheredCoSENTLoss, L2SPLoss, MatryoshkaRankingLoss
from wordllama_st.training.processes import from_main_process, num_processes
from wordllama_st.training.report import DatasetReport, ScoreChange, TrainingReport
from wordllama_st.training.static_model import embedding_weight, is_static_model
from wordllama_st.training.trainer import run_trainer

#: A file, the id of a Hub dataset, or a dataset in memory.
DatasetSource: TypeAlias = str | Path | Dataset

#: The default strength of L2-SP for a static model, found by measuring.
STAY_CLOSE = 30.0
#: Far above a transformer's: one linear layer and one weight per token are trained.
PROJECTION_LEARNING_RATE = 1e-3
#: Of the rows of a table, relative to its root mean square: Adam's steps do not scale with the table, and tables differ
#: in scale by a factor of fifteen.
RELATIVE_ROWS_LEARNING_RATE = 0.05
SMALLEST_MATRYOSHKA_DIM = 64
#: With fewer rows than this, none are held out: a score on one or two says nothing.
MIN_ROWS_TO_HOLD_OUT = 20
#: The evaluators' metrics that are reported of each kind of data, and their names for people.
_RETRIEVAL = {"cosine_recall@10": "recall@10", "cosine_mrr@10": "MRR@10"}
_METRICS = {
    Kind.PAIRS: _RETRIEVAL,
    Kind.TRIPLETS: _RETRIEVAL,
    Kind.SCORED_PAIRS: {"spearman_cosine": "Spearman correlation"},
}


def as_list(sources: DatasetSource | Sequence[DatasetSource]) -> list[DatasetSource]:
    """Return one source or several as a list."""
    return [sources] if isinstance(sources, (str, Path, Dataset)) else list(sources)


def read_datasets(
    sources: DatasetSource | Sequence[DatasetSource], columns: Sequence[str] | None = None, split: str = "train"
) -> dict[str, TrainingData]:
    """Read one dataset or several, by name: of a file its stem, if the stems differ.

    Raises:
        DatasetError: If one cannot be read, or has no usable columns.
        ArgumentError: If one is named twice, or there are none.
    """
    listed = as_list(sources)
    names = [f"dataset {i}" if isinstance(source, Dataset) else str(source) for i, source in enumerate(listed, 1)]
    if not names:
        raise ArgumentError("There are no datasets to train on.")
    if len(set(names)) < len(names):
        raise ArgumentError(f"A dataset is named twice in {', '.join(names)}.")
    stems = [Path(name).stem for name in names]
    return {
        key: infer_training_data(source, columns, name)
        if isinstance(source, Dataset)
        else read_training_data(name, columns, split)
        for key, name, source in zip(stems if len(set(stems)) == len(stems) else names, names, listed, strict=True)
    }


def matryoshka_dims(dim: int) -> list[int]:
    """Return ``dim`` and its halves down to 64."""
    dims = [dim]
    while dims[-1] % 2 == 0 and dims[-1] // 2 >= SMALLEST_MATRYOSHKA_DIM:
        dims.append(dims[-1] // 2)
    return dims


def check_dims(dims: Sequence[int] | None, width: int) -> list[int]:
    """Return the Matryoshka dims to train at, those of :func:`matryoshka_dims` if none are given.

    Raises:
        ArgumentError: If one is larger than the model's.
    """
    dims = list(dims or matryoshka_dims(width))
    if max(dims) > width:
        raise ArgumentError(f"The model's vectors have {width} dimensions; they cannot be trained at {max(dims)}.")
    return dims


def default_batch_size(rows: int) -> int:
    """Return 256, or fewer for little data: an epoch of one or two steps trains nothing."""
    return min(256, max(8, rows // 20))


def default_learning_rate(model: SentenceTransformer) -> float:
    """Return the learning rate that suits a projection, or the rows of a static model's table."""
    if not is_static_model(model):
        return PROJECTION_LEARNING_RATE
    return RELATIVE_ROWS_LEARNING_RATE * float(embedding_weight(model).detach().float().square().mean().sqrt())


def make_loss(model: SentenceTransformer, kind: Kind, dims: Sequence[int]) -> nn.Module:
    """Make the loss for a kind of data, at several Matryoshka dims (Kusupati et al., NeurIPS 2022).

    CoSENTLoss depends on the order of the scores only, so that any scale will do. Each text is compared with those of
    all processes.
    """
    if kind is not Kind.SCORED_PAIRS:
        return MatryoshkaRankingLoss(model, dims)
    loss = GatheredCoSENTLoss(model)
    return MatryoshkaLoss(model, loss, matryoshka_dims=list(dims)) if len(dims) > 1 else loss


def describe_loss(kind: Kind, dims: Sequence[int]) -> str:
    """Describe the loss of :func:`make_loss` in words."""
    name = "CoSENTLoss" if kind is Kind.SCORED_PAIRS else "MultipleNegativesRankingLoss"
    negatives = {Kind.PAIRS: ", in-batch negatives", Kind.TRIPLETS: ", in-batch and given negatives"}.get(kind, "")
    return name + negatives + (f"; Matryoshka dims {', '.join(map(str, dims))}" if len(dims) > 1 else "")


def make_evaluator(data: TrainingData, name: str = "held-out", truncate_dim: int | None = None) -> BaseEvaluator:
    """Make an evaluator of held-out rows: retrieval for pairs and triplets, similarity for scored pairs.

    For retrieval, the first column's texts are the queries and the second's the corpus.
    """
    first, second = (list(data.rows[column]) for column in data.text_columns[:2])
    if data.kind is Kind.SCORED_PAIRS:
        return EmbeddingSimilarityEvaluator(
            first, second, list(data.rows[SCORE]), main_similarity="cosine", name=name, truncate_dim=truncate_dim
        )
    return retrieval_evaluator(first, second, name=name, truncate_dim=truncate_dim)


def retrieval_scores(model: SentenceTransformer, parts: dict[str, TrainingData]) -> dict[str, float]:
    """Score retrieval among held-out pairs: find each anchor's text among all texts of its part.

    Returns:
        nDCG@10 by part; and, as ``"mean"``, over all pairs of all parts.
    """
    found = {name: cast(dict[str, float], make_evaluator(part, name)(model)) for name, part in parts.items()}
    scores = {name: of_part[f"{name}_cosine_ndcg@10"] for name, of_part in found.items()}
    rows = {name: len(part.rows) for name, part in parts.items()}
    mean = sum(scores[name] * rows[name] for name in parts) / sum(rows.values())
    return scores | {"mean": mean}


def similarity_scores(model: SentenceTransformer, files: Sequence[TrainingData]) -> dict[str, float]:
    """Correlate a model's cosines with the scores of scored pairs, by Spearman, for each file."""
    found = {data.name: cast(dict[str, float], make_evaluator(data)(model)) for data in files}
    return {f"Spearman, {name}": scores["held-out_spearman_cosine"] for name, scores in found.items()}


def _evaluate(model: SentenceTransformer, held_out: dict[str, TrainingData], dims: Sequence[int]) -> dict[str, float]:
    """Score a model on held-out rows at each dim; the evaluators record the scores in its model card too."""
    found: dict[str, float] = {}
    for part_name, part in held_out.items():
        label, prefix = (f"held-out-{part_name}", f"{part_name}: ") if len(held_out) > 1 else ("held-out", "")
        for dim in dims:
            name = f"{label}-{dim}"
            scores = cast(dict[str, float], make_evaluator(part, name, dim)(model))
            for metric, shown in _METRICS[part.kind].items():
                found[f"{prefix}{shown}, {dim} dims"] = scores[f"{name}_{metric}"]
    return found


def retrieval_evaluator(
    queries: Sequence[str], documents: Sequence[str], name: str, truncate_dim: int | None = None
) -> InformationRetrievalEvaluator:
    """Evaluate finding each query's document among all; of equal queries, each one's document is relevant."""
    corpus = {document: str(index) for index, document in enumerate(dict.fromkeys(documents))}
    relevant: dict[str, set[str]] = {}
    for query, document in zip(queries, documents, strict=True):
        relevant.setdefault(query, set()).add(corpus[document])
    return InformationRetrievalEvaluator(
        queries={query: query for query in relevant},
        corpus={index: document for document, index in corpus.items()},
        relevant_docs=relevant,
        accuracy_at_k=[1],
        precision_recall_at_k=[10],
        mrr_at_k=[10],
        ndcg_at_k=[10],
        map_at_k=[100],
        batch_size=256,
        name=name,
        truncate_dim=truncate_dim,
        score_functions={"cosine": cos_sim},
        main_score_function="cosine",
    )


def train_supervised(
    model: SentenceTransformer,
    data: TrainingData | dict[str, TrainingData],
    *,
    dims: Sequence[int] | None = None,
    epochs: float = 3,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    stay_close: float | None = None,
    **arguments: Any,
) -> float:
    """Train a projection and token weights, or every row of a static model's table, in place; return the seconds.

    The arguments are those of :mod:`wordllama_st.recipes` and of :func:`~wordllama_st.training.trainer.run_trainer`;
    ``stay_close`` is 30 for a static model if None.

    Raises:
        ArgumentError: If a Matryoshka dim is larger than the model's, or ``stay_close`` is given for a projection.
        TrainingError: If the checkpoints belong to another run, or training diverged.
    """
    parts = data if isinstance(data, dict) else {"data": data}
    width = model.get_embedding_dimension() or 1
    dims = check_dims(dims, width)
    losses = {name: make_loss(model, part.kind, dims) for name, part in parts.items()}
    if stay_close is None:
        stay_close = STAY_CLOSE if is_static_model(model) else 0.0
    if stay_close:
        if not is_static_model(model):
            raise ArgumentError("stay_close is for static models, whose rows are trained; this one has none.")
        losses = {name: L2SPLoss(loss, model, stay_close) for name, loss in losses.items()}
    return run_trainer(
        model,
        {name: part.rows for name, part in parts.items()},
        losses,
        epochs=epochs,
        batch_size=batch_size or default_batch_size(sum(len(part.rows) for part in parts.values()) // num_processes()),
        learning_rate=learning_rate or default_learning_rate(model),
        run={"Matryoshka dims": dims, "closeness": stay_close},
        **arguments,
    )


def hold_out_rows(
    data: TrainingData, share: float, limit: int = 2000, seed: int = 42
) -> tuple[TrainingData, TrainingData]:
    """Split rows off for evaluation, and return (the rest, the held-out rows)."""
    count = min(limit, max(1, round(len(data.rows) * share)))
    if len(data.rows) - count < 2:
        raise DatasetError(
            f"Holding out {count} of the {len(data.rows)} rows of {data.name} leaves too few to train on."
        )
    parts = data.rows.train_test_split(test_size=count, seed=seed)
    rest, held_out = (replace(data, rows=parts[split]) for split in ("train", "test"))
    return rest, held_out


def train_and_evaluate(
    model: SentenceTransformer,
    data: dict[str, TrainingData],
    *,
    hold_out: float,
    mine_negatives: int | None,
    dims: Sequence[int] | None,
    binary: bool,
    checkpoint_dir: str | Path | None,
    seed: int,
    **arguments: Any,
) -> TrainingReport:
    """Train a model in place, and compare it with its start on rows that are held out.

    Args:
        model: As for :func:`train_supervised`; with ``binary`` it gets a last ``Binarize``, unless it has one.
        data: Training data by name. From 20 rows on, a share of them is held out; hard negatives are mined for pairs.
        **arguments: The others of :func:`train_supervised`. Those that are not listed are those of the recipes.
    """
    if binary and not isinstance(model[-1], Binarize):
        model.append(Binarize())
    dims = check_dims(dims, model.get_embedding_dimension() or 1)
    train, held_out, reports = {}, {}, []
    for name, part in data.items():
        train[name] = part
        if hold_out and len(part.rows) >= MIN_ROWS_TO_HOLD_OUT:
            train[name], held_out[name] = hold_out_rows(part, hold_out, seed=seed)
        mined = bool(mine_negatives) and (part.kind is Kind.PAIRS or len(data) == 1)
        if mined and mine_negatives:
            train[name] = from_main_process(add_hard_negatives, model, train[name], mine_negatives)
        reports.append(
            DatasetReport(
                name=part.name,
                kind=part.kind.value,
                rows=len(part.rows),
                held_out=len(held_out[name].rows) if name in held_out else 0,
                mined=len(train[name].rows) if mined else None,
                columns=part.used,
                ignored=part.ignored,
                loss=describe_loss(train[name].kind, dims),
            )
        )
    before = from_main_process(_evaluate, model, held_out, dims)
    checkpoint = last_complete_checkpoint(Path(checkpoint_dir)) if checkpoint_dir else None
    seconds = train_supervised(model, train, dims=dims, checkpoint_dir=checkpoint_dir, seed=seed, **arguments)
    after = from_main_process(_evaluate, model, held_out, dims)
    scores = tuple(ScoreChange(metric, before[metric], after[metric]) for metric in after)
    return TrainingReport(tuple(reports), scores, seconds, checkpoint)

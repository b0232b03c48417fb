"""The ``train`` command: read the data, choose the loss, train, hold the result against its start, save it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator

from wordllama_st import models
from wordllama_st.build import build_model
from wordllama_st.checkpoints import last_complete
from wordllama_st.codebook import Codebook
from wordllama_st.data import Kind, read_training_data
from wordllama_st.errors import ArgumentError
from wordllama_st.formats import sentence_transformers as static_format
from wordllama_st.load import load_model
from wordllama_st.staging import staged_directory
from wordllama_st.training import describe_loss, hold_out, make_evaluator, matryoshka_dims, train

HELD_OUT = "held-out"
#: What is reported of each kind of data: the evaluator's metrics, and their names for people.
_RETRIEVAL = {"cosine_recall@10": "recall@10", "cosine_mrr@10": "MRR@10"}
REPORTED = {
    Kind.PAIRS: _RETRIEVAL,
    Kind.TRIPLETS: _RETRIEVAL,
    Kind.SCORED_PAIRS: {"spearman_cosine": "Spearman correlation"},
}
#: The options that say how a new model is built.
BUILDING = ("dim", "initialize", "token_weights", "hidden_features")
#: With fewer rows than this, none are held out: a score on one or two says nothing.
MIN_ROWS_TO_HOLD_OUT = 20


def train_and_save(options: argparse.Namespace, echo: Callable[[str], None]) -> None:
    """Run the command with its parsed options; ``echo`` takes each line of the report."""
    data = read_training_data(options.dataset, options.columns, options.split)
    model = _starting_model(options)
    dims = options.matryoshka_dims or matryoshka_dims(cast(int, model.get_embedding_dimension()))
    ignored = f"; not used: {', '.join(data.ignored)}" if data.ignored else ""
    echo(f"{data.name}: {len(data.rows):,} {data.kind.value} ({', '.join(data.used)}){ignored}")
    echo(f"Loss: {describe_loss(data.kind, dims)}")

    held_out = None
    if options.hold_out and len(data.rows) >= MIN_ROWS_TO_HOLD_OUT:
        data, held_out = hold_out(data, options.hold_out, seed=options.seed)
        echo(f"Held out for evaluation: {len(held_out.rows):,} rows")
    evaluators = {dim: make_evaluator(held_out, f"{HELD_OUT}-{dim}", dim) for dim in dims} if held_out else {}
    before = _evaluate(model, data.kind, evaluators)
    if options.checkpoint_dir and (checkpoint := last_complete(options.checkpoint_dir)):
        echo(f"Going on from {checkpoint}")
    start = time.perf_counter()
    train(
        model,
        data,
        dims=dims,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        checkpoint_dir=options.checkpoint_dir,
        bf16=options.bf16,
    )
    echo(f"Trained for {time.perf_counter() - start:.0f} s")
    for metric, score in _evaluate(model, data.kind, evaluators).items():
        echo(f"{metric:<28} before {before[metric]:.4f}   after {score:.4f}")
    with staged_directory(options.out, overwrite=options.overwrite) as staging:
        model.save_pretrained(str(staging), model_name=options.out.name)
    echo(f"Saved {options.out}. Next: wordllama-st bake {options.out} --out {options.out}-static")


def _starting_model(options: argparse.Namespace) -> SentenceTransformer:
    """A model over the codebook named, or one trained before, to be trained further."""
    source = Path(options.codebook)
    is_static = static_format.find(source) is not None
    if (source / static_format.MODULES_FILE).is_file() and not is_static:
        return _trained_before(source, options)
    codebook = Codebook.from_pretrained(source)
    is_embedder = is_static or models.is_released(codebook.provenance.source or "")
    start = {"initialize": "identity" if is_embedder else "pca", "max_seq_length": options.max_seq_length}
    given = {option: getattr(options, option) for option in BUILDING if getattr(options, option) is not None}
    return build_model(codebook, **(start | given))


def _trained_before(source: Path, options: argparse.Namespace) -> SentenceTransformer:
    for option in BUILDING:
        if getattr(options, option) is not None:
            raise ArgumentError(
                f"{source} is a trained model, to be trained further as it is; --{option.replace('_', '-')} is for "
                f"building a new one."
            )
    model = load_model(source)
    if options.max_seq_length is not None:
        model.max_seq_length = options.max_seq_length
    return model


def _evaluate(model: SentenceTransformer, kind: Kind, evaluators: dict[int, BaseEvaluator]) -> dict[str, float]:
    """Score a model on the held-out rows at every dim; the evaluators leave the scores in its model card too."""
    found: dict[str, float] = {}
    for dim, evaluator in evaluators.items():
        scores = cast(dict[str, float], evaluator(model))
        found |= {
            f"{name}, {dim} dims": scores[f"{HELD_OUT}-{dim}_{metric}"] for metric, name in REPORTED[kind].items()
        }
    return found

"""The ``train`` command: read the data, choose the loss, train, hold the result against its start, save it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from sentence_transformers import SentenceTransformer

from wordllama_st.codebook import Codebook
from wordllama_st.data.datasets import Kind, TrainingData, read_training_data
from wordllama_st.errors import ArgumentError
from wordllama_st.modules import Binarize
from wordllama_st.static import released
from wordllama_st.static.formats import sentence_transformers as static_format
from wordllama_st.storage.staging import staged_directory
from wordllama_st.training.build import build_model
from wordllama_st.training.checkpoints import last_complete_checkpoint
from wordllama_st.training.hard_negatives import add_hard_negatives
from wordllama_st.training.load import load_model
from wordllama_st.training.supervised import describe_loss, hold_out, make_evaluator, matryoshka_dims, train_supervised
from wordllama_st.training.trainer import since

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
    data = read_all(options)
    model = _starting_model(options)
    if options.binary and not isinstance(model[-1], Binarize):
        model.append(Binarize())
    train_and_report(model, data, options, echo)
    with staged_directory(options.out, overwrite=options.overwrite) as staging:
        model.save_pretrained(str(staging), model_name=options.out.name)
    echo(f"Saved {options.out}. Next: wordllama-st bake {options.out} --out {options.out}-static")


def read_all(options: argparse.Namespace) -> dict[str, TrainingData]:
    """The datasets named, by a short name for each.

    Raises:
        DatasetError: If one cannot be read, or has no usable columns.
        ArgumentError: If one is named twice.
    """
    if len(set(options.datasets)) < len(options.datasets):
        raise ArgumentError(f"A dataset is named twice in {', '.join(options.datasets)}.")
    stems = [Path(source).stem for source in options.datasets]
    names = stems if len(set(stems)) == len(stems) else options.datasets
    return {
        name: read_training_data(source, options.columns, options.split)
        for name, source in zip(names, options.datasets, strict=True)
    }


def train_and_report(
    model: SentenceTransformer,
    data: dict[str, TrainingData],
    options: argparse.Namespace,
    echo: Callable[[str], None],
    *,
    stay_close: float = 0.0,
) -> None:
    """Train a model in place, and hold it against its start on rows that are held out."""
    dims = options.matryoshka_dims or matryoshka_dims(cast(int, model.get_embedding_dimension()))
    held_out: dict[str, TrainingData] = {}
    for name, part in data.items():
        ignored = f"; not used: {', '.join(part.ignored)}" if part.ignored else ""
        echo(f"{part.name}: {len(part.rows):,} {part.kind.value} ({', '.join(part.used)}){ignored}")
        if options.hold_out and len(part.rows) >= MIN_ROWS_TO_HOLD_OUT:
            data[name], held_out[name] = hold_out(part, options.hold_out, seed=options.seed)
            echo(f"Held out for evaluation: {len(held_out[name].rows):,} rows")
        if options.mine_negatives:
            data[name] = add_hard_negatives(model, data[name], options.mine_negatives)
            echo(f"With hard negatives: {len(data[name].rows):,} {data[name].kind.value}")
        echo(f"Loss: {describe_loss(data[name].kind, dims)}")
    before = _evaluate(model, held_out, dims)
    if options.checkpoint_dir and (checkpoint := last_complete_checkpoint(options.checkpoint_dir)):
        echo(f"Going on from {checkpoint}")
    start = time.perf_counter()
    train_supervised(
        model,
        data,
        dims=dims,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        stay_close=stay_close,
        seed=options.seed,
        checkpoint_dir=options.checkpoint_dir,
        bf16=options.bf16,
    )
    echo(f"Trained for {since(start)}")
    after = _evaluate(model, held_out, dims)
    width = max(map(len, after), default=0)
    for metric, score in after.items():
        echo(f"{metric:<{max(width, 28)}} before {before[metric]:.4f}   after {score:.4f}")


def _starting_model(options: argparse.Namespace) -> SentenceTransformer:
    """A model over the codebook named, or one trained before, to be trained further."""
    source = Path(options.codebook)
    is_static = static_format.find(source) is not None
    if (source / static_format.MODULES_FILE).is_file() and not is_static:
        return _trained_before(source, options)
    codebook = Codebook.from_pretrained(source)
    is_embedder = is_static or released.is_released(codebook.provenance.source or "")
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


def _evaluate(model: SentenceTransformer, held_out: dict[str, TrainingData], dims: Sequence[int]) -> dict[str, float]:
    """Score a model on the held-out rows at every dim; the evaluators leave the scores in its model card too."""
    found: dict[str, float] = {}
    for part_name, part in held_out.items():
        label, prefix = (f"{HELD_OUT}-{part_name}", f"{part_name}: ") if len(held_out) > 1 else (HELD_OUT, "")
        for dim in dims:
            name = f"{label}-{dim}"
            scores = cast(dict[str, float], make_evaluator(part, name, dim)(model))
            for metric, shown in REPORTED[part.kind].items():
                found[f"{prefix}{shown}, {dim} dims"] = scores[f"{name}_{metric}"]
    return found

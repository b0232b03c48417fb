"""Score models on tasks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sentence_transformers import SentenceTransformer
from tqdm.autonotebook import tqdm

from wordllama_st.errors import ArgumentError
from wordllama_st.evaluation.encoding import EncodedTexts, check_dim
from wordllama_st.evaluation.models import ModelSource, ScoredModel, open_model
from wordllama_st.evaluation.report import ModelResult, Report, Score, TaskResult
from wordllama_st.evaluation.similarity import SimilarityTask
from wordllama_st.evaluation.task import Task
from wordllama_st.evaluation.vectors import TaskVectors
from wordllama_st.static import StaticEncoder
from wordllama_st.static.precision import Precision, check_precision

logger = logging.getLogger(__name__)

#: A model, or any function from texts to their vectors [n, D], arrays or tensors.
Encodes: TypeAlias = SentenceTransformer | StaticEncoder | Callable[[list[str]], Any]


def evaluate(
    models: ModelSource | Sequence[ModelSource] | Mapping[str, ModelSource],
    tasks: Sequence[Task],
    *,
    dims: Sequence[int | None] | None = None,
    precisions: Sequence[Precision] = ("float32",),
    show_progress_bar: bool | None = None,
) -> Report:
    """Score models on tasks, at each dim and precision.

    Texts are encoded once per model, at full dim, and cut and quantised from that. Cosines and Hamming distances are
    those of vectors that are cut before a last ``Normalize`` as well as of those that are cut behind it.

    Args:
        models: A model, several, or several by the names to give them; see
            :func:`~wordllama_st.evaluation.models.open_model`.
        tasks: What to score them on; see :mod:`wordllama_st.evaluation.reading` for tasks from files.
        dims: Matryoshka dims to cut vectors to, None among them for a model's own; each model's own dim only if None.
            A model is scored at those that it has, and must have one.
        precisions: What to hold the vectors in.
        show_progress_bar: None shows it when this package logs at INFO, as the library does.

    Returns:
        Scores, sizes and speeds.

    Raises:
        ArgumentError: If there is nothing to score, two models or two tasks of a kind have one name, or no model has a
            dim, or a model has none of them.
        EvaluationError: If a model's vectors have no score: they are not finite, or all the same.
        ModelLoadError: If a model cannot be loaded; likewise ModelUnavailableError and UnknownModelError.
    """
    _check_tasks(tasks)
    for precision in precisions:
        check_precision(precision)
    if not precisions:
        raise ArgumentError("There is no precision to score at.")
    if show_progress_bar is None:
        show_progress_bar = logger.isEnabledFor(logging.INFO)
    wanted = _check_dims(dims)
    opened = [open_model(source, name) for name, source in _named(models).items()]
    own_dims = {model.name: _own_dims(model, wanted) for model in opened}
    if missing := {dim for dim in wanted if dim} - {dim for own in own_dims.values() for dim in own}:
        raise ArgumentError(f"No model has {max(missing)} dimensions to cut its vectors to.")
    found, scores = [], []
    for model in opened:
        name, own = model.name, own_dims[model.name]
        encoded = EncodedTexts(model, tasks, show_progress_bar)
        speed = encoded.texts_per_second()
        found.append(ModelResult(name, model.source, model.dim, model.size, model.runtime, model.threads, speed))
        steps = [(dim, precision, task) for dim in own for precision in precisions for task in tasks]
        for dim, precision, task in tqdm(steps, f"Scoring {name}", disable=not show_progress_bar):
            metrics = task.score(encoded.of_task(task, dim, precision))
            scores.append(Score(name, dim, precision, task.kind, task.name, metrics[task.main_metric], metrics))
    described = [TaskResult(task.name, task.kind, task.main_metric, task.metric_name, task.size) for task in tasks]
    return Report(tuple(found), tuple(described), tuple(scores), _cores())


def similarity_score(
    encode_or_model: Encodes, task: SimilarityTask, dim: int | None = None, precision: Precision = "float32"
) -> float:
    """Spearman's correlation of a model's cosines with the task's scores: a light way to score a model in training.

    Args:
        encode_or_model: A model, or a function from texts to vectors [n, D].
        task: The pairs and their scores.
        dim: Matryoshka dim to cut to; D if None.
        precision: What to hold the vectors in.

    Raises:
        ArgumentError: If there is no such dim or precision.
        EvaluationError: If the vectors are not finite or all the same, or so are the cosines.
    """
    check_precision(precision)
    if isinstance(encode_or_model, (SentenceTransformer, StaticEncoder)):
        return task.score(EncodedTexts(open_model(encode_or_model), [task]).of_task(task, dim, precision))["spearman"]
    texts = list(dict.fromkeys(task.texts()["text"]))
    vectors = encode_or_model(texts)
    if hasattr(vectors, "detach"):
        vectors = vectors.detach().float().cpu().numpy()
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ArgumentError(f"{len(texts)} texts were encoded as {list(vectors.shape)}, not [{len(texts)}, D].")
    dim = vectors.shape[1] if dim is None else dim
    if not 1 <= dim <= vectors.shape[1]:
        raise ArgumentError(f"The vectors have {vectors.shape[1]} dimensions; they cannot be cut to {dim}.")
    return task.score(TaskVectors({"text": texts}, {"text": vectors}, dim, precision, task.name))["spearman"]


def _named(models: ModelSource | Sequence[ModelSource] | Mapping[str, ModelSource]) -> dict[str, ModelSource]:
    if isinstance(models, Mapping):
        named = dict(models)
    else:
        given = [models] if isinstance(models, (str, Path, SentenceTransformer, StaticEncoder)) else list(models)
        named = {}
        for number, source in enumerate(given, 1):
            name = str(source) if isinstance(source, (str, Path)) else f"model {number}"
            if name in named:
                raise ArgumentError(f"{name} is given twice.")
            named[name] = source
    if not named:
        raise ArgumentError("There is no model to score.")
    return named


def _check_tasks(tasks: Sequence[Task]) -> None:
    if not tasks:
        raise ArgumentError("There is nothing to score models on.")
    seen: set[tuple[str, str]] = set()
    for task in tasks:
        if (task.kind, task.name) in seen:
            raise ArgumentError(f"Two {task.kind} tasks have the name {task.name}.")
        seen.add((task.kind, task.name))


def _check_dims(dims: Sequence[int | None] | None) -> list[int | None]:
    if dims is None:
        return [None]
    if not dims:
        raise ArgumentError("There is no dim to score at.")
    for dim in dims:
        if dim is not None and dim < 1:
            raise ArgumentError(f"A vector cannot be cut to {dim} dimensions.")
    return list(dims)


def _own_dims(model: ScoredModel, wanted: Sequence[int | None]) -> list[int]:
    """Those dims that a model has, each once."""
    own = list(dict.fromkeys(dim or model.dim for dim in wanted if dim is None or dim <= model.dim))
    return own or [check_dim(model, wanted[0])]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

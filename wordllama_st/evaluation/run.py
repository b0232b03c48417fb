"""Score models on tasks."""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from timeit import Timer
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer
from tqdm.autonotebook import tqdm

from wordllama_st.data.bm25 import BM25
from wordllama_st.errors import ArgumentError
from wordllama_st.evaluation.models import ModelSource, Role, ScoredModel, TaskEmbeddings, open_model
from wordllama_st.evaluation.rankings import Ranking
from wordllama_st.evaluation.report import ModelResult, Report, Score, TaskResult
from wordllama_st.evaluation.retrieval import NanoBEIRTask, RetrievalTask
from wordllama_st.evaluation.search import rank_by_bm25, rank_by_model
from wordllama_st.evaluation.tasks import SimilarityTask, Task
from wordllama_st.static import StaticEncoder
from wordllama_st.static.precision import Precision, check_precision
from wordllama_st.static.similarity import Vectors

logger = logging.getLogger(__name__)

#: Number of texts whose encoding is timed, number of rounds, and seconds after which no further round starts.
SPEED_TEXTS, SPEED_ROUNDS, SPEED_SECONDS = 1000, 5, 20.0
#: Seconds of encoding before the first timed round, which fill caches and start threads.
_WARM_SECONDS = 0.3


def evaluate(
    models: ModelSource | Sequence[ModelSource] | Mapping[str, ModelSource],
    tasks: Sequence[Task],
    *,
    dims: Sequence[int | None] | None = None,
    precisions: Sequence[Precision] = ("float32",),
    bm25: bool = False,
    show_progress_bar: bool | None = None,
) -> Report:
    """Score models on tasks, at each dim and precision, and measure sizes and speeds.

    Texts are encoded once per model, at full dim, and these embeddings are truncated and quantized. Truncation before a
    trailing ``Normalize`` and after it give the same cosines and Hamming distances.

    Args:
        models: A model, a list of them, or a dict of them by the names to report; each as for
            :func:`~wordllama_st.evaluation.models.open_model`.
        tasks: The tasks, constructed, or read from files by :mod:`wordllama_st.evaluation.reading`.
        dims: Matryoshka dims to truncate to, where None is a model's own dim; its own dim only if None. A model is
            scored at the dims that it has, and must have one of them.
        precisions: Precisions to quantize to.
        bm25: Rank the documents of retrieval tasks by BM25 too, and by each model's and BM25's scores together
            (:func:`~wordllama_st.data.bm25.combine_with_bm25`).
        show_progress_bar: None shows it if this package logs at INFO, as sentence-transformers does.

    Raises:
        ArgumentError: If there are no models, tasks, dims or precisions; two models, or two tasks of a kind, have one
            name; no model has a dim, or a model has none of the dims; or BM25 has no documents to rank.
        EvaluationError: If a model's embeddings have no score: they are not finite, or all the same.
        ModelLoadError: If a model cannot be loaded; likewise ModelUnavailableError and UnknownModelError.
    """
    named, wanted = _named(models), [None] if dims is None else list(dims)
    _check(named, tasks, wanted, precisions)
    if bm25 and not any(isinstance(task, RetrievalTask) for task in tasks):
        raise ArgumentError("BM25 ranks the documents of a retrieval task from files, and there is none.")
    if show_progress_bar is None:
        show_progress_bar = logger.isEnabledFor(logging.INFO)
    opened = [open_model(source, name) for name, source in named.items()]
    own_dims = [_own_dims(model, wanted) for model in opened]
    largest = max(dim or 0 for dim in wanted)
    if largest > max(model.dim for model in opened):
        raise ArgumentError(f"No model has {largest} dimensions to truncate its embeddings to.")
    indices, rankings = {}, []
    for task in tasks:
        if bm25 and isinstance(task, RetrievalTask):
            indices[task.name] = BM25(list(task.documents.values()))
            rankings.append(rank_by_bm25(task, indices[task.name]))
    results, scores = [], []
    for model, own in zip(opened, own_dims, strict=True):
        name = model.name
        encoded = EncodedTexts(model, tasks, show_progress_bar)
        speed = encoded.texts_per_second()
        results.append(ModelResult(name, model.source, model.dim, model.size, model.runtime, model.threads, speed))
        steps = [(dim, precision, task) for dim in own for precision in dict.fromkeys(precisions) for task in tasks]
        for dim, precision, task in tqdm(steps, f"Scoring {name}", disable=not show_progress_bar):
            embeddings = encoded.of_task(task, dim, precision)
            if isinstance(task, RetrievalTask):
                rows = rank_by_model(task, model, dim, precision, embeddings, indices.get(task.name))
                rankings += rows
                metrics = rows[0].metrics
            else:
                metrics = task.score(embeddings)
            if isinstance(task, NanoBEIRTask):
                rankings.append(Ranking(name, dim, precision, task.name, metrics, {}, None))
            scores.append(Score(name, dim, precision, task.kind, task.name, metrics[task.main_metric], metrics))
    described = [TaskResult(task.name, task.kind, task.main_metric, task.metric_name, task.size) for task in tasks]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Report(tuple(results), tuple(described), tuple(scores), cores, tuple(rankings))


def similarity_score(
    encode_or_model: SentenceTransformer | StaticEncoder | Callable[[list[str]], Any],
    task: SimilarityTask,
    dim: int | None = None,
    precision: Precision = "float32",
) -> float:
    """Correlate a model's cosines with a task's scores, by Spearman: a light score for use during training.

    Instead of a model, a function from texts to embeddings [n, D], an array or tensor, can be given. Embeddings are
    truncated to the Matryoshka dim, D if it is None, and quantized.

    Raises:
        ArgumentError: If there is no such dim or precision, or the embeddings are not [n, D].
        EvaluationError: If the embeddings are not finite or all the same, or the cosines are all the same.
    """
    check_precision(precision)
    if isinstance(encode_or_model, (SentenceTransformer, StaticEncoder)):
        encode_or_model = open_model(encode_or_model).encode
    texts = list(dict.fromkeys(task.texts()["text"]))
    embeddings = encode_or_model(texts)
    if hasattr(embeddings, "detach"):
        embeddings = embeddings.detach().float().cpu().numpy()
    embeddings = np.asarray(embeddings, np.float32)
    if embeddings.ndim != 2 or len(embeddings) != len(texts):
        raise ArgumentError(f"{len(texts)} texts were encoded as {list(embeddings.shape)}, not [{len(texts)}, D].")
    full = embeddings.shape[1]
    if dim is not None and not 1 <= dim <= full:
        raise ArgumentError(f"The embeddings have {full} dimensions; they cannot be truncated to {dim}.")
    by_text = dict(zip(texts, embeddings, strict=True))
    return task.score(TaskEmbeddings({"text": by_text}, dim or full, precision, task.name))["spearman"]


class EncodedTexts:
    """A model's embeddings of the texts of tasks, each text encoded once, at full dim."""

    def __init__(self, model: ScoredModel, tasks: Sequence[Task], show_progress_bar: bool = False) -> None:
        self.model = model
        texts: dict[Role, dict[str, None]] = {}
        for task in tasks:
            for role, own in task.texts().items():
                texts.setdefault(role if model.has_roles else "text", {}).update(dict.fromkeys(own))
        start = time.perf_counter()
        self._embeddings = {
            role: dict(zip(own, model.encode(list(own), role, show_progress_bar), strict=True))
            for role, own in texts.items()
        }
        self._seconds = time.perf_counter() - start

    def of_task(self, task: Task, dim: int, precision: Precision) -> TaskEmbeddings:
        """Truncate and quantize the embeddings of one of the tasks; errors as for :class:`TaskEmbeddings`."""
        embeddings: dict[Role, dict[str, Vectors]] = {}
        for role, texts in task.texts().items():
            encoded = self._embeddings[role if self.model.has_roles else "text"]
            embeddings[role] = {text: encoded[text] for text in texts}
        name = f"{self.model.name} ({dim} dims, {precision}) on {task.name}"
        return TaskEmbeddings(embeddings, dim, precision, name)

    def texts_per_second(self) -> float:
        """Time the model, warm: the median over some rounds of a fixed sample of these texts."""
        role = "text" if "text" in self._embeddings else next(iter(self._embeddings))
        texts = list(self._embeddings[role])
        sample = random.Random(0).sample(texts, min(SPEED_TEXTS, len(texts)))
        timer = Timer(lambda: self.model.encode(sample, role))
        rounds: list[float] = []
        warmed = self._seconds
        while warmed < _WARM_SECONDS:
            warmed += timer.timeit(1)
        while len(rounds) < SPEED_ROUNDS and sum(rounds) < SPEED_SECONDS:
            rounds.append(timer.timeit(1))
        return len(sample) / median(rounds)


def _named(models: ModelSource | Sequence[ModelSource] | Mapping[str, ModelSource]) -> dict[str, ModelSource]:
    if isinstance(models, Mapping):
        return dict(models)
    given = [models] if isinstance(models, (str, Path, SentenceTransformer, StaticEncoder)) else list(models)
    named: dict[str, ModelSource] = {}
    for number, source in enumerate(given, 1):
        name = str(source) if isinstance(source, (str, Path)) else f"model {number}"
        if name in named:
            raise ArgumentError(f"{name} is given twice.")
        named[name] = source
    return named


def _check(models: object, tasks: Sequence[Task], dims: Sequence[int | None], precisions: Sequence[Precision]) -> None:
    for what, given in {"model": models, "task": tasks, "dim": dims, "precision": precisions}.items():
        if not given:
            raise ArgumentError(f"An evaluation needs at least one {what}.")
    (kind, name), count = Counter((task.kind, task.name) for task in tasks).most_common(1)[0]
    if count > 1:
        raise ArgumentError(f"Two {kind} tasks have the name {name}.")
    for precision in precisions:
        check_precision(precision)
    for dim in dims:
        if dim is not None and dim < 1:
            raise ArgumentError(f"Embeddings cannot be truncated to {dim} dimensions.")


def _own_dims(model: ScoredModel, wanted: Sequence[int | None]) -> list[int]:
    """List the wanted dims that a model has, each once."""
    own = list(dict.fromkeys(dim or model.dim for dim in wanted if dim is None or dim <= model.dim))
    if not own:
        raise ArgumentError(f"{model.name}'s embeddings have {model.dim} dimensions, fewer than {wanted[0]}.")
    return own

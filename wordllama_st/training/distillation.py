"""Distillation of a SentenceTransformer into a static model, from unlabelled text.

There are three steps, each of which starts from the result of the one before: a projection by least squares, without
training; training of the projection and token weights; training of every row of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import torch
import torch.nn.functional as F
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from torch import nn

from wordllama_st.data.texts import as_texts
from wordllama_st.errors import ArgumentError, DatasetError
from wordllama_st.modules import Projection
from wordllama_st.training.batches import ShuffledBatches
from wordllama_st.training.losses import DistillationLoss
from wordllama_st.training.processes import from_main_process, num_processes
from wordllama_st.training.static_model import is_static_model
from wordllama_st.training.supervised import check_dims, default_learning_rate
from wordllama_st.training.tokens import TokenizedTexts
from wordllama_st.training.trainer import run_trainer
from wordllama_st.training.views import DocumentViews

#: Texts that determine the principal axes and the least-squares projection; more texts change neither.
SAMPLE = 100_000
#: Texts that are pooled or rotated at a time.
CHUNK = 4096
#: Ridge penalty, relative to the mean variance.
RIDGE = 1e-3

#: Bounds of the default batch size, a twentieth of the texts: large, since each text is compared with all others of its
#: batch, but an epoch of one or two steps trains nothing.
LARGEST_BATCH, SMALLEST_BATCH = 1024, 32

#: With fewer distinct texts than this, there is nothing to distill from.
MIN_TEXTS = 100
#: This share of the texts is held out, up to the limit.
HELD_OUT_TEXTS_SHARE, MAX_HELD_OUT_TEXTS = 0.02, 2000


def distinct_texts(texts: Iterable[str | Path]) -> list[str]:
    """Read the texts to distill on, each once.

    Raises:
        DatasetError: If a file cannot be read, or there are fewer than ``MIN_TEXTS`` distinct texts.
    """
    distinct = list(dict.fromkeys(as_texts(texts)))
    if len(distinct) < MIN_TEXTS:
        raise DatasetError(f"There are {len(distinct)} different texts; distillation needs at least {MIN_TEXTS}.")
    return distinct


def default_batch_size(rows: int) -> int:
    """Return a twentieth of the rows, in the bounds of a batch."""
    return min(LARGEST_BATCH, max(SMALLEST_BATCH, rows // 20))


def num_held_out(num_texts: int) -> int:
    """Return how many texts are held out, to compare the student with the teacher on texts it was not trained on."""
    return min(MAX_HELD_OUT_TEXTS, round(HELD_OUT_TEXTS_SHARE * num_texts))


def cosine_to_teacher(
    student: SentenceTransformer, texts: list[str], embeddings: npt.NDArray[np.floating[Any]]
) -> float:
    """Return the mean cosine similarity of a student's embeddings [n, d] and the teacher's leading d dimensions."""
    encoded = torch.as_tensor(student.encode(texts, batch_size=1024, convert_to_numpy=True)).float()
    targets = torch.from_numpy(embeddings[:, : encoded.shape[1]].astype(np.float32))
    return float(F.cosine_similarity(encoded, targets).mean())


def pca_rotate(
    vectors: npt.NDArray[np.floating[Any]],
    seed: int = 0,
    *,
    numbers: npt.NDArray[np.intp] | None = None,
    out: npt.NDArray[np.float16] | None = None,
) -> npt.NDArray[np.float16]:
    """Rotate embeddings [n, D] onto their principal axes, of which a sample of 100,000 is enough.

    Norms and cosine similarities are unchanged; leading dimensions carry the most variance.

    Args:
        vectors: The embeddings; possibly mapped from a file.
        seed: Of the sample.
        numbers: Which of them, [m], in order; all of them if None.
        out: What the rotated embeddings are written to, at its beginning, instead of a new array. It may be ``vectors``
            itself: a row is read before it is replaced.

    Returns:
        The rotated embeddings [m, D].
    """
    numbers = np.arange(len(vectors)) if numbers is None else numbers
    chosen = sample(numbers, SAMPLE, seed)
    some = (vectors[chosen[start : start + CHUNK]].astype(np.float32) for start in range(0, len(chosen), CHUNK))
    # Those of another processor may differ in their signs.
    axes = from_main_process(principal_axes, some)
    rotated = np.empty((len(numbers), vectors.shape[1]), np.float16) if out is None else out[: len(numbers)]
    for start in range(0, len(numbers), CHUNK):
        rotated[start : start + CHUNK] = vectors[numbers[start : start + CHUNK]].astype(np.float32) @ axes
    return rotated


def principal_axes(chunks: Iterable[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Compute the principal axes [D, D] of chunks of embeddings [n, D], as columns, the most important first.

    They are those of the uncentred embeddings, so that the first d dimensions of rotated embeddings preserve dot
    products best, for every d: a student of them is a Matryoshka model without a loss for it.
    """
    _, axes = np.linalg.eigh(sum(chunk.T @ chunk for chunk in chunks))
    return np.ascontiguousarray(axes[:, ::-1])


@torch.inference_mode()
def initialize_by_least_squares(
    model: SentenceTransformer, texts: Sequence[str], vectors: npt.NDArray[np.floating[Any]], seed: int = 0
) -> None:
    """Fit a model's linear projection to the teacher's rotated embeddings [n, D] of n texts by ridge regression.

    Raises:
        ArgumentError: If the last module is not a linear projection, or the teacher has fewer than d dimensions.
    """
    projection = model[-1]
    if not (isinstance(projection, Projection) and isinstance(projection.project, nn.Linear)):
        raise ArgumentError(f"Least squares give a linear Projection; the model's last module is {projection!r}.")
    width = projection.project.out_features
    _check_width(width, vectors)
    pooled = SentenceTransformer(modules=list(model)[:-1], device=str(model.device))
    features = projection.project.in_features
    moment, cross = torch.zeros(features, features), torch.zeros(features, width)
    chosen = sample(np.arange(len(texts)), SAMPLE, seed)
    for start in range(0, len(chosen), CHUNK):
        rows = chosen[start : start + CHUNK]
        some = [texts[row] for row in rows]
        x = pooled.encode(some, batch_size=CHUNK, convert_to_tensor=True, show_progress_bar=False).cpu().float()
        x = F.normalize(x)
        moment += x.T @ x
        cross += x.T @ torch.from_numpy(vectors[rows, :width].astype(np.float32))
    moment += RIDGE * moment.diagonal().mean() * torch.eye(features)
    projection.project.weight.copy_(torch.linalg.solve(moment, cross).T)
    projection.project.bias.zero_()


def train_distillation(
    model: SentenceTransformer,
    texts: Sequence[str] | DocumentViews | TokenizedTexts,
    vectors: npt.NDArray[np.floating[Any]],
    *,
    dims: Sequence[int] | None = None,
    temperature: float = 0.1,
    similarity_weight: float = 1.0,
    epochs: float = 2.0,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    **arguments: Any,
) -> float:
    """Train a model in place on a teacher's embeddings of n texts; return the seconds.

    Args:
        model: A model over a codebook, whose projection and token weights are trained; or a static model, every row of
            which is trained.
        texts: n texts of the kind that the model is for; or the tokens of texts that are not truncated; or views of
            them, for a static model.
        vectors: The teacher's embeddings [n, D], D ≥ d, as :func:`pca_rotate` returns them.
        temperature: As for :class:`~wordllama_st.training.losses.DistillationLoss`, likewise ``similarity_weight``.
        **arguments: Those of :mod:`wordllama_st.recipes` and of :func:`~wordllama_st.training.trainer.run_trainer`.

    Raises:
        ArgumentError: If the numbers of texts and embeddings differ, or there are fewer than d dimensions.
        TrainingError: If the checkpoints belong to another run, or training diverged.
    """
    count = texts.num_texts if isinstance(texts, (DocumentViews, TokenizedTexts)) else len(texts)
    if count != len(vectors):
        raise ArgumentError(f"There are {count:,} texts, and the teacher's vectors of {len(vectors):,}.")
    width = model.get_embedding_dimension() or 1
    _check_width(width, vectors)
    dims = check_dims(dims, width)
    settings: dict[str, Any] = {"batch_sampler": ShuffledBatches, "dataloader_drop_last": True} | arguments
    run = {"Matryoshka dims": dims, "temperature": temperature, "similarity weight": similarity_weight}
    if isinstance(texts, (DocumentViews, TokenizedTexts)):
        # The Trainer needs a text column: the numbers of rows, which become token ids when a batch is made.
        numbers = pa.array(texts.rows).cast(pa.string())
        table = pa.table({"text": numbers, "label": texts.sources(texts.rows)})
        rows = Dataset(table, fingerprint=generate_random_fingerprint())  # its own would be that of a pickled copy
        make_batch = texts.batch
        if isinstance(texts, TokenizedTexts):
            run["texts"] = texts.sha256()
            make_batch = texts.batch if is_static_model(model) else texts.padded_batch
        settings["data_collator"] = SentenceTransformerDataCollator(make_batch)
    else:
        rows = Dataset.from_dict({"text": list(texts), "label": range(len(texts))})
    share = len(rows) // num_processes()
    # The last batch is left out if it is short, and must not be the only one.
    batch_size = min(batch_size or default_batch_size(share), share)
    return run_trainer(
        model,
        {"texts": rows},
        {"texts": DistillationLoss(model, vectors, dims, temperature, similarity_weight)},
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate or default_learning_rate(model),
        run=run,
        **settings,
    )


def sample(numbers: npt.NDArray[np.intp], size: int, seed: int) -> npt.NDArray[np.intp]:
    """Return ``size`` of some numbers, in order; all of them if there are not more."""
    if len(numbers) <= size:
        return numbers
    return np.sort(np.random.default_rng(seed).choice(numbers, size, replace=False))


def _check_width(width: int, vectors: npt.NDArray[Any]) -> None:
    if vectors.shape[1] < width:
        raise ArgumentError(
            f"The teacher's vectors have {vectors.shape[1]} dimensions, and the model's {width}: build it with "
            f"dim={vectors.shape[1]} or less."
        )

"""The ``distill`` command: a static model from a token table and a teacher, on plain text."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer

from wordllama_st.baking import bake
from wordllama_st.codebook import Codebook
from wordllama_st.data.texts import read_texts
from wordllama_st.errors import DatasetError, ModelLoadError, reason
from wordllama_st.modules import Binarize
from wordllama_st.storage.staging import check_output
from wordllama_st.training.build import build_model
from wordllama_st.training.distillation import initialize_by_least_squares, pca_rotate, train_distillation
from wordllama_st.training.static_model import save_static_model
from wordllama_st.training.teacher import teacher_embeddings
from wordllama_st.training.trainer import since

#: Of the texts, up to HELD_OUT are not learned from, to tell how near the teacher the model comes on others.
HELD_OUT, HELD_OUT_SHARE = 2000, 0.02
#: With fewer texts, nothing can be learned from them.
FEWEST_TEXTS = 100


def run(options: argparse.Namespace, echo: Callable[[str], None]) -> None:
    """Run the command with its parsed options; ``echo`` takes each line of the report.

    Raises:
        DatasetError: If the texts cannot be read, or are too few.
        ModelLoadError: If the teacher cannot be loaded.
        ArgumentError: If the teacher's similarity, dimensions or cache do not fit.
        OutputExistsError: If the output exists.
    """
    check_output(options.out, overwrite=options.overwrite)
    codebook = Codebook.from_pretrained(options.codebook)
    texts = list(dict.fromkeys(read_texts(options.texts)))
    if len(texts) < FEWEST_TEXTS:
        raise DatasetError(f"There are {len(texts)} different texts; learning from a teacher takes {FEWEST_TEXTS}.")
    teacher = _load_teacher(options)
    cache = options.cache or options.out.with_name(f"{options.out.name}-teacher")
    echo(f"Texts       {len(texts):,}")
    clock = time.perf_counter()
    vectors = pca_rotate(
        teacher_embeddings(
            teacher,
            texts,
            cache,
            batch_size=options.teacher_batch_size,
            prompt_name=options.teacher_prompt,
            show_progress_bar=True,
        )
    )
    echo(f"Teacher     {vectors.shape[1]} dimensions, {since(clock)}; kept in {cache}")
    held_out = min(HELD_OUT, round(HELD_OUT_SHARE * len(texts)))
    unseen, unseen_vectors = texts[:held_out], vectors[:held_out]
    texts, vectors = texts[held_out:], vectors[held_out:]

    def report(stage: str, student: SentenceTransformer) -> None:
        near = _agreement(student, unseen, unseen_vectors)
        echo(f"{stage:<12}cosine to the teacher {near:.3f}, on {held_out:,} texts held out")

    model = build_model(codebook, options.dim, token_weights="corpus", corpus=texts)
    initialize_by_least_squares(model, texts, vectors, seed=options.seed)
    report("Start", model)
    student = bake(model) if options.every_row else model
    if options.binary:
        student.append(Binarize())
    clock = time.perf_counter()
    train_distillation(
        student,
        texts,
        vectors,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        checkpoint_dir=options.checkpoint_dir,
    )
    report("Trained", student)
    echo(f"Training    {since(clock)}")
    statement = f"Distilled from {options.teacher} on {len(texts):,} texts"
    if options.every_row:
        source = codebook.provenance.source or options.codebook
        made_from = [f"The token table of {source}", f"{statement}, every row of it"]
        save_static_model(student, options.out, made_from, overwrite=options.overwrite)
    else:
        bake(
            student, options.out, overwrite=options.overwrite, made_from=[f"{statement}, projection and token weights"]
        )
    echo(f"Saved {options.out}. Use it: SentenceTransformer({str(options.out)!r})")


def _load_teacher(options: argparse.Namespace) -> SentenceTransformer:
    settings: dict[str, Any] = {"model_kwargs": {"dtype": torch.bfloat16}} if options.teacher_bf16 else {}
    try:
        teacher = SentenceTransformer(options.teacher, **settings)
    except Exception as error:  # whatever the Hub, the network or the model's files come up with
        raise ModelLoadError(f"The teacher {options.teacher} cannot be loaded: {reason(error)}") from error
    if options.teacher_similarity:
        teacher.similarity_fn_name = options.teacher_similarity
    return teacher


def _agreement(student: SentenceTransformer, texts: list[str], vectors: npt.NDArray[np.floating[Any]]) -> float:
    """The mean cosine of a student's vectors and the first components of the teacher's."""
    encoded = torch.as_tensor(student.encode(texts, batch_size=1024, convert_to_numpy=True)).float()
    return float(
        F.cosine_similarity(encoded, torch.from_numpy(vectors[:, : encoded.shape[1]].astype(np.float32))).mean()
    )

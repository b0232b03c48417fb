"""Static models of a codebook from unlabelled text, by distillation, and from nothing, by principal components."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from sentence_transformers import SentenceTransformer

from wordllama_st.baking import StaticDtype, bake, describe_origin
from wordllama_st.codebook import Codebook
from wordllama_st.data.texts import as_texts
from wordllama_st.modules import Binarize
from wordllama_st.storage.staging import check_output
from wordllama_st.training import distillation
from wordllama_st.training.build import build_model
from wordllama_st.training.processes import from_main_process, main_process_first
from wordllama_st.training.report import DistillationReport, Result, ScoreChange
from wordllama_st.training.static_model import model_name, save_static_model
from wordllama_st.training.teacher import load_teacher, teacher_embeddings


def distill(
    codebook: str | Path | Codebook,
    texts: Iterable[str | Path],
    path: str | Path | None = None,
    *,
    teacher: str | Path | SentenceTransformer,
    cache: str | Path | None = None,
    teacher_batch_size: int = 32,
    teacher_bf16: bool = False,
    teacher_prompt_name: str | None = None,
    teacher_similarity: Literal["cosine"] | None = None,
    dim: int = 256,
    every_row: bool = False,
    binary: bool = False,
    epochs: float = 2.0,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 42,
    checkpoint_dir: str | Path | None = None,
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> Result[DistillationReport]:
    """Distill a SentenceTransformer into a static model, from unlabelled text.

    Args:
        codebook: A codebook, or what :meth:`Codebook.from_pretrained` takes.
        texts: Texts (str) and files of texts (Path), of the kind that the model is for; each distinct text counts once.
        teacher: A SentenceTransformer of cosine similarity, its directory or its Hub id.
        cache: Directory that keeps the teacher's embeddings, so that an interrupted run resumes. None keeps them in
            PATH-teacher, or nowhere if nothing is saved.
        teacher_batch_size: Texts that the teacher encodes together.
        teacher_bf16: Load the teacher in bfloat16, which is faster on many processors.
        teacher_prompt_name: One of the teacher's prompts to put in front of each text.
        teacher_similarity: Compare the teacher's embeddings by this instead of its own similarity function.
        dim: d, the dim of the embeddings; at most the teacher's.
        every_row: Train every row of the table, not the projection and token weights alone.

    Raises:
        ArgumentError: If the teacher's similarity, dim or cache does not fit.
        DatasetError: If there are fewer than 100 distinct texts.
    """
    texts = list(texts)
    with main_process_first():
        check_output(path, overwrite=overwrite, sources=(codebook, *(text for text in texts if isinstance(text, Path))))
        codebook = codebook if isinstance(codebook, Codebook) else Codebook.from_pretrained(codebook)
        distinct = distillation.distinct_texts(texts)
        teacher_model = load_teacher(teacher, bf16=teacher_bf16, similarity=teacher_similarity)
    if cache is None and path is not None:
        cache = Path(path).with_name(f"{Path(path).name}-teacher")
    start = time.perf_counter()
    with TemporaryDirectory() as scratch:
        embeddings = teacher_embeddings(
            teacher_model,
            distinct,
            cache or from_main_process(str, scratch),
            batch_size=teacher_batch_size,
            prompt_name=teacher_prompt_name,
            show_progress_bar=show_progress_bar,
        )
    teacher_seconds = time.perf_counter() - start
    embeddings = distillation.pca_rotate(embeddings)
    held_out = distillation.num_held_out(len(distinct))
    unseen, targets = distinct[:held_out], embeddings[:held_out]
    distinct, embeddings = distinct[held_out:], embeddings[held_out:]

    model = build_model(codebook, dim, token_weights="corpus", corpus=distinct)
    distillation.initialize_by_least_squares(model, distinct, embeddings, seed=seed)
    before = distillation.cosine_to_teacher(model, unseen, targets)
    student = bake(model) if every_row else model
    if binary:
        student.append(Binarize())
    seconds = distillation.train_distillation(
        student,
        distinct,
        embeddings,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        checkpoint_dir=checkpoint_dir,
        show_progress_bar=show_progress_bar,
    )
    report = DistillationReport(
        texts=len(distinct),
        held_out=held_out,
        teacher_dim=embeddings.shape[1],
        teacher_seconds=teacher_seconds,
        cache=None if cache is None else Path(cache),
        score=ScoreChange("cosine to the teacher", before, distillation.cosine_to_teacher(student, unseen, targets)),
        seconds=seconds,
    )
    if not every_row:
        student = bake(student)
    if path is not None:
        trained = "every row of the table" if every_row else "projection and token weights"
        statement = f"Distilled from {model_name(teacher)} on {len(distinct):,} texts, {trained}"
        origin = [*describe_origin(model), statement]
        from_main_process(save_static_model, student, path, origin, overwrite=overwrite)
    return Result(student, report)


def compress(
    codebook: str | Path | Codebook,
    path: str | Path | None = None,
    *,
    dim: int = 256,
    corpus: Sequence[str | Path] | None = None,
    dtype: StaticDtype = "float32",
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> SentenceTransformer:
    """Make a static model of a codebook without training: principal components, and low weights for frequent tokens.

    Args:
        codebook: A codebook, or what :meth:`Codebook.from_pretrained` takes.
        dim: d, the dim of the embeddings.
        corpus: Texts (str) and files of texts (Path) to count tokens in (SIF; Arora et al., ICLR 2017). None estimates
            the tokens' frequencies from the order of the vocabulary (Zipf's law).
        dtype: Of the table, as for :func:`~wordllama_st.bake`.
    """
    check_output(
        path, overwrite=overwrite, sources=(codebook, *(text for text in corpus or () if isinstance(text, Path)))
    )
    codebook = codebook if isinstance(codebook, Codebook) else Codebook.from_pretrained(codebook)
    counted = None if corpus is None else as_texts(corpus)
    model = build_model(codebook, dim, token_weights="rank" if counted is None else "corpus", corpus=counted)
    return bake(model, path, dtype=dtype, overwrite=overwrite, show_progress_bar=show_progress_bar)

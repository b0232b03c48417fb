"""Static models of a codebook from unlabelled text, by distillation, and from nothing, by principal components."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from sentence_transformers import SentenceTransformer

from wordllama_st.baking import StaticDtype, bake, describe_origin
from wordllama_st.codebook import Codebook
from wordllama_st.data.texts import as_texts
from wordllama_st.disk import TEMPORARY
from wordllama_st.errors import ArgumentError
from wordllama_st.modules import Binarize
from wordllama_st.storage.staging import check_output
from wordllama_st.training import distillation
from wordllama_st.training.build import build_model
from wordllama_st.training.embedded import read_embedded_texts
from wordllama_st.training.index import distinct_documents
from wordllama_st.training.initialize import frequency_weights, relative_frequencies
from wordllama_st.training.processes import from_main_process, main_process_first
from wordllama_st.training.report import DistillationReport, Result, ScoreChange
from wordllama_st.training.static_model import model_name, save_static_model
from wordllama_st.training.teacher import load_teacher, teacher_embeddings
from wordllama_st.training.tokens import TokenizedTexts


def distill(
    codebook: str | Path | Codebook,
    texts: Iterable[str | Path],
    path: str | Path | None = None,
    *,
    teacher: str | Path | SentenceTransformer | None = None,
    text_column: str | None = None,
    vectors_column: str | None = None,
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

    Without a teacher, the texts are read with its embeddings, from the directory that
    :func:`~wordllama_st.embed_with_teacher` wrote for example. They are streamed: neither texts nor embeddings are in
    memory, but in temporary files.

    Args:
        codebook: A codebook, or what :meth:`Codebook.from_pretrained` takes.
        texts: Texts (str) and files of texts (Path), of the kind that the model is for; each distinct text counts once.
            Without a teacher, files and directories as for
            :func:`~wordllama_st.training.embedded.read_embedded_texts`.
        teacher: A SentenceTransformer of cosine similarity, its directory or its Hub id.
        text_column: Without a teacher, the column of texts.
        vectors_column: Without a teacher, the column of embeddings; ``embedding`` if None.
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
        DatasetError: If there are fewer than 100 distinct texts; or, without a teacher, if texts have no embeddings, or
            those of several teachers.
    """
    texts = list(texts)
    with main_process_first():
        check_output(path, overwrite=overwrite, sources=(codebook, *(text for text in texts if isinstance(text, Path))))
        codebook = codebook if isinstance(codebook, Codebook) else Codebook.from_pretrained(codebook)
    start = time.perf_counter()
    if teacher is None:
        if cache is not None:
            raise ArgumentError("--cache is for the embeddings of a teacher; these are read where they are.")
        embedded = read_embedded_texts(texts, text_column=text_column, vectors_column=vectors_column)
        numbers = distinct_documents(embedded.texts)
        targets = distillation.pca_rotate(embedded.vectors, numbers=numbers, out=embedded.vectors)
        all_texts, name = embedded.texts, embedded.teacher or "a teacher's embeddings"
    else:
        if named := text_column or vectors_column:
            raise ArgumentError(f"The column {named!r} is for texts that have embeddings; there is a teacher.")
        if cache is None and path is not None:
            cache = Path(path).with_name(f"{Path(path).name}-teacher")
        with main_process_first():
            all_texts = distillation.distinct_texts(texts)
            teacher_model = load_teacher(teacher, bf16=teacher_bf16, similarity=teacher_similarity)
        numbers, name = np.arange(len(all_texts)), model_name(teacher)
        with TemporaryDirectory(prefix=TEMPORARY) as scratch:
            embeddings = teacher_embeddings(
                teacher_model,
                all_texts,
                cache or from_main_process(str, scratch),
                batch_size=teacher_batch_size,
                prompt_name=teacher_prompt_name,
                show_progress_bar=show_progress_bar,
            )
        targets = distillation.pca_rotate(embeddings, out=embeddings)
    teacher_seconds = time.perf_counter() - start

    held_out = distillation.num_held_out(len(numbers))
    unseen = [all_texts[number] for number in numbers[:held_out]]
    unseen_targets, numbers, targets = targets[:held_out], numbers[held_out:], targets[held_out:]
    tokens = TokenizedTexts(codebook.tokenizer, map(all_texts.__getitem__, numbers))
    weights = frequency_weights(relative_frequencies(tokens.counts(codebook.num_embeddings)))
    model = build_model(codebook, dim, "random", token_weights=weights)  # the projection is fitted by least squares
    places = distillation.sample(np.arange(len(numbers)), distillation.SAMPLE, seed)
    some = [all_texts[number] for number in numbers[places]]
    num_texts = len(numbers)
    if teacher is None:
        del embedded
    del all_texts, numbers  # of ten million texts, where they lie takes 160 MB
    distillation.initialize_by_least_squares(model, some, targets[places], seed=seed)
    before = distillation.cosine_to_teacher(model, unseen, unseen_targets)
    student = bake(model) if every_row else model
    if binary:
        student.append(Binarize())
    seconds = distillation.train_distillation(
        student,
        tokens,
        targets,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        checkpoint_dir=checkpoint_dir,
        show_progress_bar=show_progress_bar,
    )
    after = distillation.cosine_to_teacher(student, unseen, unseen_targets)
    report = DistillationReport(
        texts=num_texts,
        held_out=held_out,
        teacher_dim=targets.shape[1],
        teacher_seconds=teacher_seconds,
        cache=None if cache is None else Path(cache),
        score=ScoreChange("cosine to the teacher", before, after),
        seconds=seconds,
    )
    if not every_row:
        student = bake(student)
    if path is not None:
        trained = "every row of the table" if every_row else "projection and token weights"
        statement = f"Distilled from {name} on {num_texts:,} texts, {trained}"
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

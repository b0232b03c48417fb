"""Recipes: whole training jobs as functions. The commands of the same names call these and print the report.

Arguments that several recipes share:

- ``path``: directory to save to; it appears when it is complete, and None saves nothing. ``overwrite`` replaces a model
  that is there. Static models are saved in the layout that sentence-transformers 3.2 and later load.
- ``datasets``: .csv, .tsv, .json, .jsonl or .parquet files, ids of Hub datasets, or ``datasets.Dataset`` objects, with
  the ``columns`` to use, in order, and the ``split`` of a Hub dataset. Two columns of text are pairs, three or more are
  triplets (anchor, positive, negatives), two and a number are scored pairs. Each batch comes from one dataset.
- ``hold_out``: share of the rows to evaluate on. ``mine_negatives``: hard negatives to give each pair.
- ``dims``: Matryoshka dims; the model's dim and its halves down to 64 if None.
- ``binary``: train sign embeddings, by straight-through estimation. ``bf16``: train in mixed precision.
- ``stay_close``: how strongly each token's embedding is held to its start (L2-SP; Li et al., ICML 2018).
- ``batch_size``: rows per step; 256 (1,024 for distillation) if None, fewer for little data.
- ``learning_rate``: 1e-3 for a projection, and 0.05 of its root mean square for a table, if None.
- ``checkpoint_dir``: directory of checkpoints; training resumes from the last complete one. None keeps none.
- ``show_progress_bar``: None shows it when this package logs at INFO.

All of them raise OutputExistsError if ``path`` must not be replaced; TrainingError if training diverges, or checkpoints
belong to another run; and CodebookError, DatasetError, DocumentError or ModelLoadError if a source cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from sentence_transformers import SentenceTransformer

from wordllama_st.baking import StaticDtype, bake, describe_origin
from wordllama_st.codebook import Codebook
from wordllama_st.data.documents import hold_out_documents, make_pairs, read_documents
from wordllama_st.data.documents.pairs import pairs_to_training_data
from wordllama_st.data.texts import as_texts
from wordllama_st.modules import Binarize
from wordllama_st.storage.staging import check_output, staged_directory
from wordllama_st.training import distillation, supervised
from wordllama_st.training.build import build_model, build_or_continue
from wordllama_st.training.report import AdaptationReport, DistillationReport, Result, ScoreChange, TrainingReport
from wordllama_st.training.static_model import model_name, save_static_model, static_model_from_pretrained
from wordllama_st.training.teacher import load_teacher, teacher_embeddings


def train(
    codebook: str | Path | Codebook | SentenceTransformer,
    datasets: supervised.DatasetSource | Sequence[supervised.DatasetSource],
    path: str | Path | None = None,
    *,
    columns: Sequence[str] | None = None,
    split: str = "train",
    hold_out: float = 0.1,
    mine_negatives: int | None = None,
    dim: int | None = None,
    dims: Sequence[int] | None = None,
    initialize: Literal["pca", "identity", "random"] | None = None,
    token_weights: Literal["ones", "stopwords", "rank"] | None = None,
    hidden_features: int | None = None,
    max_seq_length: int | None = None,
    binary: bool = False,
    epochs: float = 3.0,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 42,
    bf16: bool = False,
    checkpoint_dir: str | Path | None = None,
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> Result[TrainingReport]:
    """Train token weights and a projection over a frozen codebook; :func:`~wordllama_st.bake` makes the model static.

    Args:
        codebook: A codebook or what :meth:`Codebook.from_pretrained` takes; or a model trained before, or its
            directory, to be trained further.
        dim: d, the dim of the embeddings; 256 if None.
        initialize: The projection's start. None takes ``"identity"`` for the table of a released or static model, and
            ``"pca"`` for any other. Likewise ``token_weights``, ``hidden_features`` and ``max_seq_length``: see
            :func:`~wordllama_st.build_model`.

    Raises:
        ArgumentError: If a trained model is given with an argument that builds a new one, or a dim is too large.
    """
    check_output(path, overwrite=overwrite, sources=(codebook, *supervised.as_list(datasets)))
    data = supervised.read_datasets(datasets, columns, split)
    model = build_or_continue(
        codebook,
        max_seq_length=max_seq_length,
        dim=dim,
        initialize=initialize,
        token_weights=token_weights,
        hidden_features=hidden_features,
    )
    report = supervised.train_and_evaluate(
        model,
        data,
        hold_out=hold_out,
        mine_negatives=mine_negatives,
        dims=dims,
        binary=binary,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        bf16=bf16,
        checkpoint_dir=checkpoint_dir,
        show_progress_bar=show_progress_bar,
    )
    if path is not None:
        with staged_directory(path, overwrite=overwrite) as staging:
            model.save_pretrained(str(staging), model_name=Path(path).name)
    return Result(model, report)


def finetune(
    model: str | Path | SentenceTransformer,
    datasets: supervised.DatasetSource | Sequence[supervised.DatasetSource],
    path: str | Path | None = None,
    *,
    columns: Sequence[str] | None = None,
    split: str = "train",
    hold_out: float = 0.1,
    mine_negatives: int | None = None,
    dims: Sequence[int] | None = None,
    binary: bool = False,
    stay_close: float = supervised.STAY_CLOSE,
    epochs: float = 3.0,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 42,
    bf16: bool = False,
    checkpoint_dir: str | Path | None = None,
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> Result[TrainingReport]:
    """Train every row of a static model's table, released or baked. Tokens that the data does not contain do not move.

    Args:
        model: What :meth:`StaticEncoder.from_pretrained` takes; or a model over a static table, trained in place.

    Raises:
        ModelLoadError: If the model is not static.
    """
    check_output(path, overwrite=overwrite, sources=(model, *supervised.as_list(datasets)))
    data = supervised.read_datasets(datasets, columns, split)
    static = static_model_from_pretrained(model)
    report = supervised.train_and_evaluate(
        static,
        data,
        hold_out=hold_out,
        mine_negatives=mine_negatives,
        dims=dims,
        binary=binary,
        stay_close=stay_close,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        bf16=bf16,
        checkpoint_dir=checkpoint_dir,
        show_progress_bar=show_progress_bar,
    )
    if path is not None:
        names = ", ".join(dataset.name for dataset in report.datasets)
        statement = f"Fine-tuned on {report.rows:,} rows of {names}, held to its start with strength {stay_close:g}"
        origin = [f"{model_name(model)}, every row of its table", statement]
        save_static_model(static, path, origin, overwrite=overwrite)
    return Result(static, report)


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
            cache or scratch,
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
        save_static_model(student, path, origin, overwrite=overwrite)
    return Result(student, report)


def adapt(
    model: str | Path | SentenceTransformer,
    folder: str | Path,
    path: str | Path | None = None,
    *,
    hold_out: float = 0.15,
    stay_close: float = supervised.STAY_CLOSE,
    epochs: float = 3.0,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 42,
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> Result[AdaptationReport]:
    """Adapt a static model to a folder of documents, without labels.

    Pairs are formed from the documents' structure: titles and sections, neighbouring passages, names and docstrings.
    Whole documents are held out.

    Args:
        model: What :meth:`StaticEncoder.from_pretrained` takes; or a model over a static table, trained in place.
        folder: A folder of text, reStructuredText, Markdown, HTML, Python and PDF files, at any depth.

    Raises:
        DocumentError: If the folder has no usable documents, or too few.
    """
    check_output(path, overwrite=overwrite, sources=(model, folder))
    static = static_model_from_pretrained(model)
    documents = read_documents(folder, show_progress_bar=show_progress_bar)
    pairs = make_pairs(documents.documents)
    split = hold_out_documents(pairs.pairs, hold_out, seed)
    held_out = pairs_to_training_data(split.held_out)
    before = supervised.retrieval_scores(static, held_out)
    seconds = supervised.train_supervised(
        static,
        pairs_to_training_data(split.train),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        stay_close=stay_close,
        seed=seed,
        show_progress_bar=show_progress_bar,
    )
    after = supervised.retrieval_scores(static, held_out)
    *scores, mean = (ScoreChange(name, before[name], after[name]) for name in before)
    if path is not None:
        pairs_of = f"{len(documents.documents):,} documents: {len(split.train):,} pairs formed from their structure"
        statement = f"Adapted to {pairs_of}, held to its start with strength {stay_close:g}"
        origin = [f"{model_name(model)}, every row of its table", statement]
        save_static_model(static, path, origin, overwrite=overwrite)
    return Result(static, AdaptationReport(documents, pairs, split, tuple(scores), mean, seconds))


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

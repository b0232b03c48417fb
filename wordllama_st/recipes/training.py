"""Supervised training: of a projection over a codebook, and of a static model's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sentence_transformers import SentenceTransformer
from transformers import set_seed

from wordllama_st.codebook import Codebook
from wordllama_st.data.corpus import read_corpus
from wordllama_st.errors import ArgumentError
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.storage.staging import check_output, staged_directory
from wordllama_st.training import supervised
from wordllama_st.training.build import build_or_continue
from wordllama_st.training.labelled_queries import train_on_vectors
from wordllama_st.training.processes import from_main_process, main_process_first
from wordllama_st.training.report import Result, TrainingReport
from wordllama_st.training.static_model import model_name, save_static_model, static_model_from_pretrained


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
    with main_process_first():
        check_output(path, overwrite=overwrite, sources=(codebook, *supervised.as_list(datasets)))
        data = supervised.read_datasets(datasets, columns, split)
    set_seed(seed)  # of a random start, without which the same call could not resume from its checkpoints
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
        from_main_process(_save, model, Path(path), overwrite=overwrite)
    return Result(model, report)


def _save(model: SentenceTransformer, path: Path, *, overwrite: bool) -> None:
    with staged_directory(path, overwrite=overwrite) as staging:
        model.save_pretrained(str(staging), model_name=path.name)


def finetune(
    model: str | Path | SentenceTransformer,
    datasets: supervised.DatasetSource | Sequence[supervised.DatasetSource],
    path: str | Path | None = None,
    *,
    columns: Sequence[str] | None = None,
    vectors_column: str | None = None,
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
        vectors_column: The column of the vectors [n, D] of documents that answer the queries in the other column, of a
            .parquet or .jsonl file. Queries are then trained against these vectors, and no document is encoded: for
            models that :func:`adapt` made, whose space they stay in.

    Raises:
        ModelLoadError: If the model is not static.
    """
    with main_process_first():
        check_output(path, overwrite=overwrite, sources=(model, *supervised.as_list(datasets)))
        static = static_model_from_pretrained(model)
    if vectors_column is not None:
        return _finetune_on_vectors(
            static,
            datasets,
            path,
            source=model,
            columns=columns,
            vectors_column=vectors_column,
            refused={"mine_negatives": mine_negatives, "dims": dims, "binary": binary or None},
            overwrite=overwrite,
            hold_out=hold_out,
            stay_close=stay_close,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            bf16=bf16,
            checkpoint_dir=checkpoint_dir,
            show_progress_bar=show_progress_bar,
        )
    with main_process_first():
        data = supervised.read_datasets(datasets, columns, split)
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
        from_main_process(save_static_model, static, path, origin, overwrite=overwrite)
    return Result(static, report)


def _finetune_on_vectors(
    static: SentenceTransformer,
    datasets: supervised.DatasetSource | Sequence[supervised.DatasetSource],
    path: str | Path | None,
    *,
    source: str | Path | SentenceTransformer,
    columns: Sequence[str] | None,
    vectors_column: str,
    refused: Mapping[str, object],
    overwrite: bool,
    **arguments: Any,
) -> Result[TrainingReport]:
    for name, value in refused.items():
        if value is not None:
            raise ArgumentError(f"--{name.replace('_', '-')} does not go with --vectors-column.")
    files = supervised.as_list(datasets)
    if len(files) != 1 or not isinstance(files[0], (str, Path)) or len(columns or ()) > 1:
        raise ArgumentError("--vectors-column is for one file, with one column of queries.")
    with main_process_first():
        data = read_corpus(files[0], text_column=columns[0] if columns else None, vectors_column=vectors_column)
    report = train_on_vectors(static, data, str(files[0]), columns=[*(columns or ()), vectors_column], **arguments)
    if path is not None:
        statement = f"Fine-tuned on {report.rows:,} queries and vectors of {files[0]}"
        origin = [f"{model_name(source)}, every row of its table", statement]
        space = None if isinstance(source, SentenceTransformer) else read_static_model(source).space
        from_main_process(save_static_model, static, path, origin, space=space, overwrite=overwrite)
    return Result(static, report)

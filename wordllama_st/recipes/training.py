"""Supervised training: of a projection over a codebook, and of a static model's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sentence_transformers import SentenceTransformer

from wordllama_st.codebook import Codebook
from wordllama_st.storage.staging import check_output, staged_directory
from wordllama_st.training import supervised
from wordllama_st.training.build import build_or_continue
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

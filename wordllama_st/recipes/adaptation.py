"""Adaptation of a static model to documents, without labels."""

from __future__ import annotations

from pathlib import Path

from sentence_transformers import SentenceTransformer

from wordllama_st.data.documents import hold_out_documents, make_pairs, read_documents
from wordllama_st.data.documents.pairs import pairs_to_training_data
from wordllama_st.storage.staging import check_output
from wordllama_st.training import supervised
from wordllama_st.training.report import AdaptationReport, Result, ScoreChange
from wordllama_st.training.static_model import model_name, save_static_model, static_model_from_pretrained


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

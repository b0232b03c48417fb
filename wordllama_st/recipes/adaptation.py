"""Adaptation of a static model to documents, without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from wordllama_st.baking import bake, describe_origin
from wordllama_st.codebook import Codebook
from wordllama_st.data.corpus import Corpus, read_corpus, read_vectors
from wordllama_st.data.datasets import Kind, TrainingData, read_training_data
from wordllama_st.errors import ArgumentError, DatasetError
from wordllama_st.static.space import VectorSpace
from wordllama_st.storage.staging import check_output
from wordllama_st.training.asymmetric import make_asymmetric_model, save_asymmetric_model
from wordllama_st.training.build import build_model
from wordllama_st.training.distillation import SAMPLE, initialize_by_least_squares, sample
from wordllama_st.training.index import Index, distinct_documents, make_index
from wordllama_st.training.processes import refuse_several_processes
from wordllama_st.training.report import AdaptationReport, IndexReport, Result
from wordllama_st.training.static_model import (
    model_name,
    normalized_model,
    save_static_model,
    static_model_from_pretrained,
)
from wordllama_st.training.structure import train_on_structure
from wordllama_st.training.supervised import STAY_CLOSE
from wordllama_st.training.teacher import CachedTeacher, load_teacher
from wordllama_st.training.vectors import train_on_index

#: Shares of the documents that are held out.
HOLD_OUT_OF_INDEX, HOLD_OUT_OF_STRUCTURE = 0.02, 0.15


def adapt(
    model: str | Path | Codebook | SentenceTransformer,
    documents: str | Path | Sequence[str],
    path: str | Path | None = None,
    *,
    vectors: npt.ArrayLike | str | Path | None = None,
    text_column: str | None = None,
    vectors_column: str | None = None,
    teacher: str | Path | SentenceTransformer | None = None,
    queries: Sequence[str | Path] | None = None,
    cache: str | Path | None = None,
    asymmetric: str | Path | None = None,
    dim: int | None = None,
    similarity: Sequence[str | Path] | None = None,
    hold_out: float | None = None,
    stay_close: float | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 42,
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> Result[AdaptationReport] | Result[IndexReport]:
    """Adapt a static model to documents without labels: to an index's vectors of them, or to their structure.

    With vectors, or a teacher that makes them, the model learns to predict the vectors from the documents, from thinned
    documents and from short spans of them. Its embeddings of queries are then in the space of the vectors, at their
    full width, and search the index as it is. (LightRetriever, arXiv 2505.12260, trains such a look-up for queries
    together with the embedder.)

    Without vectors, pairs are formed from the structure of a folder's documents: titles and sections, neighbouring
    passages, names and docstrings.

    Args:
        model: For vectors, a codebook or what :meth:`Codebook.from_pretrained` takes: best the embedder that made them,
            or a static model that was distilled from it. For structure, what :meth:`StaticEncoder.from_pretrained`
            takes, or a model over a static table, trained in place.
        documents: A list of n documents, or what :func:`~wordllama_st.data.corpus.read_corpus` takes; for structure, a
            folder.
        vectors: The documents' vectors [n, D] in their order, or a .npy file of them. Their directions are learned.
        text_column: The column of the documents in a file that has several columns of texts.
        vectors_column: The column of their vectors, in the same file.
        teacher: The embedder, a SentenceTransformer. It encodes the documents if there are no vectors; and parts of
            documents as queries, which makes the model better at queries for the embedder's vectors.
        queries: Queries (str) and files of queries (Path), such as a log, which the teacher encodes for training.
        cache: Directory that keeps the teacher's embeddings, so that an interrupted run resumes. None keeps them in
            PATH-teacher, or nowhere if nothing is saved.
        asymmetric: Directory for a stock SentenceTransformer whose queries go through the model and whose documents go
            through the teacher.
        dim: d, to compare in the d leading principal axes of the vectors, instead of their own space. The axes are kept
            with the model, to project the documents' vectors onto.
        similarity: Files of scored pairs, to report how similarities change.
        hold_out: Share of the documents to evaluate on; 0.02 with vectors and 0.15 for structure, if None.
        stay_close: For structure; 30 if None.
        epochs: 10 with vectors and 3 for structure, if None.

    Raises:
        ArgumentError: If the vectors are not as many as the documents, zero, not finite or all alike; if they are not
            the teacher's; if an argument does not fit the others; or if several processes were launched.
        DatasetError: If there are fewer than 100 different documents.
        DocumentError: If a folder has no usable documents, or too few.
    """
    refuse_several_processes("adapt")
    sources = [model, documents, vectors, teacher, *(source for source in queries or () if isinstance(source, Path))]
    for output in (asymmetric, path):  # the last one first: where a run was killed at it, the other is there
        check_output(output, overwrite=overwrite, sources=sources)
    training: dict[str, Any] = {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    training["show_progress_bar"] = show_progress_bar
    if vectors is None and vectors_column is None and teacher is None:
        of_vectors = {"text_column": text_column, "queries": queries, "cache": cache, "asymmetric": asymmetric}
        _refuse(of_vectors | {"dim": dim, "similarity": similarity}, "vectors of the documents, or a teacher")
        if isinstance(model, Codebook) or not isinstance(documents, (str, Path)):
            raise ArgumentError("Without vectors or a teacher, it is a static model that is adapted, to a folder.")
        training |= {"epochs": epochs or 3.0, "hold_out": HOLD_OUT_OF_STRUCTURE if hold_out is None else hold_out}
        stay_close = STAY_CLOSE if stay_close is None else stay_close
        return _adapt_to_structure(model, documents, path, stay_close=stay_close, overwrite=overwrite, **training)

    _refuse({"stay_close": stay_close}, "structure, without vectors")
    if teacher is None:
        _refuse({"queries": queries, "cache": cache, "asymmetric": asymmetric}, "a teacher, the documents' embedder")
    if isinstance(model, SentenceTransformer):
        raise ArgumentError("The model to adapt is in memory; save it, and give its directory.")
    codebook = model if isinstance(model, Codebook) else Codebook.from_pretrained(model)
    pairs = [_scored_pairs(file) for file in similarity or ()]
    corpus = _read(documents, vectors, text_column, vectors_column)
    embedder = None
    if teacher is not None:
        if cache is None and path is not None:
            cache = Path(path).with_name(f"{Path(path).name}-teacher")
        embedder = CachedTeacher(load_teacher(teacher), cache, show_progress_bar)
    texts, known = _documents_and_vectors(corpus, embedder)
    hold_out = HOLD_OUT_OF_INDEX if hold_out is None else hold_out
    index = make_index(texts, known, dim=dim, hold_out=hold_out, seed=seed)
    start = _start(codebook, index, seed)
    static = bake(start)
    report = train_on_index(
        static,
        index,
        known,
        embedder=embedder,
        queries=queries or (),
        similarity=pairs,
        epochs=epochs or 10.0,
        **training,
    )

    name = None if teacher is None else model_name(teacher)
    axes = None if dim is None else index.leading_axes
    space = VectorSpace(index.dim, report.cosine.after, name, axes)
    adapted = normalized_model(static, index.leading_axes.T if dim is None else None)
    number, by = f"{report.documents - report.held_out:,}", f" by {name}" if name else ""
    statement = f"Adapted to {number} documents and their vectors{by}, every row of the table, in"
    origin = [*describe_origin(start), f"{statement} {index.components.shape[1]} of {index.dim} dimensions"]
    if path is not None:
        save_static_model(adapted, path, origin, space=space, overwrite=overwrite)
    if asymmetric is not None and embedder is not None:
        pair = make_asymmetric_model(adapted, embedder.model, axes)
        save_asymmetric_model(pair, asymmetric, origin, space, overwrite=overwrite)
    return Result(adapted, report)


def _adapt_to_structure(
    model: str | Path | SentenceTransformer,
    folder: str | Path,
    path: str | Path | None,
    *,
    stay_close: float,
    overwrite: bool,
    **training: Any,
) -> Result[AdaptationReport]:
    static = static_model_from_pretrained(model)
    report = train_on_structure(static, folder, stay_close=stay_close, **training)
    if path is not None:
        statement = f"Adapted to {report.trained_on}, held to its start with strength {stay_close:g}"
        origin = [f"{model_name(model)}, every row of its table", statement]
        save_static_model(static, path, origin, overwrite=overwrite)
    return Result(static, report)


def _refuse(arguments: Mapping[str, object], needed: str) -> None:
    """Refuse arguments that need something else; the error names the first that is given, as an option."""
    for name, value in arguments.items():
        if value is not None:
            raise ArgumentError(f"--{name.replace('_', '-')} is for {needed}.")


def _scored_pairs(file: str | Path) -> TrainingData:
    data = read_training_data(str(file))
    if data.kind is not Kind.SCORED_PAIRS:
        raise DatasetError(f"{file} has {data.kind.value}; similarities are compared with scored pairs.")
    return data


def _read(
    documents: str | Path | Sequence[str],
    vectors: npt.ArrayLike | str | Path | None,
    text_column: str | None,
    vectors_column: str | None,
) -> Corpus:
    """Read documents, and their vectors if there are any."""
    if vectors is not None and vectors_column is not None:
        raise ArgumentError("Vectors are given twice: by --vectors and by --vectors-column.")
    if isinstance(documents, (str, Path)):
        corpus = read_corpus(documents, text_column=text_column, vectors_column=vectors_column)
    else:
        _refuse({"text_column": text_column, "vectors_column": vectors_column}, "documents in a file")
        corpus = Corpus(list(documents))
    if vectors is None:
        return corpus
    given = read_vectors(vectors) if isinstance(vectors, (str, Path)) else np.asarray(vectors)
    return Corpus(corpus.texts, given)


def _documents_and_vectors(corpus: Corpus, embedder: CachedTeacher | None) -> tuple[Sequence[str], npt.NDArray[Any]]:
    """Take the vectors of the documents, or let the embedder make them."""
    if corpus.vectors is None:
        assert embedder is not None
        texts = [corpus.texts[number] for number in distinct_documents(corpus.texts)]
        return texts, embedder.encode(texts, "document")
    if embedder is not None:
        embedder.check_vectors(corpus.texts, corpus.vectors)
    return corpus.texts, corpus.vectors


def _start(codebook: Codebook, index: Index, seed: int) -> SentenceTransformer:
    """Build a model over a codebook whose projection is fitted to the documents."""
    places = sample(index.trained, SAMPLE, seed)
    texts = list(index.documents(places))
    model = build_model(codebook, index.components.shape[1], token_weights="corpus", corpus=texts)
    initialize_by_least_squares(model, texts, index.components[places], seed=seed)
    return model

"""Adaptation of a static model to documents, without labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from wordllama_st.baking import bake, describe_origin
from wordllama_st.codebook import Codebook
from wordllama_st.data.corpus import read_corpus, read_vectors
from wordllama_st.data.pseudo_queries import make_pseudo_queries
from wordllama_st.data.texts import as_texts
from wordllama_st.errors import ArgumentError
from wordllama_st.static.space import VectorSpace
from wordllama_st.storage.staging import check_output
from wordllama_st.training import distillation, index, supervised
from wordllama_st.training.asymmetric import make_asymmetric_model, save_asymmetric_model
from wordllama_st.training.build import build_model
from wordllama_st.training.report import AdaptationReport, IndexReport, Result, ScoreChange
from wordllama_st.training.static_model import (
    embedding_weight,
    model_name,
    save_static_model,
    static_model_from_pretrained,
)
from wordllama_st.training.structure import train_on_structure
from wordllama_st.training.teacher import check_vectors_of_teacher, load_teacher, teacher_embeddings
from wordllama_st.training.views import DocumentViews

#: Dims that are learned for vectors of more; the others carry little.
LEARNED_DIM = 256
#: Each a share of the documents.
HOLD_OUT_OF_STRUCTURE, HOLD_OUT_OF_INDEX = 0.15, 0.02


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

    With ``vectors``, ``vectors_column`` or ``teacher``, the model learns to predict the vectors that an embedder has
    given the documents, from the documents, thinned documents and short spans of them. Its embeddings of queries are
    then in the space of these vectors, at their full width, and search the index as it is. LightRetriever (arXiv
    2505.12260) trains such a look-up together with its embedder.

    Otherwise, pairs are formed from the structure of a folder's documents: titles and sections, neighbouring passages,
    names and docstrings.

    Args:
        model: For an index, a codebook or what :meth:`Codebook.from_pretrained` takes, best the embedder itself or a
            static model that was distilled from it; for structure, what :meth:`StaticEncoder.from_pretrained` takes, or
            a model over a static table, trained in place.
        documents: A list of documents; or a file or folder, as for :func:`~wordllama_st.data.corpus.read_corpus`; for
            structure, a folder.
        vectors: The documents' vectors [n, D], in order, or their .npy file. They are scaled to unit length.
        text_column: The column of documents in a file.
        vectors_column: The column of their vectors.
        teacher: The embedder, a SentenceTransformer. It encodes the documents if no vectors are given, and parts of
            them as queries, which makes the model better at queries for its vectors.
        queries: Queries (str) and files of queries (Path), of a log for example, that the teacher encodes as well.
        cache: Directory that keeps the teacher's embeddings. None keeps them in PATH-teacher, or nowhere.
        asymmetric: Directory for a stock SentenceTransformer whose ``encode_query`` is the adapted model and whose
            ``encode_document`` is the teacher.
        dim: d, to embed both sides in the d leading principal axes of the vectors instead of the space of the index;
            the axes are kept with the model.
        similarity: Files of scored pairs, to report how the model's similarities change.
        hold_out: For structure, the share of the documents to evaluate on; 0.15 if None. Of an index 0.02 are.
        epochs: 10 for an index and 3 for structure, if None.
        stay_close: For structure only; 30 if None.

    Raises:
        ArgumentError: If the vectors are not as many as the documents, not finite or all alike, or an argument does not
            fit the others.
        DatasetError: If there are fewer than 100 different documents.
        DocumentError: If the folder has no usable documents, or too few.
    """
    sources = [model, documents, vectors, teacher, *(source for source in queries or () if isinstance(source, Path))]
    for output in (path, asymmetric):
        check_output(output, overwrite=overwrite, sources=sources)
    if vectors is None and vectors_column is None and teacher is None:
        _refuse("vectors, vectors_column or teacher", text_column, queries, cache, asymmetric, dim, similarity)

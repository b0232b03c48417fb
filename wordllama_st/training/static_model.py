"""Static models whose table is trained, every row of it, as a StaticEmbedding of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from huggingface_hub import EvalResult
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import Tensor

from wordllama_st.errors import ArgumentError, ModelLoadError
from wordllama_st.modules.stock import model_settings, projection_of, static_modules
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.formats.save import write_static_model
from wordllama_st.static.space import VectorSpace
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.tokenizer import plain_tokenizer

#: From how many times the dim of its rows on a projected table is kept as two factors.
SMALLER_AS_FACTORS = 2


def static_model_from_pretrained(source: str | Path | SentenceTransformer) -> SentenceTransformer:
    """Load a static model so that every row of its table can be trained.

    Args:
        source: What :meth:`~wordllama_st.StaticEncoder.from_pretrained` takes; or a model over a static table.

    Returns:
        A stock model whose table [V, d] is in float32 and in memory of its own; a projection is multiplied into it.

    Raises:
        ModelLoadError: If the model is not static; likewise ModelUnavailableError and UnknownModelError.
        ArgumentError: If a model in memory has a Dense with a bias or an activation.
    """
    if isinstance(source, SentenceTransformer):
        if not is_static_model(source):
            raise ModelLoadError(f"The model begins with {type(source[0]).__name__}, not a static table; bake it.")
        projection_of(source)
        return source
    table = read_static_model(source)
    weight = np.array(table.expanded(), np.float32)  # a copy: what was loaded is a mapping of its file
    modules = static_modules(replace(table, weight=weight, mapping=None, scales=None, projection=None))
    return SentenceTransformer(modules=modules, **model_settings(table))


def is_static_model(model: SentenceTransformer) -> bool:
    """Tell whether a model is a token table and a mean."""
    return isinstance(model[0], StaticEmbedding)


def embedding_weight(model: SentenceTransformer) -> Tensor:
    """Return the table [V, d] of a static model, as the parameter that is trained."""
    embedding = model[0]
    assert isinstance(embedding, StaticEmbedding)
    table: Tensor = embedding.embedding.weight
    return table


def normalized_model(
    model: SentenceTransformer, projection: npt.NDArray[np.float32] | None = None
) -> SentenceTransformer:
    """Return a static model whose embeddings are projected by [d, D], if a projection is given, and of unit length.

    The projection stays a factor where the table would be at least twice as large as the one that is projected.
    """
    weight = embedding_weight(model).detach().cpu().numpy()
    table = StaticTable(weight, plain_tokenizer(model.tokenizer), normalize=True, projection=projection)
    if table.dim < SMALLER_AS_FACTORS * weight.shape[1]:
        table = table.multiplied()
    return SentenceTransformer(modules=static_modules(table), **model_settings(table))


def save_static_model(
    model: SentenceTransformer,
    path: str | Path,
    origin: Sequence[str],
    *,
    scores: Sequence[EvalResult] = (),
    space: VectorSpace | None = None,
    overwrite: bool = False,
) -> None:
    """Save a static model in the layout that sentence-transformers 3.2 and later load; it appears when it is complete.

    A last ``Binarize`` is left to ``encode(precision="ubinary")``. ``origin`` and ``scores`` are for the model card;
    ``space`` is that of the index which the model was adapted to.

    Raises:
        ArgumentError: If the model is not static, or has a Dense with a bias or an activation.
        OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
    """
    if not is_static_model(model):
        raise ArgumentError(f"{type(model[0]).__name__} is no static table; bake the model.")
    weight = embedding_weight(model).detach().cpu().numpy()
    normalize = any(isinstance(module, Normalize) for module in model)
    kept = {"space": space, "projection": projection_of(model), **model_settings(model)}
    table = StaticTable(weight, plain_tokenizer(model.tokenizer), normalize, **kept)
    write_static_model(table, path, origin, scores=scores, overwrite=overwrite)


def model_name(model: object) -> str:
    """Return the name of a model for the card of another: its source, or what its own card calls it."""
    if not isinstance(model, SentenceTransformer):
        return str(model)
    card = model.model_card_data
    return card.model_id or card.model_name or card.base_model or "a model in memory"

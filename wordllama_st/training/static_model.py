"""Static models to train further: every row of the table, by the library's own module for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import EvalResult
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import Tensor

from wordllama_st.errors import ArgumentError
from wordllama_st.modules.stock import static_modules
from wordllama_st.static.formats import sentence_transformers as stock_format
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.model_card import static_model_card
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.tokenizer import plain_tokenizer


def load_trainable(source: str | Path) -> SentenceTransformer:
    """Load a static model so that every row of its table can be trained.

    Args:
        source: As :meth:`~wordllama_st.StaticEncoder.from_pretrained` has it.

    Returns:
        A stock model over a table in float32, whatever it was, in memory of its own.

    Raises:
        ModelLoadError: If what is there is no static model; likewise ModelUnavailableError and UnknownModelError.
    """
    table = read_static_model(source)
    weight = np.array(table.expanded(), np.float32)  # a copy: what was loaded is a mapping of its file
    settings: dict[str, Any] = {
        "prompts": dict(table.prompts),
        "default_prompt_name": table.default_prompt_name,
        "similarity_fn_name": table.similarity_fn_name,
    }
    return SentenceTransformer(
        modules=static_modules(replace(table, weight=weight, mapping=None, scales=None)), **settings
    )


def is_static_model(model: SentenceTransformer) -> bool:
    """Whether a model is a table and its mean, so that training it trains the table's rows."""
    return isinstance(model[0], StaticEmbedding)


def embedding_weight(model: SentenceTransformer) -> Tensor:
    """The table [V, d] of a static model, as the parameter that training changes."""
    embedding = model[0]
    assert isinstance(embedding, StaticEmbedding)
    table: Tensor = embedding.embedding.weight
    return table


def save_static_model(
    model: SentenceTransformer,
    path: str | Path,
    made_from: Sequence[str],
    *,
    scores: Sequence[EvalResult] = (),
    overwrite: bool = False,
) -> None:
    """Write a static model that was trained, in the layout that sentence-transformers 3.2 and later load.

    Args:
        model: As :func:`load_trainable` returns it; a last ``Binarize`` is left to ``encode(precision="ubinary")``.
        path: Directory to save to; it appears when it is complete.
        made_from: Statements for the model card.
        scores: What was measured of it, for the card.
        overwrite: Whether to replace what is there.

    Raises:
        ArgumentError: If the model is not static.
        OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
    """
    if not is_static_model(model):
        raise ArgumentError(f"{type(model[0]).__name__} is no static table; bake the model.")
    settings: dict[str, Any] = {
        "prompts": dict(model.prompts),
        "default_prompt_name": model.default_prompt_name,
        "similarity_fn_name": model.similarity_fn_name,
    }
    weight = embedding_weight(model).detach().cpu().numpy()
    normalize = any(isinstance(module, Normalize) for module in model)
    table = StaticTable(weight, plain_tokenizer(model.tokenizer), normalize)
    card = static_model_card(Path(path).name, (table.num_tokens, table.dim), list(made_from), list(scores))
    stock_format.save(table, path, card=card, settings=settings, overwrite=overwrite)

"""Static models as modules of sentence-transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import nn

from wordllama_st.errors import ArgumentError
from wordllama_st.static.table import StaticTable


def static_modules(table: StaticTable) -> list[nn.Module]:
    """Return a static model as StaticEmbedding and, if it has them, Dense and Normalize; floats are not copied."""
    rows = replace(table, projection=None)
    weight = torch.from_numpy(rows.expanded() if table.weight.dtype == np.int8 else rows.dense())
    modules: list[nn.Module] = [StaticEmbedding(table.tokenizer, embedding_weights=weight)]
    if table.projection is not None:
        modules.append(linear_dense(table.projection).to(weight.dtype))
    return [*modules, Normalize()] if table.normalize else modules


def linear_dense(projection: npt.NDArray[np.float32]) -> Dense:
    """Return a Dense that multiplies embeddings by a projection [d, D], without bias and activation."""
    weight = torch.from_numpy(np.ascontiguousarray(projection.T))
    dim, width = projection.shape
    return Dense(dim, width, bias=False, activation_function=nn.Identity(), init_weight=weight)


def projection_of(model: SentenceTransformer) -> npt.NDArray[np.float32] | None:
    """Return the projection [d, D] of a static model, or None if it has none.

    Raises:
        ArgumentError: If it has a Dense that is more than a product with a matrix.
    """
    projection = None
    for module in model:
        if isinstance(module, Dense):
            linear = type(module.activation_function) is nn.Identity and not module.bias and not module.use_residual
            if projection is not None or not linear:
                raise ArgumentError(
                    f"The model has {module} behind its table; a static model has one Dense there at most, without "
                    f"bias and activation."
                )
            projection = np.ascontiguousarray(module.linear.weight.detach().cpu().float().numpy().T)
    return projection


def model_settings(model: SentenceTransformer | StaticTable) -> dict[str, Any]:
    """Return the settings of a model that are none of its modules', as arguments of ``SentenceTransformer``."""
    return {
        "prompts": dict(model.prompts),
        "default_prompt_name": model.default_prompt_name,
        "similarity_fn_name": model.similarity_fn_name,
    }

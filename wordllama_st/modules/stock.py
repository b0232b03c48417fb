"""Static models as modules of sentence-transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import nn

from wordllama_st.static.table import StaticTable


def static_modules(table: StaticTable) -> list[nn.Module]:
    """Return a static model as StaticEmbedding and, if it normalizes, Normalize; a table of floats is not copied."""
    weight = table.expanded() if table.weight.dtype == np.int8 else table.dense()
    embedding = StaticEmbedding(table.tokenizer, embedding_weights=torch.from_numpy(weight))
    return [embedding, Normalize()] if table.normalize else [embedding]


def model_settings(model: SentenceTransformer | StaticTable) -> dict[str, Any]:
    """Return the settings of a model that are none of its modules', as arguments of ``SentenceTransformer``."""
    return {
        "prompts": dict(model.prompts),
        "default_prompt_name": model.default_prompt_name,
        "similarity_fn_name": model.similarity_fn_name,
    }

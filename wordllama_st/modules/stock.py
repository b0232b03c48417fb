"""The sentence-transformers modules that a static model consists of."""

from __future__ import annotations

import numpy as np
import torch
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import nn

from wordllama_st.static.table import StaticTable


def static_modules(table: StaticTable) -> list[nn.Module]:
    """A static model as the library's own modules, sharing the table's memory where it has a float for each number."""
    weight = table.expanded() if table.weight.dtype == np.int8 else table.dense()
    embedding = StaticEmbedding(table.tokenizer, embedding_weights=torch.from_numpy(weight))
    return [embedding, Normalize()] if table.normalize else [embedding]

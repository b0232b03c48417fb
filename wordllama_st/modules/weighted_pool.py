"""Pooling: the weighted mean of a text's token vectors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wordllama_st.errors import ArgumentError
from wordllama_st.modules.activations import ACTIVATIONS
from wordllama_st.modules.token_features import distinct_rows
from wordllama_st.modules.trained_module import TrainedModule


class WeightedPool(TrainedModule):
    r"""Averages a text's token vectors, each scaled by what its token learned to count for.

    A text of tokens :math:`t_1 \dots t_n` becomes :math:`\frac{1}{n} \sum_i f(w_{t_i}) e_{t_i}`: one embedding-bag
    call over the batch's token stream, so that no tensor of shape [batch, length, D] is built. The weights are
    WordLlama's (https://github.com/dleemiller/WordLlama); there they follow the projection, here they may precede it,
    which gives the same mean for a fraction of the work. A text without tokens becomes the zero vector.

    Args:
        num_embeddings: V, the vocabulary size.
        initial_weights: The weights w to start from, [V]. Ones if None; see :mod:`wordllama_st.training.initialize` for better.
        activation: The f that a weight passes through: ``"gelu"`` as in WordLlama, ``"relu"``, ``"softplus"`` or
            ``"identity"``.

    Raises:
        ArgumentError: If ``initial_weights`` is not [V], or the activation is unknown.
    """

    config_keys: list[str] = ["num_embeddings", "activation"]

    def __init__(self, num_embeddings: int, initial_weights: Tensor | None = None, activation: str = "gelu") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ArgumentError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}.")
        if initial_weights is None:
            initial_weights = torch.ones(num_embeddings)
        if initial_weights.shape != (num_embeddings,):
            raise ArgumentError(f"initial_weights has shape {list(initial_weights.shape)}, not [{num_embeddings}].")
        self.num_embeddings = num_embeddings
        self.activation = activation
        self.weights = nn.Parameter(initial_weights.detach().clone().float())

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        table, rows = features.pop("token_table"), features.pop("token_rows")
        if table.dtype != self.weights.dtype or table.device != self.weights.device:
            table, rows = distinct_rows(table, rows, like=self.weights)
        counts = features["token_counts"]
        sums = F.embedding_bag(
            rows,
            table,
            offsets=counts.cumsum(0) - counts,
            mode="sum",
            per_sample_weights=ACTIVATIONS[self.activation](self.weights[features.pop("token_ids")]),
        )
        features["sentence_embedding"] = sums / counts.clamp(min=1).unsqueeze(1)
        return features

"""WeightedPool: the weighted mean of a text's token embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wordllama_st.errors import ArgumentError
from wordllama_st.modules.token_features import distinct_rows
from wordllama_st.modules.trained_module import TrainedModule

#: What a token weight passes through. GELU, WordLlama's choice, maps negative weights close to zero.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "softplus": F.softplus,
    "identity": lambda weights: weights,
}


class WeightedPool(TrainedModule):
    r"""Pools the token embeddings of a text by their mean, each multiplied by a learned weight of its token.

    A text of tokens :math:`t_1 \dots t_n` becomes :math:`\frac{1}{n} \sum_i f(w_{t_i}) e_{t_i}`, computed by one
    embedding-bag call, so that no tensor [batch, length, D] is built. The weights are WordLlama's
    (https://github.com/dleemiller/WordLlama), where they are applied after the projection; here they may be applied
    before it, with the same mean. A text without tokens becomes the zero vector.

    Args:
        num_embeddings: V, the vocabulary size.
        initial_weights: Initial weights w [V]; ones if None. See :mod:`wordllama_st.training.initialize`.
        activation: f: ``"gelu"`` as in WordLlama, ``"relu"``, ``"softplus"`` or ``"identity"``.

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


def invert_activation(activation: str, values: Tensor) -> Tensor:
    """Find the weights [V] that an activation maps to ``values`` [V], by bisection.

    Raises:
        ArgumentError: If there is no such activation, or one of the values is negative or not finite.
    """
    if activation not in ACTIVATIONS:
        raise ArgumentError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}.")
    if not bool(((values >= 0) & values.isfinite()).all()):
        raise ArgumentError("Effective token weights are finite numbers, from zero up.")
    function = ACTIVATIONS[activation]
    values = values.double()
    low = torch.zeros_like(values) if activation != "softplus" else torch.full_like(values, -50.0)
    high = values + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        below = function(middle) < values
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high.float()

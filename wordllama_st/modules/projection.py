"""Projection: from the embedding dim of the language model to that of the embedder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from wordllama_st.modules.token_features import distinct_rows
from wordllama_st.modules.trained_module import TrainedModule


class Projection(TrainedModule):
    """Projects pooled texts, or tokens before they are pooled.

    A linear projection commutes with the mean, so it belongs behind :class:`~wordllama_st.modules.WeightedPool`, where
    it runs once per text. A projection with a hidden layer must precede the pooling to be baked; it then runs over the
    distinct tokens of a batch, not over every position. A text without tokens stays the zero vector.

    Args:
        in_features: D, the embedding dim of the codebook.
        out_features: d, the dim of the embeddings.
        bias: Whether the linear layers have a bias.
        hidden_features: The width of a hidden layer with GELU. None makes the projection a single linear layer.
    """

    config_keys: list[str] = ["in_features", "out_features", "bias", "hidden_features"]

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, hidden_features: int | None = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.bias = bias
        self.hidden_features = hidden_features
        self.project: nn.Module
        if hidden_features is None:
            self.project = nn.Linear(in_features, out_features, bias=bias)
        else:
            self.project = nn.Sequential(
                nn.Linear(in_features, hidden_features, bias=bias),
                nn.GELU(),
                nn.Linear(hidden_features, out_features, bias=bias),
            )

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if "token_table" in features:
            return self._project_tokens(features)
        projected: Tensor = self.project(features["sentence_embedding"])
        if (counts := features.get("token_counts")) is not None:
            projected = torch.where(counts.unsqueeze(1) > 0, projected, 0)
        features["sentence_embedding"] = projected
        return features

    def _project_tokens(self, features: dict[str, Any]) -> dict[str, Any]:
        like = next(self.parameters())
        table, features["token_rows"] = distinct_rows(features["token_table"], features["token_rows"], like=like)
        features["token_table"] = self.project(table)
        return features

    def get_embedding_dimension(self) -> int:
        return self.out_features

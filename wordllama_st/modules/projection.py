"""Projection: from the language model's width to the embedder's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from wordllama_st.modules.token_features import distinct_rows
from wordllama_st.modules.trained_module import TrainedModule


class Projection(TrainedModule):
    """Projects texts after the pooling, or tokens before it.

    A linear projection and a mean can change places, so a linear one belongs behind
    :class:`~wordllama_st.modules.WeightedPool`: it then runs once per text. One with a hidden layer must stand in
    front of the pooling to be baked, and runs there over the distinct tokens of the batch, not over every position.

    A text without tokens stays the zero vector: there is nothing to project, and the bias alone would give it a
    direction.

    Args:
        in_features: D, the width of what comes in.
        out_features: d, the width of what goes out.
        bias: Whether the linear layers have a bias.
        hidden_features: With it, two linear layers of this width between them and GELU in the middle; without, one.
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

"""Binarize: sign embeddings, trained by straight-through estimation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sentence_transformers.base.modules import Module
from torch import Tensor

from wordllama_st.errors import ArgumentError


def _clipped(x: Tensor) -> Tensor:
    """Clip to [-1, 1]: the straight-through estimator (Hinton 2012; Courbariaux et al. 2016)."""
    return x.clamp(-1, 1)


def _reste(x: Tensor, power: float = 3.0, threshold: float = 1.5, linear: float = 0.1) -> Tensor:
    """Compute sign(x)|x|^(1/power) (ReSTE; Wu et al., ICCV 2023).

    The gradient is zero beyond ``threshold``; the curve is linear within ``linear`` of zero, where its slope would be
    unbounded.
    """
    size = x.abs()
    curve = x.sign() * size.clamp(linear, threshold) ** (1 / power)
    return torch.where(size > linear, curve, x * linear ** (1 / power - 1))


#: What each estimator differentiates in place of the sign.
SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {"ste": _clipped, "tanh": torch.tanh, "reste": _reste}


class Binarize(Module):
    """Maps each dimension to its sign, -1 or +1, with a surrogate gradient.

    It must be the last module. Baking drops it: a static model's embeddings are dense, and
    ``encode(precision="ubinary")`` of sentence-transformers packs their signs.

    Args:
        estimator: The gradient of the sign: ``"ste"`` (that of the identity within [-1, 1]), ``"tanh"`` (WordLlama's
            default) or ``"reste"`` (Rectified STE, https://arxiv.org/abs/2308.06689).

    Raises:
        ArgumentError: If the estimator is unknown.
    """

    config_keys: list[str] = ["estimator"]

    def __init__(self, estimator: str = "tanh") -> None:
        super().__init__()
        if estimator not in SURROGATES:
            raise ArgumentError(f"estimator must be one of {', '.join(SURROGATES)}, not {estimator!r}.")
        self.estimator = estimator

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        x = features["sentence_embedding"]
        surrogate = SURROGATES[self.estimator](x)
        # Zero is negative, as in sentence-transformers' quantization. The second term is zero, with a gradient.
        features["sentence_embedding"] = torch.where(x > 0, 1.0, -1.0).to(x) + (surrogate - surrogate.detach())
        return features

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        self.save_config(output_path)

"""Binarize: sign embeddings that can be trained, by straight-through estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sentence_transformers.base.modules import Module
from torch import Tensor

from wordllama_st.errors import ArgumentError


def _clipped(x: Tensor) -> Tensor:
    """The identity within [-1, 1]: the plain estimator (Hinton 2012; Courbariaux et al. 2016)."""
    return x.clamp(-1, 1)


def _reste(x: Tensor, power: float = 3.0, threshold: float = 1.5, linear: float = 0.1) -> Tensor:
    """sign(x)|x|^(1/power), which comes closer to the sign as the power grows (ReSTE; Wu et al., ICCV 2023).

    The gradient is cut beyond ``threshold``, and the curve is a straight line within ``linear`` of zero, where its
    slope would have no bound.
    """
    size = x.abs()
    curve = x.sign() * size.clamp(linear, threshold) ** (1 / power)
    return torch.where(size > linear, curve, x * linear ** (1 / power - 1))


#: What each estimator differentiates in place of the sign.
SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {"ste": _clipped, "tanh": torch.tanh, "reste": _reste}


class Binarize(Module):
    """Turns each dimension into its sign, -1 or +1, and lets gradients through.

    Stands last. Baking drops it: a static model's vectors are dense, and ``encode(precision="ubinary")`` takes their
    signs and packs them.

    Args:
        estimator: What stands for the sign's gradient: ``"ste"`` (the identity within [-1, 1]), ``"tanh"`` (its
            derivative, WordLlama's default) or ``"reste"`` (Rectified STE, https://arxiv.org/abs/2308.06689).

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
        # Zero counts as negative, as in the library's own quantisation. The second term is zero, with a gradient.
        features["sentence_embedding"] = torch.where(x > 0, 1.0, -1.0).to(x) + (surrogate - surrogate.detach())
        return features

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        self.save_config(output_path)

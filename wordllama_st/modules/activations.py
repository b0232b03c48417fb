"""The activations that turn a learned token weight into what the token counts for."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from wordllama_st.errors import ArgumentError

#: GELU is WordLlama's: near the identity for weights that matter, near zero for those that learned to be negative.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "softplus": F.softplus,
    "identity": lambda weights: weights,
}


def inverse(activation: str, values: Tensor) -> Tensor:
    """The weights that an activation turns into ``values``, found by bisection.

    Args:
        activation: A name in :data:`ACTIVATIONS`; each of them grows on the interval searched.
        values: What the tokens should count for, [V], none negative.

    Raises:
        ArgumentError: If there is no such activation, or one of the values is negative or not finite.
    """
    if activation not in ACTIVATIONS:
        raise ArgumentError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}.")
    if not bool(((values >= 0) & values.isfinite()).all()):
        raise ArgumentError("What a token counts for is a number from zero up.")
    function = ACTIVATIONS[activation]
    values = values.double()
    low = torch.zeros_like(values) if activation != "softplus" else torch.full_like(values, -50.0)
    high = values + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        below = function(middle) < values
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high.float()

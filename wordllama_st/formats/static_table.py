"""The static model itself: what every layout on disk stores, and every runtime computes with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer


@dataclass(frozen=True)
class StaticTable:
    """A text embedder that is a table look-up and a mean.

    Attributes:
        weight: One vector per token id, [V, d], float32 or float16.
        tokenizer: Text to token ids; it neither truncates nor pads nor adds special tokens.
        normalize: Whether the mean is scaled to unit length afterwards.
    """

    weight: npt.NDArray[Any]
    tokenizer: Tokenizer
    normalize: bool = False

    @property
    def dim(self) -> int:
        """d, the length of a vector."""
        return int(self.weight.shape[1])

    def truncated(self, dim: int) -> StaticTable:
        """The same model with the first ``dim`` dimensions of every vector."""
        return replace(self, weight=np.ascontiguousarray(self.weight[:, :dim]))

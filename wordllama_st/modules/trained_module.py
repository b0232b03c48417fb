"""TrainedModule: saving and loading of a module's config and weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import Module

from wordllama_st.errors import ModelLoadError

try:
    from typing import Self
except ImportError:
    from typing_extensions import Self

LOCATION = ("subfolder", "token", "cache_folder", "revision", "local_files_only")


class TrainedModule(Module):
    """A module that is saved as a config and a safetensors file."""

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(cls, model_name_or_path: str, **kwargs: Any) -> Self:  # type: ignore[override]
        where = location(kwargs)
        config = cls.load_config(model_name_or_path, **where)
        weights = cls.load_torch_weights(model_name_or_path, **where)
        with torch.device("meta"):  # where it takes no memory, whatever numbers are in the config
            expected = _shapes(cls(**config).state_dict())
        if (found := _shapes(weights)) != expected:
            raise ModelLoadError(
                f"The weights in {Path(model_name_or_path, where.get('subfolder', ''))} are {found}, and its "
                f"config.json describes {expected}. Save the model again."
            )
        module = cls(**config)
        module.load_state_dict(weights)
        return module


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in sorted(weights.items())}


def location(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Select the arguments of ``load`` that say where a module's files are."""
    return {key: kwargs[key] for key in LOCATION if key in kwargs}

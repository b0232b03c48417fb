"""TrainedModule: saving and loading of a module's config and weights."""

from __future__ import annotations

from typing import Any

from sentence_transformers.base.modules import Module

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
        module = cls(**cls.load_config(model_name_or_path, **where))
        cls.load_torch_weights(model_name_or_path, model=module, **where)
        return module


def location(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Select the arguments of ``load`` that say where a module's files are."""
    return {key: kwargs[key] for key in LOCATION if key in kwargs}

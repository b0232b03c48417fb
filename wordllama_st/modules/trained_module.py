"""What the modules with weights have in common: a config, a safetensors file, and how to read both back."""

from __future__ import annotations

from typing import Any

from sentence_transformers.base.modules import Module

try:
    from typing import Self
except ImportError:
    from typing_extensions import Self

LOCATION = ("subfolder", "token", "cache_folder", "revision", "local_files_only")


class TrainedModule(Module):
    """A module that is saved as its config and its weights."""

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
    """Of all that the library passes to ``load``, what says where a module's files are."""
    return {key: kwargs[key] for key in LOCATION if key in kwargs}

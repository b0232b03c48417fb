"""What the modules with weights have in common: a config, a safetensors file, and how to read both back."""

from __future__ import annotations

from typing import Any

from sentence_transformers.base.modules import Module

try:
    from typing import Self
except ImportError:
    from typing_extensions import Self


class TrainedModule(Module):
    """A module that is saved as its config and its weights."""

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(  # type: ignore[override]
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> Self:
        hub_kwargs: dict[str, Any] = {
            "subfolder": subfolder,
            "token": token,
            "cache_folder": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        module = cls(**cls.load_config(model_name_or_path, **hub_kwargs))
        cls.load_torch_weights(model_name_or_path, model=module, **hub_kwargs)
        return module

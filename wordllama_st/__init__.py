"""Turn the token table of a large language model into a small, fast, context-free text embedder.

The public names are imported when they are first used: ``import wordllama_st`` costs nothing and needs neither torch
nor sentence-transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wordllama_st.errors import require

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wordllama_st.baking import bake
    from wordllama_st.codebook import Codebook
    from wordllama_st.modules import Binarize, LLMTokenEmbedding, Projection, WeightedPool
    from wordllama_st.registration import register, unregister
    from wordllama_st.static import StaticEncoder
    from wordllama_st.training.build import build_model
    from wordllama_st.training.load import load_model

#: Public name -> (the module that defines it, the extra and its modules that it needs).
_TORCH = ("st", "torch", "sentence_transformers")
_EXPORTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Codebook": ("codebook", ()),
    "StaticEncoder": ("static", ()),
    "LLMTokenEmbedding": ("modules", _TORCH),
    "WeightedPool": ("modules", _TORCH),
    "Projection": ("modules", _TORCH),
    "Binarize": ("modules", _TORCH),
    "build_model": ("training.build", _TORCH),
    "load_model": ("training.load", _TORCH),
    "bake": ("baking", _TORCH),
    "register": ("registration", _TORCH),
    "unregister": ("registration", _TORCH),
}

__all__ = [
    "Binarize",
    "Codebook",
    "LLMTokenEmbedding",
    "Projection",
    "StaticEncoder",
    "WeightedPool",
    "__version__",
    "bake",
    "build_model",
    "load_model",
    "register",
    "unregister",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _EXPORTS[name]
    if extra:
        require(*extra)
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

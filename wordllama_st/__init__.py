"""Small, fast, context-free text embedders from the token tables of large language models.

The public names are imported when they are first used: ``import wordllama_st`` takes no time and needs neither torch
nor sentence-transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wordllama_st.errors import require

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wordllama_st.analysis.explanation import explain as explain
    from wordllama_st.baking import bake as bake
    from wordllama_st.baking import bake_dims as bake_dims
    from wordllama_st.codebook import Codebook as Codebook
    from wordllama_st.evaluation import evaluate as evaluate
    from wordllama_st.modules import Binarize as Binarize
    from wordllama_st.modules import LLMTokenEmbedding as LLMTokenEmbedding
    from wordllama_st.modules import Projection as Projection
    from wordllama_st.modules import WeightedPool as WeightedPool
    from wordllama_st.recipes import adapt as adapt
    from wordllama_st.recipes import compress as compress
    from wordllama_st.recipes import distill as distill
    from wordllama_st.recipes import embed_with_teacher as embed_with_teacher
    from wordllama_st.recipes import finetune as finetune
    from wordllama_st.recipes import train as train
    from wordllama_st.registration import register as register
    from wordllama_st.registration import unregister as unregister
    from wordllama_st.static import StaticEncoder as StaticEncoder
    from wordllama_st.static.dataset import encode_dataset as encode_dataset
    from wordllama_st.training.build import build_model as build_model
    from wordllama_st.training.load import model_from_pretrained as model_from_pretrained
    from wordllama_st.training.static_model import static_model_from_pretrained as static_model_from_pretrained

#: The extra that some names need, and its modules.
_ST = ("st", "torch", "sentence_transformers")
_TRAIN = ("train", "torch", "sentence_transformers", "datasets", "accelerate")

#: Public name -> (the module that defines it, what it needs).
_EXPORTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Binarize": ("modules", _ST),
    "Codebook": ("codebook", ()),
    "LLMTokenEmbedding": ("modules", _ST),
    "Projection": ("modules", _ST),
    "StaticEncoder": ("static", ()),
    "WeightedPool": ("modules", _ST),
    "adapt": ("recipes", _TRAIN),
    "bake": ("baking", _ST),
    "bake_dims": ("baking", _ST),
    "build_model": ("training.build", _ST),
    "compress": ("recipes", _TRAIN),
    "distill": ("recipes", _TRAIN),
    "embed_with_teacher": ("recipes", _TRAIN),
    "encode_dataset": ("static.dataset", ("data", "pyarrow", "fsspec")),
    "evaluate": ("evaluation", (*_TRAIN, "pytrec_eval")),
    "explain": ("analysis.explanation", ()),
    "finetune": ("recipes", _TRAIN),
    "model_from_pretrained": ("training.load", _ST),
    "register": ("registration", _ST),
    "static_model_from_pretrained": ("training.static_model", _ST),
    "train": ("recipes", _TRAIN),
    "unregister": ("registration", _ST),
}

__all__ = ["__version__", *_EXPORTS]


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

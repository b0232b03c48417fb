"""Teach the stock ``SentenceTransformer`` class the ``wordllama-*`` names."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from sentence_transformers import SentenceTransformer

from wordllama_st import models
from wordllama_st.formats import wordllama as wordllama_format
from wordllama_st.modules.stock import stock_modules

_ORIGINAL = "_wordllama_st_original"


def register() -> None:
    """Make ``SentenceTransformer("wordllama-l2-supercat-256")`` work, and all that takes a model by its name.

    The 256-, 128- and 64-dim models of l2_supercat need no network. A local directory of the same name wins, and
    every other name is the library's business as before. Calling it again does nothing.

    Example:
        ::

            import wordllama_st
            from sentence_transformers import SentenceTransformer

            wordllama_st.register()
            model = SentenceTransformer("wordllama-l2-supercat-256")

    Raises:
        UnknownModelError: (from the class, once registered) for a ``wordllama-*`` name that was never released.
        ModelUnavailableError: (likewise) for one whose files cannot be had.
    """
    original = SentenceTransformer.__init__
    if hasattr(original, _ORIGINAL):
        return

    @functools.wraps(original)
    def init(self: SentenceTransformer, model_name_or_path: str | None = None, *args: Any, **kwargs: Any) -> None:
        if not _is_ours(model_name_or_path) or kwargs.get("modules") is not None:
            original(self, model_name_or_path, *args, **kwargs)
            return
        files = models.fetch(
            str(model_name_or_path),
            revision=kwargs.pop("revision", None),
            cache_folder=kwargs.get("cache_folder") or os.getenv("SENTENCE_TRANSFORMERS_HOME"),
            token=kwargs.get("token"),
            local_files_only=kwargs.get("local_files_only", False),
        )
        original(self, None, *args, modules=stock_modules(wordllama_format.load(files)), **kwargs)
        self.model_card_data.base_model = files.model.repo_id
        self.model_card_data.base_model_revision = files.revision

    setattr(init, _ORIGINAL, original)
    _set_init(init)


def unregister() -> None:
    """Undo :func:`register`. Models that are loaded stay as they are."""
    if (original := getattr(SentenceTransformer.__init__, _ORIGINAL, None)) is not None:
        _set_init(original)


def _set_init(init: Callable[..., None]) -> None:
    SentenceTransformer.__init__ = init  # type: ignore[method-assign]


def _is_ours(name: str | None) -> bool:
    return isinstance(name, str) and name.startswith(models.PREFIX) and not os.path.isdir(name)

"""Registration of the ``wordllama-*`` names with the stock ``SentenceTransformer`` class."""

from __future__ import annotations

import functools
import os
from typing import Any, cast

from sentence_transformers import SentenceTransformer

from wordllama_st.modules.stock import static_modules
from wordllama_st.static import released
from wordllama_st.static.formats import wordllama as wordllama_format

#: The constructor that :func:`register` put in place, while it is in force.
_installed: Any = None


def register() -> None:
    """Make ``SentenceTransformer("wordllama-l2-supercat-256")`` work, and all that takes a model by its name.

    The 256-, 128- and 64-dim models of l2_supercat need no network. A local directory of the same name wins, and
    every other name is handled as before. Calling it again does nothing.

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
    global _installed
    if _installed is None:
        _installed = _with_released_names(SentenceTransformer.__init__)
        _set_init(_installed)


def unregister() -> None:
    """Undo :func:`register`. Models that are loaded stay as they are."""
    global _installed
    # If another package has wrapped the constructor since, its wrapper stays, and ours inside it passes everything on.
    if _installed is not None and SentenceTransformer.__init__ is _installed:
        _set_init(cast(Any, _installed).__wrapped__)
    _installed = None


def _with_released_names(original: Any) -> Any:
    """Wrap the constructor so that it accepts the released names."""

    @functools.wraps(original)
    def init(self: SentenceTransformer, model_name_or_path: str | None = None, *args: Any, **kwargs: Any) -> None:
        if _installed is not init or not _is_ours(model_name_or_path) or kwargs.get("modules") is not None:
            original(self, model_name_or_path, *args, **kwargs)
            return
        files = released.fetch(
            str(model_name_or_path),
            revision=kwargs.pop("revision", None),
            cache_folder=kwargs.get("cache_folder") or os.getenv("SENTENCE_TRANSFORMERS_HOME"),
            token=kwargs.get("token"),
            local_files_only=kwargs.get("local_files_only", False),
        )
        original(self, None, *args, modules=static_modules(wordllama_format.read_released(files)), **kwargs)
        self.model_card_data.base_model = files.model.repo_id
        self.model_card_data.base_model_revision = files.revision

    return init


def _set_init(init: Any) -> None:
    SentenceTransformer.__init__ = init  # type: ignore[method-assign]


def _is_ours(name: str | None) -> bool:
    return isinstance(name, str) and name.startswith(released.PREFIX) and not os.path.isdir(name)

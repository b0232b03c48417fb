"""Loading of a trained, un-baked model without ``trust_remote_code``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Module
from sentence_transformers.util import import_from_string
from torch import nn

from wordllama_st.errors import ModelLoadError, WordLlamaSTError, reason
from wordllama_st.modules import Binarize, LLMTokenEmbedding, Projection, WeightedPool

STOCK = "sentence_transformers."
OWN_MODULES: tuple[type[Module], ...] = (Binarize, LLMTokenEmbedding, Projection, WeightedPool)


def model_from_pretrained(path: str | Path, *, device: str | None = None) -> SentenceTransformer:
    """Load a trained, un-baked model that ``save_pretrained`` wrote.

    ``SentenceTransformer`` needs ``trust_remote_code=True`` for modules that are not its own, which runs any code that
    the model names. This function admits only modules of wordllama-st and of sentence-transformers.

    Args:
        path: The model's directory.
        device: The device to load it on; that of sentence-transformers if None.

    Raises:
        ModelLoadError: If there is no such model, or one of its modules is damaged or of another package.
        CodebookError: If its codebook is damaged.
    """
    path = Path(path)
    entries = _read_json(path / "modules.json", f"{path} holds no sentence-transformers model")
    config = _read_json(path / "config_sentence_transformers.json", f"{path} holds no complete model")
    try:
        listed = [(_module_class(entry["type"]), entry["path"]) for entry in entries]
    except (KeyError, TypeError) as error:
        raise ModelLoadError(
            f"{path / 'modules.json'} does not list modules as sentence-transformers does: {error!r}."
        ) from error
    loaded: list[nn.Module] = [_load_module(module, path, subfolder) for module, subfolder in listed]
    model = SentenceTransformer(
        modules=loaded,
        device=device,
        prompts=config.get("prompts"),
        default_prompt_name=config.get("default_prompt_name"),
        similarity_fn_name=config.get("similarity_fn_name"),
    )
    if (card := path / "README.md").is_file():
        # As sentence-transformers does when it loads by path: a model that is not trained further keeps its card.
        model._model_card_text = card.read_text(encoding="utf-8")  # type: ignore[assignment]
    return model


def _load_module(module_class: type[Module], path: Path, subfolder: str) -> nn.Module:
    try:
        return module_class.load(str(path), subfolder=subfolder)
    except WordLlamaSTError:
        raise
    except Exception as error:  # whatever a module raises for a file that is missing, truncated or of another module
        raise ModelLoadError(f"{path / subfolder} does not hold a {module_class.__name__}: {reason(error)}") from error


def _module_class(reference: str) -> type[Module]:
    for own in OWN_MODULES:
        if reference == f"{own.__module__}.{own.__name__}":
            return own
    try:
        module_class = import_from_string(reference) if reference.startswith(STOCK) else None
    except (ImportError, AttributeError):
        module_class = None
    if not (isinstance(module_class, type) and issubclass(module_class, Module)):
        raise ModelLoadError(
            f"The model names {reference!r}, which is a module neither of wordllama-st nor of sentence-transformers. "
            f"If you trust it, load it with SentenceTransformer(path, trust_remote_code=True)."
        )
    return module_class


def _read_json(path: Path, otherwise: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelLoadError(f"{otherwise}: there is no {path.name}.") from None
    except ValueError as error:
        raise ModelLoadError(f"{path} is not JSON: {error}.") from error

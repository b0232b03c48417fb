"""Loading of a trained, un-baked model without ``trust_remote_code``."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Module
from sentence_transformers.util import import_from_string
from torch import nn

from wordllama_st.errors import ModelLoadError, WordLlamaSTError, reason
from wordllama_st.modules import Binarize, LLMTokenEmbedding, Projection, WeightedPool
from wordllama_st.static.formats.files import PICKLE_FILE, WEIGHT_FILE, missing_weights, model_file, read_json
from wordllama_st.static.formats.sentence_transformers import MODULES_FILE, SETTINGS_FILE, inner_folder, read_modules

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
    for name, kind in ((MODULES_FILE, "sentence-transformers"), (SETTINGS_FILE, "complete")):
        if not (path / name).is_file():
            raise ModelLoadError(f"{path} holds no {kind} model: there is no {name}.")
    config = read_json(model_file(path, SETTINGS_FILE))
    if not isinstance(config, dict):
        raise ModelLoadError(f"{path / SETTINGS_FILE} is no JSON object. Save the model again.")
    modules_file = model_file(path, MODULES_FILE)
    listed = [
        (_module_class(kind), _checked_folder(path, inner_folder(subfolder, modules_file)))
        for kind, subfolder in read_modules(modules_file)
    ]
    loaded: list[nn.Module] = [_load_module(module, path, subfolder) for module, subfolder in listed]
    try:
        model = SentenceTransformer(
            modules=loaded,
            device=device,
            prompts=config.get("prompts"),
            default_prompt_name=config.get("default_prompt_name"),
            similarity_fn_name=config.get("similarity_fn_name"),
        )
    except (ValueError, TypeError) as error:  # of settings that do not fit together
        raise ModelLoadError(f"{path} cannot be put together: {reason(error)}") from error
    if (card := path / "README.md").is_file():
        # As sentence-transformers does when it loads by path: a model that is not trained further keeps its card.
        model._model_card_text = card.read_text(encoding="utf-8")  # type: ignore[assignment]
    return model


def _checked_folder(path: Path, subfolder: PurePosixPath) -> str:
    """Return a module's folder; ModelLoadError if a link there leads out of the model, or its weights are a pickle."""
    folder = path / subfolder
    if os.path.isdir(folder):  # which is no error for a name that is too long
        for name in os.listdir(folder):
            model_file(path, subfolder / name)
        if (folder / PICKLE_FILE).is_file() and not (folder / WEIGHT_FILE).is_file():
            raise missing_weights(folder / WEIGHT_FILE)
    return str(subfolder)


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

"""Whatever can be scored: static models, trained models, and any other SentenceTransformer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer

from wordllama_st.errors import ModelLoadError, reason
from wordllama_st.evaluation.vectors import Role
from wordllama_st.modules.stock import static_modules
from wordllama_st.static import StaticEncoder, released
from wordllama_st.static.formats import sentence_transformers as stock_format
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.similarity import Vectors
from wordllama_st.static.table import StaticTable
from wordllama_st.training.load import model_from_pretrained

#: A directory, a released name or a Hub id; or a model that is loaded.
ModelSource: TypeAlias = str | Path | SentenceTransformer | StaticEncoder

#: Texts at a time. A transformer pads them to the longest, so that more are no faster on a CPU.
_TRANSFORMER_BATCH, _STATIC_BATCH = 32, 1024
_CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class ScoredModel:
    """A model that is loaded and ready to encode.

    Attributes:
        name: What to call it.
        source: What it was loaded from.
        dim: D, the length of its vectors.
        size: Bytes it takes on disk; None if it was not loaded from there.
        runtime: What encodes: ``"StaticEncoder"`` or ``"SentenceTransformer"``.
        threads: Threads it encodes with; None on an accelerator.
        directory: Where it is, if it is a local directory.
        tells_roles: Whether a text has another vector as a query than as a document.
        encode: From texts, what they are, and whether to show a progress bar, to vectors, float32 [n, D].
    """

    name: str
    source: str
    dim: int
    size: int | None
    runtime: str
    threads: int | None
    directory: Path | None
    tells_roles: bool
    encode: Callable[[Sequence[str], Role, bool], Vectors]


def open_model(source: ModelSource, name: str | None = None) -> ScoredModel:
    """Load a model, or take one that is.

    A static model is encoded by :class:`~wordllama_st.StaticEncoder`, which gives the stock class's vectors faster;
    one with prompts, and everything else, by ``SentenceTransformer``. Nothing of a trained model's code is run but this
    package's and the library's own.

    Args:
        source: A static model, as :meth:`StaticEncoder.from_pretrained` has it; the directory of a trained model; a
            directory or Hub id that ``SentenceTransformer`` loads; or an instance of one of these classes.
        name: What to call it; as its source if None.

    Raises:
        ModelLoadError: If there is something that is no model, or is damaged.
        ModelUnavailableError: If there is nothing, or it cannot be had.
        UnknownModelError: If a ``wordllama-*`` name was never released.
    """
    if isinstance(source, SentenceTransformer):
        return _stock(source, name or "SentenceTransformer", "memory", None, None)
    if isinstance(source, StaticEncoder):
        return _static(source, name or "StaticEncoder", "memory", None, None)
    path, text = Path(source), str(source)
    directory = path if path.is_dir() else None
    loaded = _load(text, directory)
    if isinstance(loaded, StaticTable):
        size: int | None = size_on_disk(path) if path.exists() else _table_size(loaded)
        if not any(loaded.prompts.values()):
            return _static(StaticEncoder(loaded), name or text, text, size, directory)
        loaded = SentenceTransformer(
            modules=static_modules(loaded), prompts=loaded.prompts, default_prompt_name=loaded.default_prompt_name
        )
    else:
        size = size_on_disk(directory) if directory else _cached_size(text)
    return _stock(loaded, name or text, text, size, directory)


def _load(source: str, directory: Path | None) -> StaticTable | SentenceTransformer:
    try:
        return read_static_model(source)
    except ModelLoadError as error:
        refused = error
    if source.startswith(released.PREFIX) and directory is None:
        raise refused
    if directory is not None:
        if not _is_stock(directory):
            raise refused
        if _is_trained(directory):
            return model_from_pretrained(directory)
    try:
        return SentenceTransformer(source)
    except Exception as error:  # whatever the model's modules and the libraries behind them come up with
        is_static = directory is not None and stock_format.find(directory) is not None
        raise (refused if is_static else ModelLoadError(f"{source} cannot be loaded: {reason(error)}")) from error


def _is_stock(directory: Path) -> bool:
    """Whether SentenceTransformer might load it: a model of its own, or a plain transformer."""
    if (directory / stock_format.MODULES_FILE).is_file():
        return True
    try:
        config = json.loads((directory / _CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "architectures" in config and config.get("model_type") != "model2vec"


def _is_trained(directory: Path) -> bool:
    """Whether it has a module of this package's."""
    try:
        entries = json.loads((directory / stock_format.MODULES_FILE).read_text(encoding="utf-8"))
        return any(str(entry["type"]).startswith("wordllama_st.") for entry in entries)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _static(encoder: StaticEncoder, name: str, source: str, size: int | None, directory: Path | None) -> ScoredModel:
    def encode(texts: Sequence[str], role: Role, show_progress_bar: bool) -> Vectors:
        vectors: Vectors = encoder.encode(list(texts), show_progress_bar=show_progress_bar)
        return vectors

    return ScoredModel(name, source, encoder.dim, size, "StaticEncoder", 1, directory, False, encode)


def _stock(model: SentenceTransformer, name: str, source: str, size: int | None, directory: Path | None) -> ScoredModel:
    methods: dict[Role, Any] = {
        "text": model.encode,
        "query": model.encode_query,
        "document": model.encode_document,
    }
    batch_size = _TRANSFORMER_BATCH if any(isinstance(part, Transformer) for part in model.modules()) else _STATIC_BATCH

    def encode(texts: Sequence[str], role: Role, show_progress_bar: bool) -> Vectors:
        vectors = methods[role](
            list(texts), batch_size=batch_size, show_progress_bar=show_progress_bar, convert_to_numpy=True
        )
        return np.asarray(vectors, np.float32)

    dim = model.truncate_dim or model.get_embedding_dimension()
    if dim is None:
        dim = encode(["a"], "text", False).shape[1]
    threads = torch.get_num_threads() if model.device.type == "cpu" else None
    tells_roles = any(model.prompts.values()) or isinstance(model[0], Router)
    return ScoredModel(name, source, int(dim), size, "SentenceTransformer", threads, directory, tells_roles, encode)


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _table_size(table: StaticTable) -> int:
    """What a table and its tokenizer take as files."""
    arrays = (table.weight, table.mapping, table.scales)
    return sum(array.nbytes for array in arrays if array is not None) + len(table.tokenizer.to_str().encode())


def _cached_size(repo_id: str) -> int | None:
    """Bytes of a Hub repository's files in the cache."""
    try:
        found = try_to_load_from_cache(repo_id, _CONFIG_FILE)
    except HFValidationError:
        return None
    return size_on_disk(Path(found).parent) if isinstance(found, str) else None

"""Models of every kind, loaded to be scored, and the embeddings that stand in for them in evaluators."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer

from wordllama_st.errors import EvaluationError, ModelLoadError, reason
from wordllama_st.modules.stock import static_modules
from wordllama_st.static import StaticEncoder, released
from wordllama_st.static.formats import sentence_transformers as stock_format
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.precision import Precision, check_precision, quantize_embeddings
from wordllama_st.static.similarity import Vectors, normalized
from wordllama_st.static.table import StaticTable
from wordllama_st.training.load import model_from_pretrained

#: A directory, a released name or a Hub id; or a loaded model.
ModelSource: TypeAlias = str | Path | SentenceTransformer | StaticEncoder
#: How a text is used: some models put another prompt in front of a query than of a document.
Role = Literal["text", "query", "document"]

#: A transformer pads a batch to its longest text, so larger batches are no faster on a CPU.
_TRANSFORMER_BATCH, _STATIC_BATCH = 32, 1024
_CONFIG_FILE = "config.json"


class ScoredModel:
    """A loaded model and what a :class:`~wordllama_st.evaluation.report.ModelResult` tells of it.

    ``has_roles`` is whether a text has another embedding as a query than as a document.
    """

    def __init__(
        self, encoder: StaticEncoder | SentenceTransformer, name: str, source: str = "memory", size: int | None = None
    ) -> None:
        self.encoder, self.name, self.source, self.size = encoder, name, source, size
        self.runtime, self.has_roles, self._batch_size = "StaticEncoder", False, _STATIC_BATCH
        self.threads: int | None = 1
        if isinstance(encoder, StaticEncoder):
            self.dim = encoder.dim
            return
        self.runtime = "SentenceTransformer"
        self.has_roles = any(encoder.prompts.values()) or isinstance(encoder[0], Router)
        self.threads = torch.get_num_threads() if encoder.device.type == "cpu" else None
        if any(isinstance(part, Transformer) for part in encoder.modules()):
            self._batch_size = _TRANSFORMER_BATCH
        self.dim = int(encoder.truncate_dim or encoder.get_embedding_dimension() or self.encode(["a"]).shape[1])

    def encode(self, texts: Sequence[str], role: Role = "text", show_progress_bar: bool = False) -> Vectors:
        """Encode texts of one role at full dim, as float32 [n, D]. A model without roles encodes ``"text"`` only."""
        encode = getattr(self.encoder, "encode" if role == "text" else f"encode_{role}")
        embeddings = encode(list(texts), batch_size=self._batch_size, show_progress_bar=show_progress_bar)
        return np.asarray(embeddings, np.float32)


def open_model(source: ModelSource, name: str | None = None) -> ScoredModel:
    """Load a model, unless it is loaded. Reports call it by ``name``, or else by its source or class.

    A static model without prompts is encoded by :class:`~wordllama_st.StaticEncoder`, which is faster than the stock
    class and gives the same embeddings; everything else by ``SentenceTransformer``. The only code of a trained model
    that is run is this package's and sentence-transformers'.

    Args:
        source: A static model, as :meth:`StaticEncoder.from_pretrained` loads it; the directory of a trained model; a
            directory or Hub id that ``SentenceTransformer`` loads; or an instance of one of these classes.

    Raises:
        ModelLoadError: If ``source`` is no model, or is damaged.
        ModelUnavailableError: If there is no such model, or it cannot be fetched.
        UnknownModelError: If a ``wordllama-*`` name was never released.
    """
    if isinstance(source, (SentenceTransformer, StaticEncoder)):
        return ScoredModel(source, name or type(source).__name__)
    path, text = Path(source), str(source)
    loaded = _load(text)
    size = size_on_disk(path) if path.exists() else None
    if isinstance(loaded, SentenceTransformer):
        if size is None and isinstance(cached := try_to_load_from_cache(text, _CONFIG_FILE), str):
            size = size_on_disk(Path(cached).parent)
        return ScoredModel(loaded, name or text, text, size)
    encoder: StaticEncoder | SentenceTransformer = StaticEncoder(loaded)
    if any(loaded.prompts.values()):
        modules, default = static_modules(loaded), loaded.default_prompt_name
        encoder = SentenceTransformer(modules=modules, prompts=loaded.prompts, default_prompt_name=default)
    return ScoredModel(encoder, name or text, text, size or _table_size(loaded))


class TaskEmbeddings:
    """The embeddings of a task's texts at one dim and precision, which stand in for the model in evaluators.

    Embeddings of full dim are truncated to ``dim``, scaled to unit length and quantized, as by sentence-transformers'
    evaluators, and kept as float32. Dot products are then the similarities of a search in that precision:

    - float32: the cosine.
    - int8 and uint8: the cosine of the codes, whose buckets divide the ranges of the documents, or of all texts where
      none is a document.
    - binary and ubinary: d - 2 h for a Hamming distance of h in d bits, each +1 or -1. This is the order of the Hamming
      distance, by which ``semantic_search_faiss`` and ``semantic_search_usearch`` search, and pairs of one distance are
      exactly equal, which they would not be after a division by the square root of d.

    Raises:
        EvaluationError: If an embedding is not finite, or all are the same.
        ArgumentError: If there is no such precision.
    """

    similarity_fn_name = "cosine"
    model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_: None)  # evaluators store scores there

    def __init__(
        self, embeddings: Mapping[Role, Mapping[str, Vectors]], dim: int, precision: Precision, name: str
    ) -> None:
        self.name = name
        self._rows = {role: {text: row for row, text in enumerate(own)} for role, own in embeddings.items()}
        units: dict[Role, Vectors] = {}
        for role, own in embeddings.items():
            truncated = np.stack(list(own.values()))[:, :dim]
            bad = np.flatnonzero(~np.isfinite(truncated).all(axis=1))
            if len(bad):
                raise EvaluationError(
                    f"{name}: the vectors of {len(bad)} of {len(own)} texts are not finite, that of "
                    f"{list(own)[bad[0]][:40]!r} first. Did training diverge?"
                )
            units[role] = normalized(truncated)
        stored = units["document" if "document" in units else next(iter(units))]
        ranges = np.stack([stored.min(axis=0), stored.max(axis=0)])
        self._embeddings = {role: _quantize(unit, precision, ranges) for role, unit in units.items()}
        parts = list(self._embeddings.values())
        if sum(map(len, parts)) > 1 and all((part == parts[0][0]).all() for part in parts):
            raise EvaluationError(f"{name}: all texts have the same vector, which says nothing of any of them.")

    def encode(self, texts: Sequence[str], *, role: Role = "text", convert_to_tensor: bool = False, **_: object) -> Any:
        """Look up the embeddings of texts of the task, float32 [n, dim]."""
        rows = self._rows[role]
        embeddings = self._embeddings[role][[rows[text] for text in texts]]
        return torch.from_numpy(embeddings) if convert_to_tensor else embeddings

    encode_query = partialmethod(encode, role="query")
    encode_document = partialmethod(encode, role="document")

    def unit_embeddings(self, texts: Sequence[str]) -> Vectors:
        """Look up the embeddings of texts, scaled to unit length whatever the precision."""
        return normalized(self.encode(texts))


def size_on_disk(path: Path) -> int:
    """Sum the bytes of a file, or of all files below a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _load(source: str) -> StaticTable | SentenceTransformer:
    try:
        table = read_static_model(source)
        if not table.asymmetric:
            return table
        not_static = ModelLoadError(f"{source} is static for queries only.")
    except ModelLoadError as error:
        not_static = error
    directory = Path(source)
    if directory.is_dir():
        modules = directory / stock_format.MODULES_FILE
        if modules.is_file():
            if '"wordllama_st.' in modules.read_text(encoding="utf-8", errors="replace"):
                return model_from_pretrained(directory)
        elif not _is_transformer(directory):
            raise not_static
    elif source.startswith(released.PREFIX):
        raise not_static
    try:
        return SentenceTransformer(source)
    except Exception as error:  # anything that the model's modules and the libraries they use raise
        is_static = directory.is_dir() and stock_format.find(directory) is not None
        raise (not_static if is_static else ModelLoadError(f"{source} cannot be loaded: {reason(error)}")) from error


def _is_transformer(directory: Path) -> bool:
    try:
        config = json.loads((directory / _CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and "architectures" in config and config.get("model_type") != "model2vec"


def _table_size(table: StaticTable) -> int:
    """Sum the bytes that a table and its tokenizer take as files."""
    arrays = (table.weight, table.mapping, table.scales, table.projection)
    return sum(array.nbytes for array in arrays if array is not None) + len(table.tokenizer.to_str().encode())


def _quantize(unit: Vectors, precision: Precision, ranges: Vectors) -> Vectors:
    check_precision(precision)
    if precision in ("int8", "uint8"):
        return normalized(quantize_embeddings(unit, precision, ranges).astype(np.float32))
    return unit if precision == "float32" else np.where(unit > 0, np.float32(1), np.float32(-1))

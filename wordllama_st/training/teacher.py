"""The embeddings of a teacher, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer, SimilarityFunction
from torch import Tensor
from tqdm.autonotebook import tqdm

from wordllama_st.disk import TEMPORARY
from wordllama_st.errors import ArgumentError, ModelLoadError, reason
from wordllama_st.storage.hub import check_reachable
from wordllama_st.storage.staging import check_or_record, is_staging, staged_file
from wordllama_st.training.processes import from_main_process, num_processes, processes

logger = logging.getLogger(__name__)

#: Texts per file of the cache. A file is written when it is complete; an interruption loses at most one.
TEXTS_PER_FILE = 4096
MANIFEST = "teacher.json"
#: How far from 1 a norm may be for dot products to count as cosines.
UNIT_TOLERANCE = 1e-2
#: Vectors that are compared with a teacher's own, and the least mean cosine if they are the same, however rounded.
CHECKED_VECTORS, SAME_VECTORS = 16, 0.98


def check_teacher(teacher: SentenceTransformer) -> None:
    """Check that a teacher's similarity function ranks as the cosine similarity of a static model does.

    Raises:
        ArgumentError: If it does not. (On unit vectors, dot product and Euclidean distance do.)
    """
    similarity = teacher.similarity_fn_name or "cosine"
    if similarity == "cosine":
        return
    lengths = np.linalg.norm(np.asarray(teacher.encode(["a", "teacher of another kind"])), axis=1)
    if similarity in ("dot", "euclidean") and np.abs(lengths - 1).max() < UNIT_TOLERANCE:
        return
    raise ArgumentError(
        f"The teacher compares embeddings by {similarity}, and a static model by cosine similarity. Choose a teacher "
        f"of cosine similarity, or set its similarity to 'cosine' to distill the directions of its embeddings alone."
    )


def load_teacher(
    source: str | Path | SentenceTransformer, *, bf16: bool = False, similarity: str | None = None
) -> SentenceTransformer:
    """Load a teacher, in bfloat16 if asked to, or take one that is loaded; and set its similarity function, if given.

    Raises:
        ModelLoadError: If it cannot be loaded.
    """
    if not isinstance(source, SentenceTransformer):
        settings: dict[str, Any] = {"model_kwargs": {"dtype": torch.bfloat16}} if bf16 else {}
        try:
            if not Path(source).exists():
                # Without a network, sentence-transformers retries for a minute.
                organization = "" if "/" in str(source) else "sentence-transformers/"  # as it completes a name
                check_reachable(f"{organization}{source}")
            source = SentenceTransformer(str(source), **settings)
        except Exception as error:  # whatever the Hub, the network or the model's files come up with
            raise ModelLoadError(f"The teacher {source} cannot be loaded: {reason(error)}") from error
    if similarity:
        source.similarity_fn_name = SimilarityFunction(similarity)
    return source


def teacher_embeddings(
    teacher: SentenceTransformer,
    texts: Sequence[str],
    cache: str | Path,
    *,
    batch_size: int = 32,
    prompt_name: str | None = None,
    task: Literal["query", "document"] | None = None,
    show_progress_bar: bool | None = None,
) -> npt.NDArray[np.float16]:
    """Encode n texts with a teacher, and keep the embeddings in a cache directory of this teacher and these texts.

    What the directory has is read instead of computed: an interrupted run resumes, less at most 4,096 texts. Several
    processes share the encoding, each making some of the files in the directory, which all of them read. With a
    task, texts are encoded as queries or documents, with the teacher's own prompt or modules for these.

    Returns:
        Embeddings [n, D], of unit length, in float16.

    Raises:
        ArgumentError: If the teacher's similarity is not the cosine, there are no texts, or the cache is not theirs.
        ModelLoadError: If a file of the cache is damaged.
    """
    check_teacher(teacher)
    if not texts:
        raise ArgumentError("There are no texts for the teacher.")
    cache = Path(cache)
    made_of = {"teacher": fingerprint(teacher), "prompt": task or prompt_name, "texts": _digest(texts)}
    from_main_process(_check_cache, cache, made_of, len(texts))
    if show_progress_bar is None:
        show_progress_bar = logger.isEnabledFor(logging.INFO)
    parts = {
        cache / f"vectors-{start // TEXTS_PER_FILE:05}.safetensors": texts[start : start + TEXTS_PER_FILE]
        for start in range(0, len(texts), TEXTS_PER_FILE)
    }
    own = list(parts.items())[processes().process_index :: num_processes()]
    there = sum(len(some) for path, some in own if path.is_file())
    encode = getattr(teacher, f"encode_{task}" if task else "encode")
    bar = tqdm(
        desc="Teacher",
        total=sum(len(some) for _, some in own),
        initial=there,
        unit=" texts",
        disable=not show_progress_bar,
    )
    with bar:
        for path, some in own:
            if not path.is_file():
                vectors = encode(list(some), batch_size=batch_size, prompt_name=prompt_name, show_progress_bar=False)
                with staged_file(path) as staging:
                    save_file({"vectors": _unit(vectors)}, staging)
                bar.update(len(some))
    processes().wait_for_everyone()
    return np.concatenate([_read(path, len(some)) for path, some in parts.items()])


class CachedTeacher:
    """A teacher and the directory that keeps its embeddings of queries and of documents, a temporary one if None.

    Attributes:
        model: The teacher.
        texts: How many texts it was asked for, and ``seconds`` how long that took.
    """

    def __init__(self, model: SentenceTransformer, cache: str | Path | None, show_progress_bar: bool | None) -> None:
        check_teacher(model)
        self.model, self.texts, self.seconds = model, 0, 0.0
        self._scratch = TemporaryDirectory(prefix=TEMPORARY) if cache is None else None
        self._cache = Path(cache or self._scratch.name)  # type: ignore[union-attr]
        self._show_progress_bar = show_progress_bar

    def encode(self, texts: Sequence[str], task: Literal["query", "document"]) -> npt.NDArray[np.float16]:
        """Encode n texts of one kind, [n, D], errors as for :func:`teacher_embeddings`."""
        start = time.perf_counter()
        cache = self._cache / f"{task}-{_digest(texts)[:12]}"
        found = teacher_embeddings(self.model, texts, cache, task=task, show_progress_bar=self._show_progress_bar)
        self.texts += len(texts)
        self.seconds += time.perf_counter() - start
        return found

    def check_vectors(self, texts: Sequence[str], vectors: npt.NDArray[Any]) -> None:
        """Check that vectors [n, D] of documents are this teacher's, by some of them.

        Raises:
            ArgumentError: If they are not.
        """
        numbers = [number for number, text in enumerate(texts) if text.strip()][:CHECKED_VECTORS]
        own = _unit(self.model.encode_document([texts[number] for number in numbers], show_progress_bar=False))
        given = np.asarray([vectors[number] for number in numbers if number < len(vectors)], np.float32)
        if given.shape != own.shape:
            raise ArgumentError(
                f"The vectors are {list(vectors.shape)}, and the teacher's have {own.shape[1]} dimensions."
            )
        cosine = float((own * _unit(given)).sum(axis=1).mean())
        if not cosine >= SAME_VECTORS:
            raise ArgumentError(
                f"The vectors are not the teacher's: its own embeddings of the first documents have a cosine of "
                f"{cosine:.2f} to them. Give the embedder that made them, or no vectors."
            )


def _digest(texts: Sequence[str]) -> str:
    sha256 = hashlib.sha256()
    for text in texts:
        sha256.update(json.dumps(text).encode() + b"\n")
    return sha256.hexdigest()


def _check_cache(cache: Path, made_of: dict[str, Any], count: int) -> None:
    """Record the teacher and texts of a cache, or check that they are the recorded ones."""
    path = cache / MANIFEST
    if cache.exists() and not cache.is_dir():
        raise ArgumentError(f"{cache} is a file; a teacher's cache is a directory.")
    names = [entry.name for entry in cache.iterdir() if not is_staging(entry.name)] if cache.is_dir() else []
    if names and MANIFEST not in names:
        raise ArgumentError(f"{cache} holds something else than a teacher's embeddings; choose another directory.")
    if different := check_or_record(path, made_of, {"count": count}):
        raise ArgumentError(
            f"The embeddings in {cache} are of another {' and of other '.join(different)}; choose another directory, "
            f"or delete that one."
        )


def _read(path: Path, count: int) -> npt.NDArray[np.float16]:
    try:
        vectors: npt.NDArray[np.float16] = load_file(path)["vectors"]
    except Exception as error:  # cut short, not safetensors, or without the key
        raise ModelLoadError(f"{path} is damaged: {reason(error)}. Delete it to compute it again.") from error
    if vectors.ndim != 2 or len(vectors) != count or vectors.dtype != np.float16:
        raise ModelLoadError(f"{path} holds {vectors.dtype} {list(vectors.shape)}. Delete it to compute it again.")
    return vectors


def _unit(vectors: Any) -> npt.NDArray[np.float16]:
    vectors = np.asarray(vectors, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    halved: npt.NDArray[np.float16] = vectors.astype(np.float16)
    return halved


def fingerprint(model: SentenceTransformer) -> str:
    """Return the SHA-256 fingerprint of a model: its modules' settings, tokenizer and weights."""
    sha256 = hashlib.sha256(repr(model).encode())
    backend = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
    if hasattr(backend, "to_str"):
        sha256.update(backend.to_str().encode())
    for name, tensor in sorted(model.state_dict().items()):
        sha256.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        if isinstance(tensor, Tensor):
            sha256.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()

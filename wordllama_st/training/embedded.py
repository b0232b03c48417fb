"""Texts with the embeddings of a teacher, from the directories that ``teacher`` and ``encode`` write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wordllama_st.data.corpus import read_embeddings
from wordllama_st.errors import ArgumentError, DatasetError, reason
from wordllama_st.static.dataset.embedding import EMBEDDING
from wordllama_st.static.dataset.output import MANIFEST

#: What must be the same for embeddings to be of one teacher, and what they may be stored in.
_TEACHER = ("model_sha256", "prompt", "truncate_dim")
_PRECISIONS = ("float16", "float32")


@dataclass(frozen=True)
class EmbeddedTexts:
    """Texts, their embeddings [n, D] of unit length in float16, and the teacher's name, if it is known.

    Both are in temporary files. The embeddings may be written to.
    """

    texts: Sequence[str]
    vectors: npt.NDArray[np.float16]
    teacher: str | None


def read_embedded_texts(
    sources: Sequence[str | Path], *, text_column: str | None = None, vectors_column: str | None = None
) -> EmbeddedTexts:
    """Read texts and their embeddings, in bounded memory.

    Args:
        sources: .parquet and .jsonl files (Path); and directories of .parquet files, such as those with the output of
            ``teacher``, which must be finished and all of one teacher.
        text_column: As for :func:`~wordllama_st.data.corpus.read_corpus`; by default the one that the directories'
            texts were encoded from.
        vectors_column: The column of embeddings; ``embedding`` if None.

    Raises:
        ArgumentError: If a source is a text.
        DatasetError: If a directory's output is not finished, in 8 bits or bits, or of another teacher than the one
            before it; and as for :func:`~wordllama_st.data.corpus.read_embeddings`.
    """
    paths: list[Path] = []
    found: dict[Path, dict[str, Any]] = {}
    for source in sources:
        if not isinstance(source, Path):
            raise ArgumentError("Texts in memory have no embeddings; give a teacher, or files with embeddings.")
        if not source.is_dir():
            paths.append(source)
            continue
        parts = sorted(source.glob("*.parquet"), key=lambda path: (len(path.name), path.name))
        if (source / MANIFEST).is_file():
            found[source] = _read_manifest(source)
            parts = [source / part["name"] for part in found[source]["parts"]]
        if not parts:
            raise DatasetError(f"There are no .parquet files in {source}.")
        paths += parts
    _check_one_teacher(found)
    encoded = {manifest.get("text_column") for manifest in found.values()}
    corpus = read_embeddings(
        paths,
        vectors_column=vectors_column or EMBEDDING,
        text_column=text_column or (encoded.pop() if len(encoded) == 1 else None),
    )
    assert corpus.vectors is not None
    return EmbeddedTexts(corpus.texts, corpus.vectors, next((str(m.get("model")) for m in found.values()), None))


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged: {reason(error)}. Delete {directory} and encode it again.") from error
    if "parts" not in manifest:
        raise DatasetError(f"{directory} is not finished; give the command that writes it again.")
    if (precision := manifest.get("precision")) not in _PRECISIONS:
        raise DatasetError(f"The embeddings in {directory} are {precision}; {' or '.join(_PRECISIONS)} is needed.")
    return manifest


def _check_one_teacher(found: dict[Path, dict[str, Any]]) -> None:
    first, *others = found.items() or [(Path(), {})]
    for directory, manifest in others:
        if different := [key for key in _TEACHER if manifest.get(key) != first[1].get(key)]:
            raise DatasetError(
                f"The embeddings in {directory} (by {manifest.get('model')}) and in {first[0]} (by "
                f"{first[1].get('model')}) differ in {', '.join(different)}; a model is distilled from one teacher."
            )

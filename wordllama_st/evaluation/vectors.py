"""A task's vectors at some dim and precision, standing in for the model where an evaluator wants texts encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from wordllama_st.errors import EvaluationError
from wordllama_st.static.precision import Precision, quantize_embeddings
from wordllama_st.static.similarity import Vectors, normalized

#: What a text is to a model: some put another prompt in front of a query than of a document.
Role = Literal["text", "query", "document"]


class TaskVectors:
    """The vectors of a task's texts, cut to a dim and held in a precision, in the form in which they are compared.

    A vector is cut, scaled to unit length, and quantised, as the library's own evaluators do it. What is kept is
    float32, whatever the precision, and the dot product of two is the similarity by which a search in that precision
    goes:

    - float32: the cosine.
    - int8 and uint8: the cosine of the codes. The ranges that are divided into buckets are those of the documents, or
      of all texts where none is a document.
    - binary and ubinary: a bit stands for +1 or -1, and the dot product is d - 2 h for a Hamming distance of h bits in
      d. So the order is that of the Hamming distance, by which the library's ``semantic_search_faiss`` and
      ``semantic_search_usearch`` find binary vectors; and pairs of one distance are exactly equal, as they would not
      be after a division by the square root of d.

    The library's evaluators call :meth:`encode`, :meth:`encode_query` and :meth:`encode_document`, as they would those
    of a ``SentenceTransformer``, and get the vectors that are there already.

    Args:
        texts: The texts by role, none twice in one role.
        vectors: Their vectors at full dim, [n, D] by role.
        dim: Matryoshka dim to cut to, at most D.
        precision: One of those that ``encode`` has.
        name: What these vectors are, for messages.

    Raises:
        EvaluationError: If a vector is not finite, or they are all the same.
        ArgumentError: If there is no such precision.
    """

    similarity_fn_name = "cosine"

    def __init__(
        self,
        texts: Mapping[Role, Sequence[str]],
        vectors: Mapping[Role, Vectors],
        dim: int,
        precision: Precision = "float32",
        name: str = "the model",
    ) -> None:
        self.name = name
        for role, own in texts.items():
            _check_finite(vectors[role][:, :dim], own, name)
        units = {role: normalized(vectors[role][:, :dim]) for role in texts}
        stored = units.get("document", units.get("text"))
        if stored is None:
            stored = next(iter(units.values()))
        ranges = np.stack([stored.min(axis=0), stored.max(axis=0)])
        self._vectors = {role: _comparable(unit, precision, ranges) for role, unit in units.items()}
        self._rows = {role: {text: row for row, text in enumerate(texts[role])} for role in texts}
        parts = list(self._vectors.values())
        if sum(map(len, parts)) > 1 and all((part == parts[0][0]).all() for part in parts):
            raise EvaluationError(f"{name}: all texts have the same vector, which says nothing of any of them.")

    def of(self, role: Role, texts: Sequence[str]) -> Vectors:
        """The vectors of texts, float32 [n, dim]: of unit length (or zero), or of +1 and -1 if binary."""
        rows = self._rows[role]
        return self._vectors[role][[rows[text] for text in texts]]

    def units(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts that are neither query nor document, scaled to unit length whatever the precision."""
        return normalized(self.of("text", texts))

    def encode(self, texts: Sequence[str], *, convert_to_tensor: bool = False, **_: Any) -> Any:
        """As the library's, for texts of the task."""
        return self._encode("text", texts, convert_to_tensor)

    def encode_query(self, texts: Sequence[str], *, convert_to_tensor: bool = False, **_: Any) -> Any:
        """As the library's, for queries of the task."""
        return self._encode("query", texts, convert_to_tensor)

    def encode_document(self, texts: Sequence[str], *, convert_to_tensor: bool = False, **_: Any) -> Any:
        """As the library's, for documents of the task."""
        return self._encode("document", texts, convert_to_tensor)

    def _encode(self, role: Role, texts: Sequence[str], convert_to_tensor: bool) -> Any:
        vectors = self.of(role, texts)
        return torch.from_numpy(vectors) if convert_to_tensor else vectors

    @property
    def model_card_data(self) -> TaskVectors:
        """Where the evaluators leave their scores."""
        return self

    def set_evaluation_metrics(self, *_: object) -> None:
        """No card is written of these vectors."""


def _comparable(unit: Vectors, precision: Precision, ranges: Vectors) -> Vectors:
    if precision == "float32":
        return unit
    codes = quantize_embeddings(unit, precision, ranges)
    if precision in ("int8", "uint8"):
        return normalized(codes.astype(np.float32))
    packed: npt.NDArray[np.uint8] = codes.view(np.uint8) ^ np.uint8(128 * (precision == "binary"))
    bits = np.unpackbits(packed, axis=1, count=unit.shape[1])
    return 2 * bits.astype(np.float32) - 1


def _check_finite(vectors: Vectors, texts: Sequence[str], name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise EvaluationError(
            f"{name}: the vectors of {len(bad)} of {len(texts)} texts are not finite, that of {texts[bad[0]][:40]!r} "
            f"first. Did training diverge?"
        )

"""The documents' side of an embedding whose queries are embedded in the space of another model."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from llama_index.core.base.embeddings.base import Embedding
from wordllama_st import StaticEncoder
from wordllama_st.errors import require
from wordllama_st.static.space import ENOUGH, check_vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: Texts of the first call whose vectors are checked.
CHECKED_TEXTS = 32


@dataclass(eq=False)
class DocumentSide:
    """
    Vectors of documents by another model, brought into the space of the queries and checked once.

    Attributes:
        encoder: The model of the queries.
        model_name: Where it is, as are `revision` and `token`; of an asymmetric model, its embedder of documents too.

    """

    encoder: StaticEncoder
    model_name: str
    revision: str | None
    token: bool | str | None = field(repr=False)
    _checked: bool = False
    _model: SentenceTransformer | None = None
    # Batches that are embedded at the same time load one model.
    _loading: Lock = field(default_factory=Lock, repr=False)

    def embed(self, texts: list[str], *, normalize: bool) -> list[Embedding]:
        """Embed texts with the documents' side of an asymmetric model; MissingExtraError without the library."""
        with self._loading:
            if self._model is None:
                require("st", "torch", "sentence_transformers")
                from sentence_transformers import SentenceTransformer

                self._model = SentenceTransformer(self.model_name, revision=self.revision, token=self.token)
        embeddings: list[Embedding] = self._model.encode_document(
            texts, normalize_embeddings=normalize, show_progress_bar=False
        ).tolist()
        return embeddings

    def accept(self, texts: list[str], vectors: list[Embedding]) -> list[Embedding]:
        """
        Check the vectors that an embedder gave the texts of the first calls, and project them if the model has axes.

        Raises:
            ValueError: If they are of another space or dim.

        """
        if not self._checked and texts:
            embeddings = self.encoder.encode(texts[:CHECKED_TEXTS])
            check_vectors(self.encoder.table.space, embeddings, vectors[:CHECKED_TEXTS])
            self._checked = bool(embeddings.any(axis=1).sum() >= ENOUGH)
        space = self.encoder.table.space
        if space is None or space.axes is None:
            return vectors
        projected: list[Embedding] = space.project(vectors).tolist()
        return projected

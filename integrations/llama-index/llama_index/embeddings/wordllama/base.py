"""The embedding class."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr, SerializeAsAny, field_validator
from llama_index.core.embeddings.loading import load_embed_model
from llama_index.embeddings.wordllama.documents import DocumentSide
from llama_index.embeddings.wordllama.stores import read_documents
from typing_extensions import Self
from wordllama_st import StaticEncoder
from wordllama_st.static.released import DEFAULT_MODEL
from wordllama_st.static.space import check_vectors

#: Names of prompts in models that sentence-transformers saved, in order of preference.
QUERY_PROMPTS = ("query",)
TEXT_PROMPTS = ("document", "passage", "corpus")
#: Documents of a store that tell whether it is of the model's space.
CHECKED_DOCUMENTS = 32


class WordLlamaEmbedding(BaseEmbedding):
    """
    Static embeddings of a WordLlama model, or of any other static model, on the CPU and without torch.

    The embedding of a text is the mean of the embeddings of its tokens; that of an empty text is zero.

    Args:
        model_name (Union[str, Path], optional): A directory with a static model (written by `wordllama_st.bake`,
            sentence-transformers, model2vec or wordllama), the name of a released model, such as
            "wordllama-l2-supercat-128", or the id of a static model on the Hugging Face Hub.
            Defaults to "wordllama-l2-supercat-256", which needs no network.
        revision (Optional[str], optional): Branch, tag or commit of the model on the Hub. Defaults to None.
        token (Optional[Union[bool, str]], optional): Token for a gated or private model on the Hub, left out of repr
            and `to_dict()`. Defaults to None, the token stored by huggingface_hub.
        dimensions (Optional[int], optional): Number of leading dimensions to keep (Matryoshka).
            Defaults to None, all of them.
        normalize (bool, optional): Whether to scale embeddings to unit length. Defaults to True.
        query_instruction (Optional[str], optional): Text to prepend to each query. Defaults to None, the model's own
            prompt for queries, if it has one; "" prepends nothing.
        text_instruction (Optional[str], optional): The same for texts. Defaults to None.
        documents (Optional[BaseEmbedding], optional): What to embed documents with: the embedding that made the vectors
            of an index, for a model that `wordllama_st.adapt` adapted to them. Their vectors stay as it makes them.
            Defaults to None, the model itself; the documents of an asymmetric model go through its embedder, which
            needs sentence-transformers.
        embed_batch_size (int, optional): Texts per batch, at most 2048. Defaults to 1024.
        callback_manager (Optional[CallbackManager], optional): Callback manager. Defaults to None.
        **kwargs: The other fields of BaseEmbedding (num_workers, embeddings_cache, rate_limiter).

    Raises:
        ValidationError: If the model does not exist, is no static model or has fewer dimensions, or if a field has an
            invalid value. It is a ValueError. So is the error for a text that is not a str, and that for documents
            whose vectors by `documents` are of another space than the model's.

    Examples:
        `pip install llama-index-embeddings-wordllama`

        ```python
        from llama_index.core import Settings
        from llama_index.embeddings.wordllama import WordLlamaEmbedding

        Settings.embed_model = WordLlamaEmbedding()

        # Or by itself
        embedding = WordLlamaEmbedding(dimensions=64).get_text_embedding("How do I reset my password?")
        ```

    """

    model_config = ConfigDict(
        extra="forbid",  # a misspelt field would be ignored
        hide_input_in_errors=True,  # the input includes the token
    )

    # The encoder is loaded by these four, and documents is checked once, so they are frozen.
    model_name: str = Field(
        default=DEFAULT_MODEL,
        description="A static model: its directory, the name of a released model, or its id on the Hugging Face Hub.",
        frozen=True,
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model on the Hub.", frozen=True)
    token: bool | str | None = Field(
        default=None, description="Token for a gated or private model.", exclude=True, repr=False, frozen=True
    )
    dimensions: int | None = Field(
        default=None, description="Number of leading dimensions to keep; all if None.", gt=0, frozen=True
    )
    normalize: bool = Field(default=True, description="Normalize embeddings or not.")
    query_instruction: str | None = Field(
        default=None, description="Instruction to prepend to query text; the model's own if None."
    )
    text_instruction: str | None = Field(
        default=None, description="Instruction to prepend to text; the model's own if None."
    )
    documents: SerializeAsAny[BaseEmbedding] | None = Field(
        default=None, description="Embedding to embed documents with; the model itself if None.", frozen=True
    )
    embed_batch_size: int = Field(default=1024, description="The batch size for embedding calls.", gt=0, le=2048)

    _encoder: StaticEncoder = PrivateAttr()
    _document_side: DocumentSide = PrivateAttr()

    def __init__(self, model_name: str | Path = DEFAULT_MODEL, **kwargs: Any) -> None:
        super().__init__(model_name=str(model_name) if isinstance(model_name, Path) else model_name, **kwargs)

    @field_validator("documents", mode="before")
    @classmethod
    def _load_documents(cls, value: Any) -> Any:
        return load_embed_model(value) if isinstance(value, dict) else value  # of to_dict()

    def model_post_init(self, context: Any, /) -> None:
        try:
            self._encoder = StaticEncoder.from_pretrained(
                self.model_name, revision=self.revision, token=self.token, truncate_dim=self.dimensions
            )
        except OSError as error:
            raise ValueError(str(error)) from error  # pydantic reports a ValueError as a ValidationError
        self._document_side = DocumentSide(self._encoder, self.model_name, self.revision, self.token)
        self._embeds_documents_itself()

    @classmethod
    def class_name(cls) -> str:
        return "WordLlamaEmbedding"

    def _embed(self, texts: list[str], instruction: str | None, prompt_names: tuple[str, ...]) -> list[Embedding]:
        prompts = self._encoder.table.prompts
        embeddings: list[Embedding] = self._encoder.encode(
            texts,
            prompt=instruction,
            prompt_name=next((name for name in prompt_names if name in prompts), None),
            batch_size=self.embed_batch_size,
            normalize_embeddings=self.normalize,
        ).tolist()
        return embeddings

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed([query], self.query_instruction, QUERY_PROMPTS)[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        if self.documents is None:
            return await asyncio.to_thread(self._get_text_embedding, text)
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        if self._embeds_documents_itself():
            return self._embed(texts, self.text_instruction, TEXT_PROMPTS)
        if self.documents is None:
            return self._document_side.embed(texts, normalize=self.normalize)
        return self._document_side.accept(texts, self.documents.get_text_embedding_batch(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        if self.documents is None:
            return await asyncio.to_thread(self._get_text_embeddings, texts)
        self._embeds_documents_itself()
        return self._document_side.accept(texts, await self.documents.aget_text_embedding_batch(texts))

    def _embeds_documents_itself(self) -> bool:
        """Whether the table embeds documents; ValueError if not, and a field is set that is for those it embeds."""
        if self.documents is None and not self._encoder.table.asymmetric:
            return True
        for field in ("dimensions", "text_instruction"):
            if getattr(self, field) is not None:
                raise ValueError(
                    f"{field} does not fit documents that another model embeds. Leave it out, or set it there."
                )
        return False

    def check_store(self, store: Any) -> None:
        """
        Check that the vectors of a store are of the space in which the model embeds queries.

        Args:
            store (Any): As for `texts_and_vectors`; some 32 of its documents are read.

        Raises:
            ValueError: If they are of another space, or have another dim than the queries; of a model without a space,
                which was not adapted to an index, only the dim can be checked. Errors as `texts_and_vectors`.

        """
        texts, vectors = read_documents(store, CHECKED_DOCUMENTS)
        encoder = self._document_side.encoder
        check_vectors(encoder.table.space, encoder.encode(texts), vectors, stored=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy; with an update, validate the fields and load the model they name."""
        copied = super().model_copy(deep=deep)
        return type(self)(**{**dict(copied), **update}) if update else copied

    def copy(self, **options: Any) -> Self:
        return self.model_copy(**options)  # pydantic's own, which is deprecated, would keep the encoder

    # Copies share the models, which do not change; pickles hold the settings, by which they are loaded again.

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        shared = {id(part): part for part in (self._encoder, self._document_side)}
        return super().__deepcopy__({**(memo or {}), **shared})

    def __getstate__(self) -> dict[str, Any]:
        settings = copy.copy(self)  # BaseComponent removes what cannot be pickled from the object itself
        del settings._encoder, settings._document_side
        state = super(WordLlamaEmbedding, settings).__getstate__()
        if "documents" not in state["__dict__"]:  # without it, the table would embed documents
            raise TypeError(f"documents, a {type(self.documents).__name__}, cannot be pickled.")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        # BaseComponent would go on without an encoder where the model cannot be loaded.
        self.__init__(**state["__dict__"])  # type: ignore[misc]

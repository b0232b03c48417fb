"""WordLlama embedding models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.utils import secret_from_env
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema, field_validator
from typing_extensions import Self
from wordllama_st import StaticEncoder
from wordllama_st.errors import ArgumentError, require
from wordllama_st.static.released import DEFAULT_MODEL
from wordllama_st.static.space import check_vectors

from langchain_wordllama.space import SAMPLE, DocumentVectors
from langchain_wordllama.stores import read_documents

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: Names of prompts in models that sentence-transformers saved, in order of preference.
_QUERY_PROMPTS = ("query",)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class WordLlamaEmbeddings(BaseModel, Embeddings):
    """WordLlama embedding model integration: static embeddings, on the CPU, without PyTorch.

    The embedding of a text is the mean of the embeddings of its tokens; that of a text without tokens, such as `""`,
    is zero. Texts of any length are embedded whole.

    Setup:
        Install `langchain-wordllama`. The default model comes with it and needs no network, key or server.

        ```bash
        pip install -U langchain-wordllama
        ```

    Key init args:
        model: str
            Name of a released model, directory of a static model, or its id on the Hugging Face Hub.
        dimensions: int | None
            Number of leading dimensions to keep.
        normalize: bool
            Whether to scale embeddings to unit length.
        query_prompt, document_prompt: str | None
            Text to prepend to each query and to each document.
        documents: Embeddings | None
            Other embeddings, which embed the documents.

    See full list of supported init args and their descriptions in the params section.

    Instantiate:
        ```python
        from langchain_wordllama import WordLlamaEmbeddings

        embed = WordLlamaEmbeddings(
            # model="wordllama-l2-supercat-256",
            # dimensions=128,
            # other params...
        )
        ```

    Embed single text:
        ```python
        input_text = "The meaning of life is 42"
        vector = embed.embed_query(input_text)
        print(vector[:3])
        ```

        ```python
        [0.09051243960857391, 0.06884096562862396, 0.007485304959118366]
        ```

    Embed multiple texts:
        ```python
        input_texts = ["Document 1...", "Document 2..."]
        vectors = embed.embed_documents(input_texts)
        print(len(vectors))
        # The first 3 coordinates for the first vector
        print(vectors[0][:3])
        ```

        ```python
        2
        [-0.059712138026952744, 0.10224541276693344, -0.0789528638124466]
        ```

    Async:
        ```python
        vector = await embed.aembed_query(input_text)
        print(vector[:3])

        # multiple:
        # await embed.aembed_documents(input_texts)
        ```

        ```python
        [0.09051243960857391, 0.06884096562862396, 0.007485304959118366]
        ```

    Search an index of other embeddings:
        A model that `wordllama_st.adapt` made from an index embeds queries in the space of its vectors. The embeddings
        that made them go on to embed the documents.

        ```python
        embed = WordLlamaEmbeddings(model="path/to/adapted", documents=other_embeddings)
        embed.check_store(store)
        ```

    Raises:
        pydantic.ValidationError: If the model does not exist or cannot be fetched, is no static model or has fewer
            dimensions, or if an argument has an invalid value or does not fit the others. It is a `ValueError`.

    Note:
        Instances are frozen; `model_copy(update={"dimensions": 64})` validates the settings and loads the model anew.
        Pickles hold the settings only; the model is loaded again when the unpickled instance is first used. Copies
        share `documents`.
    """

    model: str = Field(
        default=DEFAULT_MODEL,
        validation_alias=AliasChoices("model", "model_name"),
        description="Name of a released model, directory of a static model or WordLlama .safetensors file, or the id "
        "of a static model on the Hugging Face Hub. Can also be given as `model_name`.",
    )
    dimensions: int | None = Field(
        default=None,
        description="Number of leading dimensions to keep, for Matryoshka models such as the released ones. None keeps "
        "all.",
    )
    normalize: bool = Field(
        default=True,
        description="Whether to scale embeddings to unit length, as relevance scores of vector stores expect.",
    )
    batch_size: int = Field(default=1024, ge=1, description="Texts per batch of the static model.")
    show_progress: bool = Field(default=False, description="Whether to show a progress bar.")
    query_prompt: str | None = Field(
        default=None,
        description='Text to prepend to each query. None uses the model\'s own prompt for queries, if any; "" none.',
    )
    document_prompt: str | None = Field(
        default=None,
        description='Text to prepend to each document. None uses the model\'s own prompt for documents, if any; "" '
        "none.",
    )
    documents: Annotated[Embeddings, WithJsonSchema({"type": "object"})] | None = Field(
        default=None,
        description="Other embeddings, which embed the documents as they do without this model: those that made the "
        "vectors that the model was adapted to. None embeds the documents by the model, and those of an asymmetric "
        "model by its other side, which needs PyTorch.",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model on the Hub.")
    token: SecretStr | None = Field(
        default_factory=secret_from_env("HF_TOKEN", default=None),
        exclude=True,  # a dump would hold the masked token, which is no valid one
        description="Token for a private or gated model on the Hub, read from the environment variable `HF_TOKEN` if "
        "not provided. Dumps leave it out.",
    )

    model_config = ConfigDict(
        arbitrary_types_allowed=True,  # Embeddings is a plain class
        extra="forbid",
        frozen=True,  # the encoder is loaded by the settings
        hide_input_in_errors=True,  # the input includes the token
    )

    @field_validator("model", mode="before")
    @classmethod
    def _path_as_str(cls, model: Any) -> Any:
        return os.fspath(model) if isinstance(model, os.PathLike) else model

    def model_post_init(self, context: Any, /) -> None:
        asymmetric = self._encoder.table.asymmetric
        for name in ("dimensions", "document_prompt"):
            if (self.documents is not None or asymmetric) and getattr(self, name) is not None:
                raise ArgumentError(
                    f"`{name}` is for documents that the static model embeds, and here another one does. Leave it out."
                )

    @property
    def _token(self) -> str | None:
        return self.token.get_secret_value() or None if self.token else None

    @cached_property  # which pydantic ignores when it compares and dumps instances
    def _encoder(self) -> StaticEncoder:
        try:
            return StaticEncoder.from_pretrained(
                self.model,
                revision=self.revision,
                token=self._token,
                truncate_dim=self.dimensions,
            )
        except OSError as error:
            raise ValueError(str(error)) from error  # pydantic reports a ValueError as a ValidationError

    @cached_property
    def _document_vectors(self) -> DocumentVectors:
        return DocumentVectors(self._encoder)

    @cached_property
    def _asymmetric(self) -> SentenceTransformer:
        require("st", "torch", "sentence_transformers")
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(self.model, revision=self.revision, token=self._token)

    def _embed(self, texts: list[str], prompt: str | None, prompt_names: tuple[str, ...]) -> list[list[float]]:
        prompts = self._encoder.table.prompts
        embeddings: list[list[float]] = self._encoder.encode(
            texts,
            prompt=prompt,
            prompt_name=next((name for name in prompt_names if name in prompts), None),
            batch_size=self.batch_size,
            show_progress_bar=self.show_progress,
            normalize_embeddings=self.normalize,
        ).tolist()
        return embeddings

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents.

        Args:
            texts: The texts to embed.

        Returns:
            List of embeddings, one for each text.

        Raises:
            ValueError: If `texts` is not a list of `str`, or if `documents` embeds them in another space than the model
                embeds queries in.
            ImportError: If the model is asymmetric and PyTorch or sentence-transformers is not installed.
        """
        _check_list(texts)
        if self.documents is not None:
            return self._document_vectors.to_space(texts, self.documents.embed_documents(texts))
        if self._encoder.table.asymmetric and texts:
            vectors: list[list[float]] = self._asymmetric.encode_document(
                texts, show_progress_bar=self.show_progress, normalize_embeddings=self.normalize
            ).tolist()
            return vectors
        return self._embed(texts, self.document_prompt, _DOCUMENT_PROMPTS)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents; arguments, result and errors are those of `embed_documents`."""
        _check_list(texts)
        if self.documents is None:
            return await super().aembed_documents(texts)
        vectors = await self.documents.aembed_documents(texts)
        return await run_in_executor(None, self._document_vectors.to_space, texts, vectors)

    def embed_query(self, text: str) -> list[float]:
        """Embed a query.

        Args:
            text: The text to embed.

        Returns:
            Embedding of the text.

        Raises:
            ValueError: If `text` is not a `str`.
        """
        return self._embed([text], self.query_prompt, _QUERY_PROMPTS)[0]

    def check_store(self, store: Any) -> None:
        """Check that a store that was filled elsewhere has vectors of the space that the model embeds queries in.

        The first documents of the store are compared with the model's embeddings of their texts. Without a space, which
        models have that `wordllama_st.adapt` made from an index, only the number of dimensions is compared.

        Args:
            store: A store that `texts_and_vectors` reads.

        Raises:
            ValueError: If the vectors are of another space, or as `texts_and_vectors`.
        """
        texts, vectors = read_documents(store, SAMPLE)
        check_vectors(self._encoder.table.space, self._encoder.encode(texts), vectors, stored=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy; with an update, validate the settings and load the model they name.

        Args:
            update: Settings to change.
            deep: Makes no difference, since instances do not change.

        Raises:
            pydantic.ValidationError: As the constructor does.
        """
        return type(self)(**{**dict(self), **update}) if update else super().model_copy()

    def copy(self, **options: Any) -> Self:
        return self.model_copy(**options)  # pydantic's own, which is deprecated, would keep the encoder

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.__copy__()

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": dict(self)}


def _check_list(texts: Any) -> None:
    if isinstance(texts, str):
        raise ArgumentError("embed_documents takes a list of texts; embed_query takes one text.")

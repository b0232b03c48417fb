"""WordLlama embedding models."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.utils import secret_from_env
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import Self
from wordllama_st import StaticEncoder
from wordllama_st.errors import ArgumentError, require
from wordllama_st.static.released import DEFAULT_MODEL
from wordllama_st.static.space import VectorSpace

from langchain_wordllama.stores import texts_and_vectors

#: Names of prompts in models that sentence-transformers saved, in order of preference.
_QUERY_PROMPTS = ("query",)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
#: Documents that tell whether an embedder is that of the model's space; a store may embed a word or two first.
_CHECKED, _ENOUGH = 32, 8


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
            Embeds the documents, if the model was adapted to its vectors and embeds queries only.

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

    Raises:
        pydantic.ValidationError: If the model does not exist or cannot be fetched, is no static model or has fewer
            dimensions, or if an argument has an invalid value. It is a `ValueError`.

    Note:
        Instances are frozen; `model_copy(update={"dimensions": 64})` validates the settings and loads the model anew.
        Pickles hold the settings only; the model is loaded again when the unpickled instance is first used.
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
    batch_size: int = Field(default=1024, ge=1, description="Texts per batch.")
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
    documents: SkipJsonSchema[Embeddings | None] = Field(
        default=None,
        exclude=True,  # it is no value that a dump could hold
        description="Embeds the documents instead of the model, which then embeds queries only: the embeddings whose "
        "vectors the model was adapted to by `wordllama_st.adapt`. None embeds documents by the model; of an "
        "asymmetric model, by its own document side, which needs sentence-transformers. Dumps leave it out.",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model on the Hub.")
    token: SecretStr | None = Field(
        default_factory=secret_from_env("HF_TOKEN", default=None),
        exclude=True,  # a dump would hold the masked token, which is no valid one
        description="Token for a private or gated model on the Hub, read from the environment variable `HF_TOKEN` if "
        "not provided. Dumps leave it out.",
    )

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,  # the encoder is loaded by the settings
        arbitrary_types_allowed=True,  # Embeddings are no pydantic models
        hide_input_in_errors=True,  # the input includes the token
    )

    @field_validator("model", mode="before")
    @classmethod
    def _path_as_str(cls, model: Any) -> Any:
        return os.fspath(model) if isinstance(model, os.PathLike) else model

    @model_validator(mode="after")
    def _documents_fit(self) -> Self:
        if self.documents is not None or self._encoder.table.asymmetric:
            for name in ("dimensions", "document_prompt"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for documents that the model embeds, and others embed them here.")
        return self

    def model_post_init(self, context: Any, /) -> None:
        _ = self._encoder

    @cached_property  # which pydantic ignores when it compares and dumps instances
    def _encoder(self) -> StaticEncoder:
        try:
            return StaticEncoder.from_pretrained(
                self.model,
                revision=self.revision,
                token=self.token.get_secret_value() or None if self.token else None,
                truncate_dim=self.dimensions,
            )
        except OSError as error:
            raise ValueError(str(error)) from error  # pydantic reports a ValueError as a ValidationError

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

    @cached_property
    def _encode_documents(self) -> Callable[[list[str]], list[list[float]]]:
        """The document side of an asymmetric model, loaded when the first document comes."""
        require("st", "torch", "sentence_transformers")
        from sentence_transformers import SentenceTransformer

        token = self.token.get_secret_value() or None if self.token else None
        model = SentenceTransformer(self.model, revision=self.revision, token=token)
        return lambda texts: model.encode_document(texts, show_progress_bar=self.show_progress).tolist()  # type: ignore[no-any-return]

    def _embed_by(self, documents: Embeddings, texts: list[str]) -> list[list[float]]:
        """Embed documents by other embeddings, which must be those of the model's space."""
        vectors = np.asarray(documents.embed_documents(texts), np.float32)
        if len(texts) >= _ENOUGH and not self._is_checked.is_set():
            self._space.check(self._encoder.encode(texts[:_CHECKED]), vectors[:_CHECKED])
            self._is_checked.set()
        projected: list[list[float]] = self._space.project(vectors).tolist()
        return projected

    @cached_property
    def _space(self) -> VectorSpace:
        return self._encoder.table.space or VectorSpace(self._encoder.dim, 1.0, "its own table")

    @cached_property
    def _is_checked(self) -> threading.Event:
        return threading.Event()

    def check_store(self, store: Any) -> None:
        """Check that the vectors of a store are of the space that the model embeds queries in.

        Args:
            store: A store as for `texts_and_vectors`, of which some documents are read.

        Raises:
            ValueError: If they are of another space.
        """
        texts, vectors = texts_and_vectors(store, limit=_CHECKED)
        space = self._space
        if space.axes is not None:  # what is stored was projected onto them
            space = VectorSpace(self._encoder.dim, space.cosine, space.embedder)
        space.check(self._encoder.encode(texts), vectors)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents.

        Args:
            texts: The texts to embed.

        Returns:
            List of embeddings, one for each text.

        Raises:
            ValueError: If `texts` is not a list of `str`, or `documents` are embeddings of another space than the
                model's.
            ImportError: If the document side of an asymmetric model needs packages that are not installed.
        """
        if isinstance(texts, str):
            raise ArgumentError("embed_documents takes a list of texts; embed_query takes one text.")
        if texts and self.documents is not None:
            return self._embed_by(self.documents, texts)
        if texts and self._encoder.table.asymmetric:
            return self._encode_documents(texts)
        return self._embed(texts, self.document_prompt, _DOCUMENT_PROMPTS)

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

"""WordLlama embedding models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.utils import secret_from_env
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator
from typing_extensions import Self
from wordllama_st import StaticEncoder
from wordllama_st.errors import ArgumentError
from wordllama_st.static.released import DEFAULT_MODEL

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
        hide_input_in_errors=True,  # the input includes the token
    )

    @field_validator("model", mode="before")
    @classmethod
    def _path_as_str(cls, model: Any) -> Any:
        return os.fspath(model) if isinstance(model, os.PathLike) else model

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

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents.

        Args:
            texts: The texts to embed.

        Returns:
            List of embeddings, one for each text.

        Raises:
            ValueError: If `texts` is not a list of `str`.
        """
        if isinstance(texts, str):
            raise ArgumentError("embed_documents takes a list of texts; embed_query takes one text.")
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

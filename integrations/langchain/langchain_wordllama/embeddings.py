"""WordLlama embedding models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.utils import secret_from_env
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from typing_extensions import Self
from wordllama_st import StaticEncoder
from wordllama_st.errors import ArgumentError
from wordllama_st.static.released import DEFAULT_MODEL

#: Which of a model's own prompts are for what, as sentence-transformers has it.
_QUERY_PROMPTS = ("query",)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
#: Characters that are embedded sooner than a thread would have begun with them.
_SHORT = 4096


class WordLlamaEmbeddings(BaseModel, Embeddings):
    """WordLlama embedding model integration: static embeddings, on the CPU, without PyTorch.

    A text's vector is the mean of its tokens' vectors, which are looked up in a table. Texts of any length are embedded
    whole.

    Setup:
        Install `langchain-wordllama`. The default model comes with it; no network, key or server is needed.

        ```bash
        pip install -U langchain-wordllama
        ```

    Key init args:
        model: str
            Name of a released model, directory of a static model, or its id on the Hugging Face Hub.
        dimensions: int | None
            Number of dimensions to cut the vectors to.
        normalize: bool
            Whether to scale vectors to unit length.
        query_prompt: str | None
            Text to put in front of each query.
        document_prompt: str | None
            Text to put in front of each document.
        revision: str | None
            Branch, tag or commit of a model on the Hub.
        token: SecretStr | None
            Token for a private or gated model on the Hub. If not provided, it is read from the environment variable
            `HF_TOKEN`.

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

        Documents and long queries are embedded in a thread of the event loop's executor, as LangChain does by default,
        so that they hold up nothing else. A short query takes less time than the way to the thread and back, and is
        embedded at once. One instance serves any number of threads.

    Raises:
        pydantic.ValidationError: If there is no such model, it is no static model, it has fewer dimensions, or an
            argument is of the wrong type. (A `ValueError`, and never an `OSError`, also where a download fails.)

    Note:
        Settings cannot be changed on an instance; `model_copy(update={"dimensions": 64})` makes another, and loads its
        model. A pickle holds the settings and not the model, which is loaded again where it is unpickled.
    """

    model: str = Field(
        default=DEFAULT_MODEL,
        validation_alias=AliasChoices("model", "model_name"),
        description="Name of a released model, directory of a static model or WordLlama .safetensors file, or the id "
        "of a static model on the Hugging Face Hub. Can also be given as `model_name`.",
    )
    dimensions: int | None = Field(
        default=None,
        description="Number of dimensions to cut the vectors to, for a model trained for it (Matryoshka), as the "
        "released models are. None keeps all.",
    )
    normalize: bool = Field(
        default=True,
        description="Whether to scale vectors to unit length, as relevance scores of vector stores expect.",
    )
    batch_size: int = Field(default=1024, ge=1, description="Texts to embed at a time.")
    show_progress: bool = Field(default=False, description="Whether to show a progress bar.")
    query_prompt: str | None = Field(
        default=None,
        description="Text to put in front of each query. None takes the prompt that the model itself has for queries, "
        'if any; "" takes none.',
    )
    document_prompt: str | None = Field(
        default=None,
        description="Text to put in front of each document. None takes the prompt that the model itself has for "
        'documents, if any; "" takes none.',
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model on the Hub.")
    token: SecretStr | None = Field(
        default_factory=secret_from_env("HF_TOKEN", default=None),
        # Masked, it would come back from JSON as a token that is none.
        exclude=True,
        description="Token for a private or gated model on the Hub, read from the environment variable `HF_TOKEN` if "
        "not provided. It is left out of what is dumped.",
    )

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # the token is in it
    )

    @field_validator("model", mode="before")
    @classmethod
    def _path_as_str(cls, model: Any) -> Any:
        return os.fspath(model) if isinstance(model, os.PathLike) else model

    @model_validator(mode="after")
    def _load(self) -> Self:
        try:
            _ = self._encoder
        except OSError as error:  # which pydantic would let pass
            raise ValueError(str(error)) from error
        return self

    # Pydantic compares, copies and dumps a model without its cached properties.
    @cached_property
    def _encoder(self) -> StaticEncoder:
        return StaticEncoder.from_pretrained(
            self.model,
            revision=self.revision,
            token=self.token.get_secret_value() or None if self.token else None,
            truncate_dim=self.dimensions,
        )

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents.

        Args:
            texts: The texts to embed.

        Returns:
            List of embeddings, one for each text. That of a text without tokens, such as `""`, is the zero vector.

        Raises:
            ValueError: If `texts` is no list of `str`.
        """
        if isinstance(texts, str):
            raise ArgumentError("embed_documents takes a list of texts; embed_query takes one text.")
        embeddings: list[list[float]] = self._embed(texts, self.document_prompt, _DOCUMENT_PROMPTS)
        return embeddings

    def embed_query(self, text: str) -> list[float]:
        """Embed a query.

        Args:
            text: The text to embed.

        Returns:
            Embedding for the text. That of a text without tokens, such as `""`, is the zero vector.

        Raises:
            ValueError: If `text` is no `str`.
        """
        if not isinstance(text, str):
            raise ArgumentError(f"A query is a str, not {type(text).__name__}: {str(text)[:40]!r}.")
        embedding: list[float] = self._embed(text, self.query_prompt, _QUERY_PROMPTS)
        return embedding

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a query.

        Args:
            text: The text to embed.

        Returns:
            Embedding for the text, as `embed_query` gives it.

        Raises:
            ValueError: If `text` is no `str`.
        """
        if isinstance(text, str) and len(text) > _SHORT:
            return await super().aembed_query(text)
        return self.embed_query(text)

    def _embed(self, texts: str | list[str], prompt: str | None, prompt_names: tuple[str, ...]) -> Any:
        encoder = self._encoder
        prompts = encoder.table.prompts
        return encoder.encode(
            texts,
            prompt=prompt,
            prompt_name=next((name for name in prompt_names if name in prompts), None) if prompts else None,
            batch_size=self.batch_size,
            show_progress_bar=self.show_progress,
            normalize_embeddings=self.normalize,
        ).tolist()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy; where settings are updated, they are validated and the model is loaded.

        Args:
            update: Settings to change.
            deep: Makes no difference: nothing of an instance ever changes.

        Raises:
            pydantic.ValidationError: As the constructor does.
        """
        return type(self)(**{**dict(self), **update}) if update else super().model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.__copy__()

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        settings = {name: value for name, value in state["__dict__"].items() if name != "_encoder"}
        return {**state, "__dict__": settings}

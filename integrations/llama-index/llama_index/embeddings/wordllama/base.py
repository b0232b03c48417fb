"""The embedding class."""

from __future__ import annotations

import asyncio
from copy import copy
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr, model_validator
from typing_extensions import Self
from wordllama_st import StaticEncoder
from wordllama_st.models import DEFAULT_MODEL

#: Names that models, as sentence-transformers saves them, have for their prompts.
QUERY_PROMPTS = ("query",)
TEXT_PROMPTS = ("document", "passage", "corpus")
#: Characters that are embedded sooner than a thread would have begun with them.
SHORT = 4096


class WordLlamaEmbedding(BaseEmbedding):
    """
    Static embeddings of a WordLlama model, or of any other static model.

    A text's vector is the mean of its tokens' vectors, which takes microseconds on one core. Neither torch nor
    sentence-transformers is imported. With no arguments, the model inside the `wordllama` package is used, and no
    network.

    Args:
        model_name (Union[str, Path], optional): A directory with a static model (written by `wordllama_st.bake`,
            sentence-transformers, model2vec or wordllama), a released model's name, such as
            "wordllama-l2-supercat-128", or a static model's id on the Hugging Face Hub.
            Defaults to "wordllama-l2-supercat-256".
        revision (Optional[str], optional): Branch, tag or commit of the model on the Hub. Defaults to None.
        token (Optional[Union[bool, str]], optional): For a gated or private model on the Hub; it is neither shown
            nor part of `to_dict()`. Defaults to None, the token that huggingface_hub has.
        dimensions (Optional[int], optional): The first so many dimensions of the vectors (Matryoshka).
            Defaults to None, all of them.
        normalize (bool, optional): Whether to scale vectors to unit length. Defaults to True.
        query_instruction (Optional[str], optional): What to put in front of a query, as it stands. Defaults to
            None, the prompt that the model has for queries, if it has one; "" is none.
        text_instruction (Optional[str], optional): The same for texts. Defaults to None.
        embed_batch_size (int, optional): Texts at a time, 2048 at most. Defaults to 1024.
        num_workers (Optional[int], optional): Batches at a time in async calls. Defaults to None, all of them.
        callback_manager (Optional[CallbackManager], optional): Callback manager. Defaults to None.
        **kwargs: The other fields of BaseEmbedding (embeddings_cache, rate_limiter).

    Raises:
        ValidationError: If there is no such model, it has fewer dimensions, or it is no static model; or if a field
            has a value that it cannot have. It is a ValueError.

    A text that is no str is a ValueError when it is embedded. The vector of an empty text is zero, which is like
    nothing: its cosine with anything is not a number.

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
        protected_namespaces=("pydantic_model_",),
        arbitrary_types_allowed=True,
        extra="forbid",  # a misspelt field would be ignored
        hide_input_in_errors=True,  # the token is among it
    )

    model_name: str = Field(
        default=DEFAULT_MODEL,
        description="A static model: its directory, a released model's name, or its id on the Hugging Face Hub.",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model on the Hub.")
    token: bool | str | None = Field(
        default=None, description="Token for a gated or private model on the Hub.", exclude=True, repr=False
    )
    dimensions: int | None = Field(
        default=None, description="How many of the vectors' dimensions to keep; all if None.", gt=0
    )
    normalize: bool = Field(default=True, description="Normalize embeddings or not.")
    query_instruction: str | None = Field(
        default=None, description="Instruction to prepend to query text; the model's own if None."
    )
    text_instruction: str | None = Field(
        default=None, description="Instruction to prepend to text; the model's own if None."
    )
    embed_batch_size: int = Field(default=1024, description="The batch size for embedding calls.", gt=0, le=2048)

    _encoder: StaticEncoder = PrivateAttr()

    def __init__(self, model_name: str | Path = DEFAULT_MODEL, **kwargs: Any) -> None:
        super().__init__(model_name=str(model_name) if isinstance(model_name, Path) else model_name, **kwargs)

    @model_validator(mode="after")
    def _load_encoder(self) -> Self:
        try:
            self._encoder = StaticEncoder.from_pretrained(
                self.model_name, revision=self.revision, token=self.token, truncate_dim=self.dimensions
            )
        except OSError as error:
            raise ValueError(str(error)) from error  # pydantic makes its own error of this kind only
        return self

    @classmethod
    def class_name(cls) -> str:
        """Get class name."""
        return "WordLlamaEmbedding"

    def _embed(self, texts: list[str], prompt: str | None) -> list[Embedding]:
        vectors = self._encoder.encode(
            texts, prompt=prompt, batch_size=self.embed_batch_size, normalize_embeddings=self.normalize
        )
        embeddings: list[Embedding] = vectors.tolist()
        return embeddings

    async def _aembed(self, texts: list[str], prompt: str | None) -> list[Embedding]:
        # Much text would hold up the event loop. (What is no text is for `encode` to refuse.)
        if sum(len(text) for text in texts if isinstance(text, str)) <= SHORT:
            return self._embed(texts, prompt)
        return await asyncio.to_thread(self._embed, texts, prompt)

    def _query_prompt(self) -> str | None:
        return self._own_prompt(QUERY_PROMPTS) if self.query_instruction is None else self.query_instruction

    def _text_prompt(self) -> str | None:
        return self._own_prompt(TEXT_PROMPTS) if self.text_instruction is None else self.text_instruction

    def _own_prompt(self, names: tuple[str, ...]) -> str | None:
        """The first of the model's prompts with one of these names; with None it takes its default prompt."""
        prompts = self._encoder.table.prompts
        return next((prompts[name] for name in names if name in prompts), None)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed([query], self._query_prompt())[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._aembed([query], self._query_prompt()))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed([text], self._text_prompt())[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed([text], self._text_prompt()))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed(texts, self._text_prompt())

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._aembed(texts, self._text_prompt())

    def __getstate__(self) -> dict[str, Any]:
        # What travels to another process is the model's name. The base class drops what cannot be pickled, with a
        # warning, out of the very object that is being pickled: it is given a copy, without the encoder.
        light = copy(self)
        del light._encoder
        return super(WordLlamaEmbedding, light).__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The base class would go on without an encoder where the model cannot be loaded.
        self.__init__(**state["__dict__"])  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # An encoder is the same for all who use it, and may be large.
        return super().__deepcopy__({**(memo or {}), id(self._encoder): self._encoder})

"""The embedding class."""

from __future__ import annotations

import asyncio
from copy import copy
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

from llama_index.core.async_utils import run_jobs
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.base.embeddings.base import dispatcher as frameworks_dispatcher
from llama_index.core.bridge.pydantic import ConfigDict, Field, model_validator
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # it is not in an __all__
from llama_index.embeddings.wordllama.observers import has_callbacks, have_handlers, with_those_above
from typing_extensions import Self
from wordllama_st import StaticEncoder
from wordllama_st.static.released import DEFAULT_MODEL

#: Names that models, as sentence-transformers saves them, have for their prompts.
QUERY_PROMPTS = ("query",)
TEXT_PROMPTS = ("document", "passage", "corpus")
#: Characters that are embedded in a millisecond or two, of which a thread would add a tenth.
SHORT = 16_384
#: Texts that a thread encodes at a time. For more, it is given fresh memory again and again, and takes a third longer.
TEXTS_IN_A_THREAD = 256
#: Those that the framework tells of the methods here.
DISPATCHERS = with_those_above(frameworks_dispatcher, get_dispatcher(__name__))


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

    def __init__(self, model_name: str | Path = DEFAULT_MODEL, **kwargs: Any) -> None:
        super().__init__(model_name=str(model_name) if isinstance(model_name, Path) else model_name, **kwargs)

    @cached_property  # which, unlike a private attribute of pydantic, is found at once when a query comes
    def _encoder(self) -> StaticEncoder:
        try:
            return StaticEncoder.from_pretrained(
                self.model_name, revision=self.revision, token=self.token, truncate_dim=self.dimensions
            )
        except OSError as error:
            raise ValueError(str(error)) from error  # pydantic makes its own error of this kind only

    @model_validator(mode="after")
    def _load_encoder(self) -> Self:
        _ = self._encoder
        return self

    @classmethod
    def class_name(cls) -> str:
        """Get class name."""
        return "WordLlamaEmbedding"

    def _embed(
        self, texts: list[str], instruction: str | None, prompts: tuple[str, ...], batch_size: int | None = None
    ) -> list[Embedding]:
        encoder = self._encoder
        vectors = encoder.encode(
            texts,
            prompt=_own_prompt(encoder, prompts) if instruction is None else instruction,
            batch_size=batch_size or self.embed_batch_size,
            normalize_embeddings=self.normalize,
        )
        embeddings: list[Embedding] = vectors.tolist()
        return embeddings

    def _embed_query(self, query: str) -> Embedding:
        return self._embed([query], self.query_instruction, QUERY_PROMPTS)[0]

    def _embed_texts(self, texts: list[str], batch_size: int | None = None) -> list[Embedding]:
        return self._embed(texts, self.text_instruction, TEXT_PROMPTS, batch_size)

    async def _aembed_query(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._embed_query, query) if _is_long([query]) else self._embed_query(query)

    async def _aembed_texts(self, texts: list[str]) -> list[Embedding]:
        if _is_long(texts):
            return await asyncio.to_thread(self._embed_texts, texts, TEXTS_IN_A_THREAD)
        return self._embed_texts(texts)

    # What the base class asks for, and puts spans around.

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed_query(query)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await self._aembed_query(query)

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed_texts([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed_texts([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed_texts(texts)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._aembed_texts(texts)

    # Around each call of the following, the base class makes spans, events and callbacks, which takes it several times
    # as long as a query takes here; and it copies every vector of a batch into an event. Where something is told of
    # them, the base class does all of it. Where nothing is, none of it can be seen, and is left out: these come down to
    # the calls that it would make. (What is left out with the callbacks is the callback manager's `trace_map`, a record
    # that it keeps for its handlers.) `wraps` hands on the docstring, and the mark by which the framework knows that a
    # method sees to its span itself.

    def _is_watched(self) -> bool:
        """Whether a call is more than embedding: something is told of it, or asked, or overridden."""
        return (
            have_handlers(DISPATCHERS)
            or has_callbacks(self.callback_manager)
            or self.embeddings_cache is not None
            or getattr(self, "rate_limiter", None) is not None  # the first releases of core 0.14 have none
            or type(self) is not WordLlamaEmbedding
        )

    @wraps(BaseEmbedding.get_query_embedding)
    def get_query_embedding(self, query: str) -> Embedding:
        if self._is_watched():
            return super().get_query_embedding(query)
        return self._embed_query(query)

    @wraps(BaseEmbedding.aget_query_embedding)
    async def aget_query_embedding(self, query: str) -> Embedding:
        if self._is_watched():
            return await super().aget_query_embedding(query)
        return await self._aembed_query(query)

    @wraps(BaseEmbedding.get_text_embedding)
    def get_text_embedding(self, text: str) -> Embedding:
        if self._is_watched():
            return super().get_text_embedding(text)
        return self._embed_texts([text])[0]

    @wraps(BaseEmbedding.aget_text_embedding)
    async def aget_text_embedding(self, text: str) -> Embedding:
        if self._is_watched():
            return await super().aget_text_embedding(text)
        return (await self._aembed_texts([text]))[0]

    # The options go to the base class as they are given, since a span tells which were.

    @wraps(BaseEmbedding.get_text_embedding_batch)
    def get_text_embedding_batch(self, texts: list[str], *show_progress: bool, **options: Any) -> list[Embedding]:
        if self._is_watched() or _is_special(texts, *show_progress, **options):
            return super().get_text_embedding_batch(texts, *show_progress, **options)
        if len(texts) <= self.embed_batch_size:
            return self._embed_texts(texts)
        return _joined([self._embed_texts(batch) for batch in _batches(texts, self.embed_batch_size)])

    @wraps(BaseEmbedding.aget_text_embedding_batch)
    async def aget_text_embedding_batch(
        self, texts: list[str], *show_progress: bool, **options: Any
    ) -> list[Embedding]:
        if self._is_watched() or _is_special(texts, *show_progress, **options):
            return await super().aget_text_embedding_batch(texts, *show_progress, **options)
        if len(texts) <= self.embed_batch_size:  # a task of its own would take longer than a short text
            return await self._aembed_texts(texts.copy())  # the caller's may change meanwhile
        jobs = [self._aembed_texts(batch) for batch in _batches(texts, self.embed_batch_size)]
        if self.num_workers is not None and self.num_workers > 1:
            return _joined(await run_jobs(jobs, workers=self.num_workers))
        return _joined(await asyncio.gather(*jobs))

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


def _own_prompt(encoder: StaticEncoder, names: tuple[str, ...]) -> str | None:
    """The first of the model's prompts with one of these names; with None it takes its default prompt."""
    prompts = encoder.table.prompts
    for name in names:
        if name in prompts:
            return prompts[name]
    return None


def _is_long(texts: list[str]) -> bool:
    """Whether embedding them would hold up the event loop. (What is no text is for `encode` to refuse.)"""
    characters = 0
    for text in texts:  # a generator would take longer to make than a query is long
        if isinstance(text, str):
            characters += len(text)
    return characters > SHORT


def _is_special(texts: object, show_progress: bool = False, **options: Any) -> bool:
    """Whether a bar is to be shown, or the texts are not in a list; the base class knows what to do then."""
    return show_progress or not isinstance(texts, list)


def _batches(texts: list[str], size: int) -> list[list[str]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def _joined(batches: list[list[Embedding]]) -> list[Embedding]:
    return [embedding for batch in batches for embedding in batch]

"""The embedding under LlamaIndex's instrumentation, callbacks, rate limiter and cache.

Protects: they see of this embedding what they see of any other with the same methods; the embeddings are the same with
and without them; subclasses and progress bars work as they do with any other embedding.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import FACTS
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.base import BaseEvent
from llama_index.core.instrumentation.span.base import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.embeddings.wordllama import WordLlamaEmbedding
from wordllama_st import StaticEncoder

BATCH_SIZE = 3
ENCODER = StaticEncoder.from_pretrained("wordllama-l2-supercat-256")
FRAMEWORKS = "llama_index.core.base.embeddings.base"


class PlainEmbedding(BaseEmbedding):
    """The least that LlamaIndex asks of an embedding, with the same model."""

    model_name: str = "wordllama-l2-supercat-256"

    @classmethod
    def class_name(cls) -> str:
        return WordLlamaEmbedding.class_name()

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._get_text_embeddings([query])[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        embeddings: list[Embedding] = ENCODER.encode(texts, normalize_embeddings=True).tolist()
        return embeddings

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._get_text_embeddings(texts)


def nodes() -> list[TextNode]:
    return [TextNode(text=fact, id_=str(number)) for number, fact in enumerate(FACTS)]


WAYS: dict[str, Callable[[BaseEmbedding], Any]] = {
    "query": lambda embedding: embedding.get_query_embedding(FACTS[0]),
    "text": lambda embedding: embedding.get_text_embedding(FACTS[0]),
    "named text": lambda embedding: embedding.get_text_embedding(text=FACTS[0]),
    "batch": lambda embedding: embedding.get_text_embedding_batch(FACTS),
    "tuple": lambda embedding: embedding.get_text_embedding_batch(tuple(FACTS)),
    "batch without a bar": lambda embedding: embedding.get_text_embedding_batch(FACTS, show_progress=False),
    "no texts": lambda embedding: embedding.get_text_embedding_batch([]),
    "nodes": lambda embedding: embedding(nodes()),
    "queries": lambda embedding: embedding.get_agg_embedding_from_queries(FACTS[:2]),
    "async query": lambda embedding: asyncio.run(embedding.aget_query_embedding(FACTS[0])),
    "async text": lambda embedding: asyncio.run(embedding.aget_text_embedding(FACTS[0])),
    "async batch": lambda embedding: asyncio.run(embedding.aget_text_embedding_batch(FACTS)),
    "async one": lambda embedding: asyncio.run(embedding.aget_text_embedding_batch(FACTS[:1])),
    "async no texts": lambda embedding: asyncio.run(embedding.aget_text_embedding_batch([])),
    "async nodes": lambda embedding: asyncio.run(embedding.acall(nodes())),
    "no query": lambda embedding: embedding.get_query_embedding(None),
    "no text": lambda embedding: embedding.get_text_embedding_batch([*FACTS[:4], None]),
    "async no query": lambda embedding: asyncio.run(embedding.aget_query_embedding(None)),
    "async no text": lambda embedding: asyncio.run(embedding.aget_text_embedding_batch([*FACTS[:2], None])),
}
every_way = pytest.mark.parametrize("way", WAYS)


def method(span_id: str | None) -> str | None:
    """The part of a span's id that is not made up: `Class.method-uuid` names the class, too."""
    return span_id and span_id.split("-")[0].split(".")[1]


def error(raised: BaseException | None) -> tuple[type, str] | None:
    return raised and (type(raised), str(raised))


class Events(BaseEventHandler):
    """Writes down events. (A handler's fields of type Any are kept as they are; lists would be copied.)"""

    log: Any

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        content = event.model_dump(exclude={"id_", "timestamp", "span_id"})
        content["dropped"] = method(content.pop("span_id", None))
        self.log.append(("event", content, method(event.span_id)))


class Spans(BaseSpanHandler[BaseSpan]):
    """Writes down spans."""

    _log: list[Any]

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self._log = log

    def new_span(
        self, id_: str, bound_args: inspect.BoundArguments, parent_span_id: str | None = None, **kwargs: Any
    ) -> BaseSpan:
        parent = (
            method(parent_span_id) if parent_span_id in self.open_spans else None
        )  # not one that it was not told of
        self._log.append(("enter", method(id_), bound_args.arguments, parent, kwargs["tags"]))
        return BaseSpan(id_=id_)

    def prepare_to_exit_span(self, id_: str, result: Any = None, **kwargs: Any) -> BaseSpan:
        self._log.append(("exit", method(id_), result))
        return self.open_spans[id_]

    def prepare_to_drop_span(self, id_: str, err: BaseException | None = None, **kwargs: Any) -> BaseSpan:
        self._log.append(("drop", method(id_), error(err)))
        return self.open_spans[id_]


def shown(payload: dict[str, Any] | None) -> dict[str, Any]:
    return {key: error(value) if key == EventPayload.EXCEPTION else value for key, value in (payload or {}).items()}


class Callbacks(BaseCallbackHandler):
    """Writes down callbacks."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__([], [])
        self.log = log

    def on_event_start(self, event_type: CBEventType, payload: Any = None, **kwargs: Any) -> str:
        self.log.append(("start", event_type, shown(payload), kwargs["parent_id"]))
        return str(kwargs["event_id"])

    def on_event_end(self, event_type: CBEventType, payload: Any = None, **kwargs: Any) -> None:
        self.log.append(("end", event_type, shown(payload)))

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


class Limiter(BaseRateLimiter):
    """Writes down that it was asked, and lets all through."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def acquire(self, num_tokens: int = 0) -> None:
        self.log.append("acquire")

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.log.append("acquire")


class Cache(SimpleKVStore):
    """Writes down what it is asked for."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    def get(self, key: str, collection: str = "data") -> Any:
        self.log.append(("get", key))
        return super().get(key, collection)

    def put(self, key: str, val: Any, collection: str = "data") -> None:
        self.log.append(("put", key, list(val.values())))
        super().put(key, val, collection)


@contextmanager
def handlers_for_a_while() -> Iterator[None]:
    """Takes handlers away again that are added meanwhile."""
    dispatchers = [get_dispatcher(name) for name in ("root", FRAMEWORKS)]
    before = [(list(dispatcher.event_handlers), list(dispatcher.span_handlers)) for dispatcher in dispatchers]
    try:
        yield
    finally:
        for dispatcher, handlers in zip(dispatchers, before, strict=True):
            dispatcher.event_handlers, dispatcher.span_handlers = handlers


#: How an embedding of some class is made so that something writes a log of it.
Observed = Callable[[type[BaseEmbedding], list[Any]], BaseEmbedding]


def with_handler(dispatcher_name: str, handler: Callable[[list[Any]], Any]) -> Observed:
    """With a handler at the dispatcher of that name."""

    def observed(kind: type[BaseEmbedding], log: list[Any]) -> BaseEmbedding:
        dispatcher, made = get_dispatcher(dispatcher_name), handler(log)
        (dispatcher.add_event_handler if isinstance(made, BaseEventHandler) else dispatcher.add_span_handler)(made)
        return kind(embed_batch_size=BATCH_SIZE)

    return observed


def with_all(kind: type[BaseEmbedding], log: list[Any]) -> BaseEmbedding:
    with_handler("root", lambda log: Events(log=log))(kind, log)
    with_handler("root", Spans)(kind, log)
    return kind(
        embed_batch_size=BATCH_SIZE,
        callback_manager=CallbackManager([Callbacks(log)]),
        rate_limiter=Limiter(log),
        embeddings_cache=Cache(log),
    )


OBSERVED: dict[str, Observed] = {
    "events": with_handler("root", lambda log: Events(log=log)),
    "events of the framework's module": with_handler(FRAMEWORKS, lambda log: Events(log=log)),
    "spans": with_handler("root", Spans),
    "spans of the framework's module": with_handler(FRAMEWORKS, Spans),
    "callbacks": lambda kind, log: kind(
        embed_batch_size=BATCH_SIZE, callback_manager=CallbackManager([Callbacks(log)])
    ),
    "rate limiter": lambda kind, log: kind(embed_batch_size=BATCH_SIZE, rate_limiter=Limiter(log)),
    "cache": lambda kind, log: kind(embed_batch_size=BATCH_SIZE, embeddings_cache=Cache(log)),
    "all": with_all,
}


def log_and_outcome(observed: Observed, kind: type[BaseEmbedding], way: str) -> tuple[list[Any], Any]:
    log: list[Any] = []
    with handlers_for_a_while(), instrument_tags({"user": "somebody"}):
        embedding = observed(kind, log)
        try:
            outcome = WAYS[way](embedding)
        except ValueError as raised:
            outcome = error(raised)
    # Batches that are embedded at the same time may end in any order.
    return sorted(log, key=repr) if way.startswith("async") else log, outcome


@every_way
@pytest.mark.parametrize("observed", OBSERVED.values(), ids=OBSERVED)
def test_everything_is_seen_that_is_seen_of_a_plain_embedding(observed: Observed, way: str) -> None:
    assert log_and_outcome(observed, WordLlamaEmbedding, way) == log_and_outcome(observed, PlainEmbedding, way)


@pytest.mark.parametrize("observed", OBSERVED.values(), ids=OBSERVED)
def test_every_observer_sees_something(observed: Observed) -> None:
    # Without this, the logs compared above might be equal for being empty.
    assert log_and_outcome(observed, WordLlamaEmbedding, "query")[0]


@every_way
def test_the_outcome_is_the_same_without_an_observer(way: str) -> None:
    def unobserved(kind: type[BaseEmbedding], log: list[Any]) -> BaseEmbedding:
        return kind(embed_batch_size=BATCH_SIZE)

    assert log_and_outcome(unobserved, WordLlamaEmbedding, way) == log_and_outcome(unobserved, PlainEmbedding, way)


@given(st.lists(st.text()), st.integers(1, 20), st.sampled_from([None, 2]))
@settings(deadline=None, max_examples=50)
def test_every_text_has_the_same_vector_observed_or_not(
    embedding: WordLlamaEmbedding, texts: list[str], batch_size: int, workers: int | None
) -> None:
    embedding = copy.copy(embedding)
    embedding.embed_batch_size, embedding.num_workers = batch_size, workers
    ways: list[Callable[[], Any]] = [
        lambda: embedding.get_text_embedding_batch(texts),
        lambda: asyncio.run(embedding.aget_text_embedding_batch(texts)),
        lambda: [embedding.get_query_embedding(text) for text in texts],
    ]
    unobserved = [way() for way in ways]
    log: list[Any] = []
    embedding.callback_manager = CallbackManager([Callbacks(log)])
    assert [way() for way in ways] == unobserved
    assert bool(log) == bool(texts)


def test_an_observer_may_come_and_go(embedding: WordLlamaEmbedding) -> None:
    log: list[Any] = []
    handler = Callbacks(log)
    for seen in (0, 2, 2):
        embedding.get_query_embedding("cats")
        assert len(log) == seen
        if not seen:
            embedding.callback_manager.add_handler(handler)
        elif handler in embedding.callback_manager.handlers:
            embedding.callback_manager.remove_handler(handler)


def test_a_derived_embedding_is_asked() -> None:
    asked: list[list[str]] = []

    class Derived(WordLlamaEmbedding):
        def _get_query_embedding(self, query: str) -> Embedding:
            return super()._get_query_embedding(query.lower())

        def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
            asked.append(texts)
            return super()._get_text_embeddings(texts)

    derived = Derived(embed_batch_size=BATCH_SIZE)
    assert derived.get_query_embedding("CATS") == derived.get_query_embedding("cats")
    derived.get_text_embedding_batch(FACTS)
    assert asked == [FACTS[:3], FACTS[3:6], FACTS[6:]]


def test_progress_is_shown_where_it_is_asked_for(embedding: WordLlamaEmbedding, capfd: Any) -> None:
    embedding.get_text_embedding_batch(FACTS)
    assert capfd.readouterr().err == ""
    embedding.get_text_embedding_batch(FACTS, show_progress=True)
    asyncio.run(embedding.aget_text_embedding_batch(FACTS, show_progress=True))
    assert capfd.readouterr().err.count("Generating embeddings: 100%") == 2


def test_texts_may_change_while_they_are_embedded_in_a_thread() -> None:
    texts = [fact * 400 for fact in FACTS]
    expected = WordLlamaEmbedding().get_text_embedding_batch(texts)

    async def embedded_while_cleared() -> list[Embedding]:
        task = asyncio.create_task(WordLlamaEmbedding().aget_text_embedding_batch(texts))
        await asyncio.sleep(0)
        texts.clear()
        return await task

    assert asyncio.run(embedded_while_cleared()) == expected

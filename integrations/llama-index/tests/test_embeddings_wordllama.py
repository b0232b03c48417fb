"""The embedding class by itself.

Protects: every method returns the embeddings of the encoder, for one text, in batches and asynchronously, with the
instructions that were asked for; LlamaIndex's events, callbacks, cache and rate limiter work; neither torch nor a
network is needed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FACTS, Recorder
from llama_index.core import Settings
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding, SimilarityMode
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.embeddings.wordllama import WordLlamaEmbedding
from wordllama_st import StaticEncoder

NAME = "wordllama-l2-supercat-256"
HEAVY = ("torch", "sentence_transformers", "transformers", "wordllama")
OWN_FIELDS = {"model_name", "revision", "token", "dimensions", "normalize", "query_instruction", "text_instruction"}
LONG = "The harbour lies in the north. " * 600


@pytest.fixture(scope="session")
def encoder() -> StaticEncoder:
    return StaticEncoder.from_pretrained(NAME)


@pytest.fixture(scope="session")
def with_prompts(encoder: StaticEncoder, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model with prompts, as sentence-transformers saves them."""
    path = tmp_path_factory.mktemp("models") / "with-prompts"
    prompts = {"query": "question: ", "document": "answer: "}
    StaticEncoder(replace(encoder.table, prompts=prompts)).save_pretrained(path)
    return str(path)


def test_it_is_an_embedding_of_the_framework() -> None:
    assert issubclass(WordLlamaEmbedding, BaseEmbedding)
    assert WordLlamaEmbedding.class_name() == "WordLlamaEmbedding"
    assert all(WordLlamaEmbedding.model_fields[name].description for name in OWN_FIELDS)


@pytest.mark.parametrize("normalize", [True, False])
def test_the_vectors_are_the_encoders(encoder: StaticEncoder, normalize: bool) -> None:
    embedding = WordLlamaEmbedding(normalize=normalize)
    expected = encoder.encode(FACTS, normalize_embeddings=normalize).tolist()
    assert embedding.get_text_embedding_batch(FACTS) == expected
    assert embedding.get_text_embedding(FACTS[0]) == expected[0]
    assert embedding.get_query_embedding(FACTS[0]) == expected[0]
    assert type(expected[0][0]) is float


def test_fewer_dimensions_are_the_first_ones(encoder: StaticEncoder) -> None:
    vector = WordLlamaEmbedding(dimensions=64).get_text_embedding(FACTS[0])
    assert vector == encoder.encode(FACTS[0], truncate_dim=64, normalize_embeddings=True).tolist()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_a_directory_is_a_model(encoder: StaticEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path / "model")
    for path in (tmp_path / "model", str(tmp_path / "model")):
        embedding = WordLlamaEmbedding(path)
        assert embedding.model_name == str(path)
        assert embedding.get_text_embedding(FACTS[0]) == WordLlamaEmbedding().get_text_embedding(FACTS[0])


def test_instructions_are_put_in_front(embedding: WordLlamaEmbedding) -> None:
    instructed = WordLlamaEmbedding(query_instruction="query: ", text_instruction="passage: ")
    assert instructed.get_query_embedding("cats") == embedding.get_query_embedding("query: cats")
    assert instructed.get_text_embedding("cats") == embedding.get_text_embedding("passage: cats")
    assert instructed.get_text_embedding_batch(["cats"]) == [embedding.get_text_embedding("passage: cats")]


def test_a_model_brings_its_own_instructions(embedding: WordLlamaEmbedding, with_prompts: str) -> None:
    prompted = WordLlamaEmbedding(with_prompts)
    assert prompted.get_query_embedding("cats") == embedding.get_query_embedding("question: cats")
    assert prompted.get_text_embedding("cats") == embedding.get_text_embedding("answer: cats")
    plain = WordLlamaEmbedding(with_prompts, query_instruction="", text_instruction="")
    assert plain.get_query_embedding("cats") == embedding.get_query_embedding("cats")
    assert plain.get_text_embedding("cats") == embedding.get_text_embedding("cats")


def test_many_batches_are_one_after_the_other(embedding: WordLlamaEmbedding) -> None:
    texts = [f"{fact} ({number})" for number in range(5) for fact in FACTS]
    assert WordLlamaEmbedding(embed_batch_size=7).get_text_embedding_batch(texts, show_progress=True) == (
        embedding.get_text_embedding_batch(texts)
    )


async def _all(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    return list(await asyncio.gather(*coroutines))


@pytest.mark.parametrize("num_workers", [None, 4])
def test_asynchronous_is_the_same(embedding: WordLlamaEmbedding, num_workers: int | None) -> None:
    texts = [*FACTS, LONG, ""]
    other = WordLlamaEmbedding(embed_batch_size=3, num_workers=num_workers)
    for text in texts:
        assert asyncio.run(other.aget_query_embedding(text)) == embedding.get_query_embedding(text)
        assert asyncio.run(other.aget_text_embedding(text)) == embedding.get_text_embedding(text)
    assert asyncio.run(other.aget_text_embedding_batch(texts)) == embedding.get_text_embedding_batch(texts)


def test_many_callers_at_once_get_what_one_gets() -> None:
    # More than 100,000 characters in all, from which on the encoder looks words up.
    batches = [[f"{fact} {LONG[: 100 * caller]} {caller}" for fact in FACTS] for caller in range(32)]
    serial = [WordLlamaEmbedding().get_text_embedding_batch(batch) for batch in batches]
    embedding = WordLlamaEmbedding()
    for _ in range(3):
        concurrent = asyncio.run(_all(*(embedding.aget_text_embedding_batch(batch) for batch in batches)))
        assert concurrent == serial
    single = asyncio.run(_all(*(embedding.aget_query_embedding(batch[0]) for batch in batches)))
    assert single == [vectors[0] for vectors in serial]


def test_asynchronous_calls_embed_in_another_thread() -> None:
    threads = []

    class Recording(WordLlamaEmbedding):
        def _embed(self, *arguments: Any) -> list[Embedding]:
            threads.append(threading.current_thread())
            return super()._embed(*arguments)

    embedding = Recording()
    for call in (
        embedding.aget_query_embedding(LONG),
        embedding.aget_text_embedding(LONG),
        embedding.aget_text_embedding_batch([LONG] * 4),
    ):
        asyncio.run(call)
    assert len(threads) == 3
    assert threading.current_thread() not in threads


def test_events_tell_of_every_batch(recorder: Recorder) -> None:
    embedding = WordLlamaEmbedding(embed_batch_size=5, token="hf_secret")
    vectors = embedding.get_text_embedding_batch(FACTS)
    starts = [event for event in recorder.events if isinstance(event, EmbeddingStartEvent)]
    ends = [event for event in recorder.events if isinstance(event, EmbeddingEndEvent)]
    assert [len(event.chunks) for event in ends] == [5, 3]
    assert [vector for event in ends for vector in event.embeddings] == vectors
    assert starts[0].model_dict["model_name"] == NAME
    assert starts[0].model_dict["class_name"] == "WordLlamaEmbedding"
    assert "hf_secret" not in str(recorder.events)


def test_callbacks_are_called() -> None:
    handler = LlamaDebugHandler(print_trace_on_end=False)
    embedding = WordLlamaEmbedding(callback_manager=CallbackManager([handler]))
    vector = embedding.get_query_embedding("cats")
    asyncio.run(embedding.aget_text_embedding_batch(FACTS))
    pairs = handler.get_event_pairs(CBEventType.EMBEDDING)
    assert len(pairs) == 2
    assert pairs[0][1].payload is not None
    assert pairs[0][1].payload[EventPayload.EMBEDDINGS] == [vector]


def test_the_frameworks_cache_and_rate_limiter_work() -> None:
    cache = SimpleKVStore()
    limiter = TokenBucketRateLimiter(requests_per_minute=6000)
    embedding = WordLlamaEmbedding(embeddings_cache=cache, rate_limiter=limiter)
    first = embedding.get_text_embedding_batch(FACTS)
    assert len(cache.get_all("embeddings")) == len(FACTS)
    assert embedding.get_text_embedding_batch(FACTS) == first
    assert asyncio.run(embedding.aget_text_embedding_batch(FACTS)) == first


def test_similarity_is_higher_for_what_is_alike(embedding: WordLlamaEmbedding) -> None:
    reset, log_in, volcano = embedding.get_text_embedding_batch(
        ["I forgot my password.", "Passwords are reset on the account page.", FACTS[2]]
    )
    assert embedding.similarity(reset, log_in) > embedding.similarity(reset, volcano)
    assert embedding.similarity(reset, log_in, SimilarityMode.DOT_PRODUCT) == pytest.approx(
        embedding.similarity(reset, log_in), abs=1e-6
    )


def test_settings_take_it(embedding: WordLlamaEmbedding) -> None:
    before = Settings._embed_model
    try:
        Settings.embed_model = embedding
        assert Settings.embed_model is embedding
    finally:
        Settings._embed_model = before


def test_it_needs_neither_torch_nor_a_network() -> None:
    code = (
        "import sys, socket\n"
        "def connect(*args): raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = connect\n"
        "from llama_index.embeddings.wordllama import WordLlamaEmbedding\n"
        "embedding = WordLlamaEmbedding()\n"
        "embedding.get_text_embedding_batch(['some text ' * 100] * 2000)\n"
        "print(len(embedding.get_query_embedding('hello')))\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.split("\n")[:2] == ["256", "[]"]

"""What the embedding costs beside the encoder that it is made of.

Protects: no public method takes more than 15% longer than encoding the same texts and making lists of the vectors,
where nothing observes the framework.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conftest import FACTS
from llama_index.embeddings.wordllama import WordLlamaEmbedding
from wordllama_st import StaticEncoder

#: Of the encoder's own time.
MAX_OVERHEAD = 0.15
#: Texts in as many calls as are timed together; rounds of which the fastest counts, and the most there can be.
TEXTS_AT_A_TIME, ROUNDS, MAX_ROUNDS = 200, 10, 300
TEXTS = [" ".join(FACTS[: 1 + number % len(FACTS)]) + f" {number}" for number in range(2048)]


@pytest.fixture(scope="module")
def warm() -> tuple[WordLlamaEmbedding, StaticEncoder]:
    """Both have seen the texts, and know their words."""
    embedding, encoder = WordLlamaEmbedding(), StaticEncoder.from_pretrained("wordllama-l2-supercat-256")
    assert embedding.get_text_embedding_batch(TEXTS) == encoder.encode(TEXTS, normalize_embeddings=True).tolist()
    return embedding, encoder


async def repeat(call: Callable[[Any], object], argument: object, times: int) -> None:
    for _ in range(times):
        call(argument)


async def repeat_async(call: Callable[[Any], Coroutine[Any, Any, object]], argument: object, times: int) -> None:
    for _ in range(times):
        await call(argument)


def seconds(work: Coroutine[Any, Any, None]) -> float:
    """Of this process alone, since a busy machine makes others wait."""
    start = time.process_time()
    asyncio.run(work)
    return time.process_time() - start


@pytest.mark.parametrize(
    ("method", "texts"),
    [
        ("get_query_embedding", TEXTS[0]),
        ("get_text_embedding", TEXTS[0]),
        ("get_text_embedding_batch", TEXTS[:1]),
        ("get_text_embedding_batch", TEXTS[:32]),
        ("get_text_embedding_batch", TEXTS),
        ("aget_query_embedding", TEXTS[0]),
        ("aget_text_embedding", TEXTS[0]),
        ("aget_text_embedding_batch", TEXTS[:1]),
        ("aget_text_embedding_batch", TEXTS[:32]),
        ("aget_text_embedding_batch", TEXTS[:1024]),  # in a thread
    ],
    ids=lambda value: str(len(value)) if isinstance(value, list) else value.split()[0],
)
def test_embedding_takes_hardly_longer_than_the_encoder(
    warm: tuple[WordLlamaEmbedding, StaticEncoder], method: str, texts: str | list[str]
) -> None:
    embedding, encoder = warm
    call, times = getattr(embedding, method), max(1, TEXTS_AT_A_TIME // (1 if isinstance(texts, str) else len(texts)))
    repeat_call: Callable[..., Coroutine[Any, Any, None]] = repeat_async if method.startswith("a") else repeat

    def encode(texts: str | list[str]) -> object:
        return encoder.encode(texts, normalize_embeddings=True).tolist()

    ours = the_encoders = float("inf")
    for done in range(MAX_ROUNDS):
        ours = min(ours, seconds(repeat_call(call, texts, times)))
        the_encoders = min(the_encoders, seconds(repeat(encode, texts, times)))
        if done >= ROUNDS and ours <= (1 + MAX_OVERHEAD) * the_encoders:
            break  # noise only adds
    assert ours <= (1 + MAX_OVERHEAD) * the_encoders

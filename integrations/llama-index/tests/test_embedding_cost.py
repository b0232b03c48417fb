"""What the embedding costs beside the encoder that it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from conftest import FACTS
from llama_index.embeddings.wordllama import WordLlamaEmbedding
from wordllama_st import StaticEncoder

#: Of the encoder's own time. What the framework does around any embedding (its events copy every vector) is not in it.
MAX_OVERHEAD = 0.15
ROUNDS = 15


def seconds(work: Callable[[], object]) -> float:
    """Of this process alone, since a busy machine makes others wait."""
    start = time.process_time()
    work()
    return time.process_time() - start


def test_embedding_takes_hardly_longer_than_the_encoder() -> None:
    texts = [" ".join(FACTS[: 1 + number % len(FACTS)]) + f" {number}" for number in range(2048)]
    encoder, embedding = StaticEncoder.from_pretrained("wordllama-l2-supercat-256"), WordLlamaEmbedding()

    def encode() -> list[list[float]]:
        vectors: list[list[float]] = encoder.encode(texts, normalize_embeddings=True).tolist()
        return vectors

    assert embedding._get_text_embeddings(texts) == encode()
    times = [(seconds(lambda: embedding._get_text_embeddings(texts)), seconds(encode)) for _ in range(ROUNDS)]
    ours, the_encoders = (median(column) for column in zip(*times, strict=True))
    assert ours <= (1 + MAX_OVERHEAD) * the_encoders

"""One encoder for many batches, threads and processes: the same text has the same bits everywhere.

Protects: equality to the bit whatever a text's batch and neighbours, the number of threads, the state of the look-up
and the process; and that an interrupted call leaves a usable encoder. `make load` does the same for a minute and more.
"""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from encoders import TEXTS, encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_kinds import CORPUS

from wordllama_st import StaticEncoder
from wordllama_st.static.table import StaticTable

#: Of a forked or spawned process.
SECONDS = 30


@cache
def table(is_projected: bool) -> StaticTable:
    projection = np.random.default_rng(1).standard_normal((32, 150), np.float32) if is_projected else None
    return replace(encoder().table, projection=projection)


@cache
def held_in(dtype: Any, is_projected: bool) -> StaticEncoder:
    return StaticEncoder(table(is_projected), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("is_projected", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@given(
    texts=st.lists(st.text() | st.lists(st.sampled_from(CORPUS), max_size=60).map(" ".join), min_size=1, max_size=40),
    batch_size=st.integers(1, 40),
)
@settings(max_examples=15)
def test_a_text_has_the_same_bits_in_every_company(
    dtype: Any, is_projected: bool, normalize: bool, texts: list[str], batch_size: int
) -> None:
    used = held_in(dtype, is_projected)
    alone = [used.encode(text, normalize_embeddings=normalize) for text in texts]
    for made in (used, StaticEncoder(used.table, dtype=dtype)):  # which has seen words, and no words
        for threads in (1, 3):
            together = made.encode(
                texts[::-1], batch_size=batch_size, num_threads=threads, normalize_embeddings=normalize
            )
            np.testing.assert_array_equal(together[::-1], alone)


@pytest.mark.parametrize("word_memory", [0, 2**16, 2**24])
def test_memory_for_words_changes_nothing_but_speed(word_memory: int) -> None:
    made = StaticEncoder(encoder().table, word_memory=word_memory)
    for _ in range(3):
        np.testing.assert_array_equal(made.encode(TEXTS * 20), encoder().encode(TEXTS * 20))
    np.testing.assert_array_equal(made.encode("x y z"), encoder().encode("x y z"))


def test_many_threads_get_what_one_gets() -> None:
    made = StaticEncoder(encoder().table, word_memory=2**18)
    texts = [f"{text} {number}" for number in range(150) for text in TEXTS[:12]]
    expected = encoder().encode(texts)
    np.testing.assert_array_equal(made.encode(texts, batch_size=64, num_threads=None), expected)
    faults = []

    def work() -> None:
        if not np.array_equal(made.encode(texts, batch_size=97), expected):
            faults.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_an_encoder_can_be_copied_and_pickled() -> None:
    made = encoder()
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        np.testing.assert_array_equal(other.encode(TEXTS), made.encode(TEXTS))


@contextmanager
def busy(made: StaticEncoder) -> Iterator[None]:
    """Encode new words in other threads, which hold the locks most of the time."""
    stop = threading.Event()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            made.encode(["".join(chance.choices("abcdefghij ", k=60)) for _ in range(300)])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def encode_and_send(made: StaticEncoder, texts: list[str], results: Any) -> None:
    results.put(sha256(made.encode(texts, num_threads=2)).digest())  # a pipe takes no more until it is read


@pytest.mark.parametrize(("method", "count"), [("fork", 8), ("spawn", 1)])
def test_other_processes_go_on_with_an_encoder_that_is_in_use(method: str, count: int) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    context: Any = multiprocessing.get_context(method)
    made, texts = StaticEncoder(encoder().table), [f"{text} {number}" for number in range(60) for text in CORPUS]
    expected = sha256(made.encode(texts)).digest()
    with busy(made):
        for _ in range(count):
            results = context.SimpleQueue()
            process = context.Process(target=encode_and_send, args=(made, texts, results))
            process.start()
            process.join(SECONDS)
            is_stuck = process.is_alive()
            process.kill()
            assert not is_stuck, f"a process by {method} waits for a lock of a thread that it does not have"
            assert results.get() == expected


def test_an_interrupted_encoder_is_as_good_as_new() -> None:
    made, chance, interrupted = StaticEncoder(encoder().table), random.Random(0), 0
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)  # raises KeyboardInterrupt
    try:
        for number in range(60):
            texts = [f"{text} {number}.{chance.random()}" for text in TEXTS * 20]
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 2e-2))
                made.encode(texts, batch_size=50, num_threads=chance.choice([1, 3]), show_progress_bar=number % 2 == 0)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            np.testing.assert_array_equal(made.encode(texts[:40]), encoder().encode(texts[:40]))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted

"""Encoders and adapters under load: the same vectors in many threads, tasks and processes, and memory that stays flat.

    python reliability/load.py [--seconds 60] [--texts 10000000] [--only memory threads tasks processes interruptions]

memory: that many texts, each with new words, through one encoder. threads and tasks: 64 of them encode random texts,
one or many at a time, with models of several dims and dtypes and with both adapters, for as many seconds each.
processes: forked and spawned ones encode while threads here do. interruptions: KeyboardInterrupt at random times, with
a progress bar. All vectors must be, to the bit, those of one thread that encodes text by text.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from langchain_wordllama import WordLlamaEmbeddings
from llama_index.embeddings.wordllama import WordLlamaEmbedding

from wordllama_st import StaticEncoder
from wordllama_st.data.docstrings import extract_docstrings, installed_packages

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from memory import anonymous, resident

MODEL = "wordllama-l2-supercat-256"
AT_ONCE = 64
TEXTS, MOST_AT_A_TIME = 3000, 100
PROCESSES, INTERRUPTIONS = 20, 300
#: Of a process that encodes for a fraction of a second.
STUCK_AFTER = 120
#: So little that the look-up is emptied again and again.
WORD_MEMORY = 2**20
BATCH = 10_000
#: The share by which the most memory may be more after the first tenth of the texts than in it.
GROWTH = 0.05

Encode = Callable[[list[str]], Any]


@dataclass
class Subject:
    """What is under load.

    Attributes:
        encode: From texts to vectors, of one text at a time if it is called with one.
        encode_async: The same in an event loop.
        expected: The vectors of all texts, which one thread computed one by one, [n, d].
    """

    encode: Encode
    encode_async: Callable[[list[str]], Awaitable[Any]] | None = None
    expected: npt.NDArray[np.float32] | None = None

    def check(self, vectors: Any, begin: int) -> int:
        """Count the vectors that differ from those of the texts from a number on."""
        assert self.expected is not None
        found = np.asarray(vectors, np.float32)
        return int((found != self.expected[begin : begin + len(found)]).any(axis=1).sum())


def read_texts() -> list[str]:
    """The first docstrings of the installed packages, and texts without tokens or with many."""
    packages = installed_packages()
    texts = [item.body for name in sorted(packages)[:60] for item in extract_docstrings(packages[name])]
    return [*texts[: TEXTS - 3], "", " ", " ".join(texts[:200])]


def subjects(texts: list[str]) -> dict[str, Subject]:
    """Load the models and adapters, and compute what each must give."""
    found: dict[str, Subject] = {}
    for dtype in ("float32", "float16", "int8"):
        for dim in (256, 100, 64):
            options: Any = {"dtype": dtype, "truncate_dim": dim, "word_memory": WORD_MEMORY}
            found[f"{dtype}, {dim} dims"] = Subject(StaticEncoder.from_pretrained(MODEL, **options).encode)
            fresh = StaticEncoder.from_pretrained(MODEL, **options)
            found[f"{dtype}, {dim} dims"].expected = np.stack([fresh.encode(text) for text in texts])
    for dim in (256, 64):
        langchain = WordLlamaEmbeddings(dimensions=dim)
        llama_index = WordLlamaEmbedding(dimensions=dim)

        async def query_or_documents(texts: list[str], made: WordLlamaEmbeddings = langchain) -> Any:
            return [await made.aembed_query(texts[0])] if len(texts) == 1 else await made.aembed_documents(texts)

        found[f"LangChain, {dim} dims"] = Subject(langchain.embed_documents, query_or_documents)
        found[f"LlamaIndex, {dim} dims"] = Subject(
            llama_index.get_text_embedding_batch, llama_index.aget_text_embedding_batch
        )
        alone = WordLlamaEmbeddings(dimensions=dim)
        expected = np.array([alone.embed_query(text) for text in texts], np.float32)
        found[f"LangChain, {dim} dims"].expected = found[f"LlamaIndex, {dim} dims"].expected = expected
    return found


def some_texts(texts: list[str], chance: random.Random) -> tuple[int, list[str]]:
    """Choose a text, or several in a row, and say at which number they begin."""
    count = chance.choice([1, chance.randint(2, MOST_AT_A_TIME)])
    begin = chance.randrange(len(texts) - count + 1)
    return begin, texts[begin : begin + count]


def in_threads(made: list[Subject], texts: list[str], seconds: float, count: int = AT_ONCE) -> tuple[int, int]:
    """Encode in threads; return how many vectors were compared, and how many differ."""
    totals, end = np.zeros((count, 2), np.int64), time.monotonic() + seconds

    def work(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < end:
            subject = chance.choice(made)
            begin, chosen = some_texts(texts, chance)
            totals[number] += len(chosen), subject.check(subject.encode(chosen), begin)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    compared, different = totals.sum(axis=0).tolist()
    return compared, different


async def in_tasks(made: list[Subject], texts: list[str], seconds: float) -> tuple[int, int]:
    """Encode in the tasks of an event loop; return as :func:`in_threads`."""
    totals, end = np.zeros((AT_ONCE, 2), np.int64), time.monotonic() + seconds

    async def work(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < end:
            subject = chance.choice(made)
            begin, chosen = some_texts(texts, chance)
            assert subject.encode_async is not None
            totals[number] += len(chosen), subject.check(await subject.encode_async(chosen), begin)

    await asyncio.gather(*map(work, range(AT_ONCE)))
    compared, different = totals.sum(axis=0).tolist()
    return compared, different


@contextmanager
def busy(encoder: StaticEncoder) -> Iterator[None]:
    """Have threads encode new words while the block runs, so that they hold every lock now and then."""
    stop = threading.Event()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            encoder.encode(["".join(chance.choices("abcdefghij ", k=60)) for _ in range(300)])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def encode_elsewhere(encoder: StaticEncoder, texts: list[str], results: Any) -> None:
    """Encode in another process, and send the vectors."""
    results.put(encoder.encode(texts, num_threads=2))


def in_processes(texts: list[str], method: str) -> tuple[int, int]:
    """Encode in processes that are begun while threads here encode; return as :func:`in_threads`."""
    context: Any = multiprocessing.get_context(method)
    encoder, compared, different = StaticEncoder.from_pretrained(MODEL, word_memory=WORD_MEMORY), 0, 0
    subject = Subject(encoder.encode, expected=encoder.encode(texts))
    with busy(encoder):
        for _ in range(PROCESSES):
            results = context.Queue()
            process = context.Process(target=encode_elsewhere, args=(encoder, texts, results))
            process.start()
            try:
                different += subject.check(results.get(timeout=STUCK_AFTER), 0)
            except Exception as error:
                process.kill()
                raise SystemExit(f"A process by {method} gave nothing in {STUCK_AFTER} s.") from error
            compared += len(texts)
            process.join()
    return compared, different


def interrupted(texts: list[str]) -> tuple[int, int]:
    """Interrupt calls, and encode after each; return as :func:`in_threads`."""
    encoder, chance, landed, compared, different = None, random.Random(0), 0, 0, 0
    expected = StaticEncoder.from_pretrained(MODEL).encode(texts)
    signal.signal(signal.SIGALRM, signal.default_int_handler)  # raises KeyboardInterrupt
    for number in range(INTERRUPTIONS):
        if number % 20 == 0:  # one that has yet to examine its tokenizer, too
            encoder = StaticEncoder.from_pretrained(MODEL, word_memory=WORD_MEMORY)
        assert encoder is not None
        begin, chosen = some_texts(texts, chance)
        new_words = [f"{text} {chance.random()}" for text in texts]
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 0.1))
            encoder.encode(new_words, batch_size=100, num_threads=chance.choice([1, 4]), show_progress_bar=True)
        except KeyboardInterrupt:
            landed += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        different += Subject(encoder.encode, expected=expected).check(encoder.encode(chosen), begin)
        compared += len(chosen)
    print(f"\n{landed} of {INTERRUPTIONS} calls interrupted", flush=True)
    return compared, different


def grows(texts: list[str], count: int) -> bool:
    """Encode many texts with three new words each, and tell whether memory grows beyond that of the first tenth.

    It rises and falls, since what is remembered of words is let go again and again, in the first tenth already.
    """
    encoder, start = StaticEncoder.from_pretrained(MODEL), time.monotonic()
    words = sorted({word for text in texts for word in text.split() if len(word) < 12})
    chance, measured = random.Random(0), []
    for done in range(0, count, BATCH):
        new = ((f"{number:x}x", f"{7919 * number:x}y", f"{104729 * number:x}z") for number in range(done, done + BATCH))
        encoder.encode([" ".join((*chance.choices(words, k=6), *some)) for some in new])
        measured.append((resident(), anonymous()))
    first = len(measured) // 10
    before, after = (np.max(some, axis=0) / 2**20 for some in (measured[:first], measured[first:]))
    growth = after[0] / before[0] - 1
    speed = count / (time.monotonic() - start)
    print(f"memory: {count:,} texts at {speed:,.0f}/s; the most in the first tenth and in", end=" ")
    print(f"the rest: {before[0]:.1f} and {after[0]:.1f} MB resident, {growth:+.1%};", end=" ")
    print(f"of it not mapped from files: {before[1]:.1f} and {after[1]:.1f} MB", flush=True)
    return bool(growth > GROWTH)


def main() -> None:
    """Run all, or what is named; ends with 1 if a vector differs or memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--texts", type=int, default=10_000_000)
    parser.add_argument("--only", nargs="+", metavar="LOAD")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # or tokenizers warns of every fork
    texts, fails = read_texts(), False
    if not options.only or "memory" in options.only:
        fails |= grows(texts, options.texts)
    loads: dict[str, Callable[[], tuple[int, int]]] = {}
    if not options.only or {"threads", "tasks"} & set(options.only):
        made = subjects(texts)
        of_adapters = [subject for subject in made.values() if subject.encode_async is not None]
        print(f"{len(made)} models and adapters, {len(texts):,} texts, each encoded alone first", flush=True)
        loads["threads"] = lambda: in_threads(list(made.values()), texts, options.seconds)
        loads["tasks"] = lambda: asyncio.run(in_tasks(of_adapters, texts, options.seconds))
    for method in multiprocessing.get_all_start_methods():
        loads[f"processes by {method}"] = lambda method=method: in_processes(texts, method)
    loads["interruptions"] = lambda: interrupted(texts)
    for name, load in loads.items():
        if not options.only or name.split()[0] in options.only:
            compared, different = load()
            fails |= different > 0
            print(f"{name}: {compared:,} vectors compared, {different:,} differ", flush=True)
    sys.exit(fails)


if __name__ == "__main__":
    main()

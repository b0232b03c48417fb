"""What the adapters for LangChain and LlamaIndex cost on top of the encoder, and how soon they answer.

    python benchmarks/adapters.py langchain llama-index

Overhead: the time of the adapter's call over that of ``StaticEncoder.encode(...).tolist()`` for the same texts; at most
1.15. Beside it, the same of a minimal adapter, whose methods are ``encode(...).tolist()`` and nothing else, called by
the same public methods: that is what the framework asks of any embedding. Each is the least processor time of many
rounds, in which the three take turns, since a busy machine makes others wait and is never too fast.
Cold start: import, construction and first query in a new process, beyond the import of the framework's core alone; at
most 0.4 s.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from wordllama_st import StaticEncoder
from wordllama_st.data.docstrings import harvest, installed_packages

MODEL = "wordllama-l2-supercat-256"
MOST_OVERHEAD, MOST_COLD_SECONDS = 1.15, 0.4
QUERY = "How do I read a table from a text file?"
BATCHES = (1, 32, 1024, 4096)
#: Texts in as many calls as are timed together.
TEXTS_AT_A_TIME = 1000

Vectors = list[list[float]]
Call = Callable[[], float]


def minimal_langchain(encode: Callable[[list[str]], Vectors]) -> Any:
    """The least that LangChain takes for embeddings."""
    from langchain_core.embeddings import Embeddings

    class Minimal(Embeddings):
        def embed_query(self, text: str) -> list[float]:
            return encode([text])[0]

        def embed_documents(self, texts: list[str]) -> Vectors:
            return encode(texts)

    return Minimal()


def minimal_llama_index(encode: Callable[[list[str]], Vectors]) -> Any:
    """The least that LlamaIndex takes for an embedding."""
    from llama_index.core.base.embeddings.base import BaseEmbedding

    class Minimal(BaseEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return encode([query])[0]

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return encode([query])[0]

        def _get_text_embedding(self, text: str) -> list[float]:
            return encode([text])[0]

        def _get_text_embeddings(self, texts: list[str]) -> Vectors:
            return encode(texts)

        async def _aget_text_embeddings(self, texts: list[str]) -> Vectors:
            return encode(texts)

    return Minimal(embed_batch_size=1024)  # as the adapter


@dataclass(frozen=True)
class Adapter:
    """An adapter, in the words of its framework.

    Attributes:
        core: Statement that imports the framework's base class of embeddings.
        load: Statement that imports the adapter.
        construct: Expression for an instance that does the same as ``encode(..., normalize_embeddings=True)``.
        minimal: Makes a minimal adapter around an encoding function.
        query: Name of its method that embeds a query; the asynchronous one's has an "a" in front.
        documents: Name of its method that embeds a list of texts; likewise.
        text: Name of its method that embeds one text, if it has one.
    """

    core: str
    load: str
    construct: str
    minimal: Callable[[Callable[[list[str]], Vectors]], Any]
    query: str
    documents: str
    text: str | None = None


ADAPTERS = {
    "langchain": Adapter(
        core="from langchain_core.embeddings import Embeddings",  # lazily: the module alone imports next to nothing
        load="from langchain_wordllama import WordLlamaEmbeddings",
        construct="WordLlamaEmbeddings()",
        minimal=minimal_langchain,
        query="embed_query",
        documents="embed_documents",
    ),
    "llama-index": Adapter(
        core="from llama_index.core.base.embeddings.base import BaseEmbedding",
        load="from llama_index.embeddings.wordllama import WordLlamaEmbedding",
        construct="WordLlamaEmbedding()",
        minimal=minimal_llama_index,
        query="get_query_embedding",
        documents="get_text_embedding_batch",
        text="get_text_embedding",
    ),
}


def overhead(name: str, adapter: Adapter, rounds: int) -> Iterator[str]:
    """A line for each of the adapter's methods, and for each size of batch."""
    scope: dict[str, Any] = {}
    exec(adapter.load, scope)
    encoder = StaticEncoder.from_pretrained(MODEL)

    def encode(texts: str | list[str]) -> Any:
        return encoder.encode(texts, normalize_embeddings=True).tolist()

    embeddings, minimal = eval(adapter.construct, scope), adapter.minimal(encode)
    passages = [docstring.body for docstring in harvest(installed_packages()["numpy"])]
    passages = (passages * (max(BATCHES) // len(passages) + 1))[: max(BATCHES)]
    batches = [(f"{size:,} passage{'s' * (size > 1)}", adapter.documents, passages[:size]) for size in BATCHES]
    methods: list[tuple[str, str, str | list[str]]] = [("a query", adapter.query, QUERY), *batches]
    if adapter.text is not None:
        methods.insert(1, ("a text", adapter.text, QUERY))

    getattr(embeddings, adapter.documents)(passages)  # from here on, both encoders know the words
    encode(passages)
    loop = asyncio.new_event_loop()  # one for all, as a server has it, and so the same threads for all
    for what, method, argument in methods:
        repeats = max(1, TEXTS_AT_A_TIME // (1 if isinstance(argument, str) else len(argument)))
        ways = [encode, getattr(minimal, method), getattr(embeddings, method)]
        yield _compared(f"{name}, {what}", rounds, [partial(_repeat, way, argument, repeats) for way in ways], repeats)
        ways[1:] = [getattr(minimal, f"a{method}"), getattr(embeddings, f"a{method}")]
        calls: list[Call] = [partial(_repeat, encode, argument, repeats)]
        calls += [partial(_repeat_async, loop, way, argument, repeats) for way in ways[1:]]
        yield _compared(f"{name}, {what}, async", rounds, calls, repeats)
    loop.close()


def _repeat(function: Callable[[Any], object], argument: object, times: int) -> float:
    """Seconds of all threads of this process, and of no other process."""
    start = time.process_time()
    for _ in range(times):
        function(argument)
    return time.process_time() - start


def _repeat_async(
    loop: asyncio.AbstractEventLoop,
    function: Callable[[Any], Coroutine[Any, Any, object]],
    argument: object,
    times: int,
) -> float:
    """The same within an event loop, whose beginning and end are not counted."""

    async def repeat() -> float:
        start = time.process_time()
        for _ in range(times):
            await function(argument)
        return time.process_time() - start

    return loop.run_until_complete(repeat())


def _compared(what: str, rounds: int, calls: Sequence[Call], repeats: int) -> str:
    """A line for the plain encoder, the minimal adapter and the adapter."""
    least = [float("inf")] * len(calls)
    for number in range(rounds):
        for turn in range(len(calls)):
            which = (number + turn) % len(calls)
            least[which] = min(least[which], calls[which]() / repeats)
    plain, minimal, adapted = least
    verdict = "" if adapted <= MOST_OVERHEAD * plain else f"  more than {MOST_OVERHEAD}"
    return (
        f"{what:38} {plain * 1e6:9,.0f} µs {minimal * 1e6:9,.0f} µs {adapted * 1e6:9,.0f} µs"
        f" {minimal / plain:8.3f} {adapted / plain:8.3f} {adapted / minimal:8.3f}{verdict}"
    )


def cold_start(name: str, adapter: Adapter, rounds: int) -> str:
    """A line for the seconds from a new process to the first vector, beyond the core's import."""
    core, whole = [], []
    program = f"{adapter.load}\n{adapter.construct}.{adapter.query}({QUERY!r})"
    for _ in range(rounds):
        core.append(_in_new_process(adapter.core))
        whole.append(_in_new_process(program))
    own = min(whole) - min(core)
    verdict = "" if own <= MOST_COLD_SECONDS else f"  more than {MOST_COLD_SECONDS} s"
    return f"{name:38} {min(core):8.3f} s  {min(whole):8.3f} s  {own:8.3f} s{verdict}"


def _in_new_process(program: str) -> float:
    code = f"import time; start = time.perf_counter()\n{program}\nprint(time.perf_counter() - start)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(result.stdout.split()[-1])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapters", nargs="*", default=list(ADAPTERS), help=f"of {', '.join(ADAPTERS)}")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--cold-rounds", type=int, default=15)
    arguments = parser.parse_args()

    print(f"{'':38} {'a call (least processor time)':>38} {'over the encoder':>17} {'over the':>8}")
    print(
        f"{'overhead':38} {'encoder':>12} {'minimal':>12} {'adapter':>12} {'minimal':>8} {'adapter':>8} {'minimal':>8}"
    )
    for name in arguments.adapters:
        for line in overhead(name, ADAPTERS[name], arguments.rounds):
            print(line, flush=True)
    print(f"\n{'cold start (least)':38} {'core':>10}  {'in all':>10}  {'own':>10}")
    for name in arguments.adapters:
        print(cold_start(name, ADAPTERS[name], arguments.cold_rounds), flush=True)


if __name__ == "__main__":
    main()

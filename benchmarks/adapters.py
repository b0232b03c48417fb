"""Time the adapters for LangChain and LlamaIndex beside the encoder alone and beside minimal adapters.

    python benchmarks/adapters.py langchain llama-index

Calls: the processor time of a call, the least of many rounds in which the three take turns, since other processes can
only add to it. The encoder is called as ``StaticEncoder.encode(...).tolist()``; the methods of a minimal adapter are
that call and nothing else, so that its time is what the framework costs with any model.
Cold start: import, construction and first query in a new process, and how much of it is beyond the import of the
framework's base class.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from wordllama_st import StaticEncoder
from wordllama_st.data.docstrings import extract_docstrings, installed_packages

MODEL = "wordllama-l2-supercat-256"
QUERY = "How do I read a table from a text file?"
BATCHES = (1, 32, 1024, 4096)
#: Texts in as many calls as are timed together.
TEXTS_AT_A_TIME = 1000

Encode = Callable[[list[str]], list[list[float]]]


def minimal_langchain(encode: Encode) -> Any:
    """The least that LangChain asks of embeddings."""
    from langchain_core.embeddings import Embeddings

    class Minimal(Embeddings):
        def embed_query(self, text: str) -> list[float]:
            return encode([text])[0]

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return encode(texts)

    return Minimal()


def minimal_llama_index(encode: Encode) -> Any:
    """The least that LlamaIndex asks of an embedding that takes batches."""
    from llama_index.core.base.embeddings.base import BaseEmbedding

    class Minimal(BaseEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return encode([query])[0]

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return encode([query])[0]

        def _get_text_embedding(self, text: str) -> list[float]:
            return encode([text])[0]

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return encode(texts)

        async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return encode(texts)

    return Minimal(embed_batch_size=1024)  # as the adapter


class Framework(NamedTuple):
    """Statements, an expression and names of methods; those of asynchronous methods have an "a" in front."""

    import_core: str
    import_adapter: str
    adapter: str
    minimal: Callable[[Encode], Any]
    query: str
    documents: str


FRAMEWORKS = {
    "langchain": Framework(
        import_core="from langchain_core.embeddings import Embeddings",  # the module alone is lazy
        import_adapter="from langchain_wordllama import WordLlamaEmbeddings",
        adapter="WordLlamaEmbeddings()",
        minimal=minimal_langchain,
        query="embed_query",
        documents="embed_documents",
    ),
    "llama-index": Framework(
        import_core="from llama_index.core.base.embeddings.base import BaseEmbedding",
        import_adapter="from llama_index.embeddings.wordllama import WordLlamaEmbedding",
        adapter="WordLlamaEmbedding()",
        minimal=minimal_llama_index,
        query="get_query_embedding",
        documents="get_text_embedding_batch",
    ),
}


def time_calls(name: str, framework: Framework, rounds: int) -> Iterator[str]:
    """A line for each method and size of batch, synchronous and asynchronous."""
    encoder = StaticEncoder.from_pretrained(MODEL)

    def encode(texts: str | list[str]) -> Any:
        return encoder.encode(texts, normalize_embeddings=True).tolist()

    scope: dict[str, Any] = {}
    exec(framework.import_adapter, scope)
    adapters = [framework.minimal(encode), eval(framework.adapter, scope)]
    passages = [docstring.body for docstring in extract_docstrings(installed_packages()["numpy"])]
    passages = (passages * (max(BATCHES) // len(passages) + 1))[: max(BATCHES)]
    for adapter in adapters:
        getattr(adapter, framework.documents)(passages)  # from here on, both encoders know the words
    batches = [(f"{size:,} passage{'s' * (size > 1)}", framework.documents, passages[:size]) for size in BATCHES]
    loop = asyncio.new_event_loop()  # one for all, as a server has it, and so the same threads for all
    for what, method, argument in [("a query", framework.query, QUERY), *batches]:
        for prefix, suffix in (("", ""), ("a", ", async")):
            functions = [encode, *(getattr(adapter, prefix + method) for adapter in adapters)]
            times = [[_seconds(loop, function, argument) for function in functions] for _ in range(rounds)]
            plain, minimal, ours = np.min(times, axis=0)
            yield (
                f"{f'{name}, {what}{suffix}':38}{plain * 1e6:12,.0f} µs{minimal * 1e6:12,.0f} µs{ours * 1e6:12,.0f} µs"
                f"{minimal / plain:11.2f}x{ours / plain:9.2f}x"
            )
    loop.close()


def _seconds(loop: asyncio.AbstractEventLoop, function: Callable[[Any], Any], argument: str | list[str]) -> float:
    """Processor time per call, of all threads of this process, in a running event loop."""
    calls = max(1, TEXTS_AT_A_TIME // (1 if isinstance(argument, str) else len(argument)))

    async def call() -> float:
        start = time.process_time()
        for _ in range(calls):
            result = function(argument)
            if inspect.isawaitable(result):
                await result
        return (time.process_time() - start) / calls

    return loop.run_until_complete(call())


def time_cold_start(name: str, framework: Framework, rounds: int) -> str:
    """A line for the seconds from a new process to the first embedding."""
    program = (
        f"import time; start = time.perf_counter(); {framework.import_core}; core = time.perf_counter() - start\n"
        f"{framework.import_adapter}; {framework.adapter}.{framework.query}({QUERY!r})\n"
        "print(core, time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", program]
    printed = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(rounds)]
    core, whole = np.min([[float(number) for number in line.split()[-2:]] for line in printed], axis=0)
    return f"{name:38}{core:13.3f} s{whole:13.3f} s{whole - core:13.3f} s"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frameworks", nargs="*", default=list(FRAMEWORKS), help=f"of {', '.join(FRAMEWORKS)}")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()

    print(f"{'a call':38}{'encoder':>15}{'minimal':>15}{'adapter':>15}{'minimal':>12}{'adapter':>10}")
    for name in arguments.frameworks:
        for line in time_calls(name, FRAMEWORKS[name], arguments.rounds):
            print(line, flush=True)
    print(f"\n{'cold start':38}{'core':>15}{'in all':>15}{'beyond core':>15}")
    for name in arguments.frameworks:
        print(time_cold_start(name, FRAMEWORKS[name], arguments.rounds), flush=True)


if __name__ == "__main__":
    main()

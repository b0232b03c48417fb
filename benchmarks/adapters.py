"""What the adapters for LangChain and LlamaIndex cost on top of the encoder, and how soon they answer.

    python benchmarks/adapters.py langchain llama-index

Overhead: the time of the adapter's call over that of ``StaticEncoder.encode(...).tolist()`` for the same texts, taken
in turns; at most 1.15. Cold start: import, construction and first query in a new process, beyond the import of the
framework's core alone; at most 0.4 s.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wordllama_st import StaticEncoder
from wordllama_st.docstrings import harvest, installed_packages

MODEL = "wordllama-l2-supercat-256"
MOST_OVERHEAD, MOST_COLD_SECONDS = 1.15, 0.4
QUERY = "How do I read a table from a text file?"
BATCHES = (1, 32, 1024, 4096)


@dataclass(frozen=True)
class Adapter:
    """An adapter, in the words of its framework.

    Attributes:
        core: Statement that imports the framework's base class of embeddings.
        load: Statement that imports the adapter.
        construct: Expression for an instance that does the same as ``encode(..., normalize_embeddings=normalize)``.
        query: Name of its method that embeds a query.
        documents: Name of its method that embeds a list of texts.
        normalize: Whether it scales vectors to unit length.
    """

    core: str
    load: str
    construct: str
    query: str
    documents: str
    normalize: bool


ADAPTERS = {
    "langchain": Adapter(
        core="from langchain_core.embeddings import Embeddings",  # lazily: the module alone imports next to nothing
        load="from langchain_wordllama import WordLlamaEmbeddings",
        construct="WordLlamaEmbeddings()",
        query="embed_query",
        documents="embed_documents",
        normalize=True,
    ),
    "llama-index": Adapter(
        core="from llama_index.core.base.embeddings.base import BaseEmbedding",
        load="from llama_index.embeddings.wordllama import WordLlamaEmbedding",
        construct="WordLlamaEmbedding()",
        query="get_query_embedding",
        documents="get_text_embedding_batch",
        normalize=True,
    ),
}


def overhead(name: str, adapter: Adapter, rounds: int) -> list[str]:
    """A line for a query and for each size of batch."""
    scope: dict[str, Any] = {}
    exec(adapter.load, scope)
    embeddings = eval(adapter.construct, scope)
    encoder = StaticEncoder.from_pretrained(MODEL)
    query, documents = getattr(embeddings, adapter.query), getattr(embeddings, adapter.documents)
    passages = [docstring.body for docstring in harvest(installed_packages()["numpy"])]
    passages = (passages * (max(BATCHES) // len(passages) + 1))[: max(BATCHES)]

    def encode(texts: str | list[str]) -> Any:
        return encoder.encode(texts, normalize_embeddings=adapter.normalize).tolist()

    documents(passages)
    encode(passages)
    lines = [_compared(f"{name}, a query", rounds, lambda: encode(QUERY), lambda: query(QUERY), 1000)]
    for size in BATCHES:
        batch = passages[:size]
        repeats = max(1, 1000 // size // 4)
        ours, theirs = (lambda batch=batch: encode(batch)), (lambda batch=batch: documents(batch))
        lines.append(_compared(f"{name}, {size:,} passages", rounds, ours, theirs, repeats))
    return lines


def _compared(what: str, rounds: int, plain: Callable[[], object], adapted: Callable[[], object], repeats: int) -> str:
    ratios, times = [], []
    for number in range(rounds):
        pair = (plain, adapted) if number % 2 else (adapted, plain)
        seconds = {function: _seconds(function, repeats) for function in pair}
        ratios.append(seconds[adapted] / seconds[plain])
        times.append(seconds[adapted])
    ratio = statistics.median(ratios)
    verdict = "" if ratio <= MOST_OVERHEAD else f"  more than {MOST_OVERHEAD}"
    return f"{what:32} {statistics.median(times) * 1e6:10,.0f} µs  {ratio:6.3f}{verdict}"


def _seconds(function: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def cold_start(name: str, adapter: Adapter, rounds: int) -> str:
    """A line for the seconds from a new process to the first vector, beyond the core's import."""
    core, whole = [], []
    program = f"{adapter.load}\n{adapter.construct}.{adapter.query}({QUERY!r})"
    for _ in range(rounds):
        core.append(_in_new_process(adapter.core))
        whole.append(_in_new_process(program))
    own = min(whole) - min(core)
    verdict = "" if own <= MOST_COLD_SECONDS else f"  more than {MOST_COLD_SECONDS} s"
    return f"{name:32} {min(core):8.3f} s  {min(whole):8.3f} s  {own:8.3f} s{verdict}"


def _in_new_process(program: str) -> float:
    code = f"import time; start = time.perf_counter()\n{program}\nprint(time.perf_counter() - start)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(result.stdout.split()[-1])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapters", nargs="*", default=list(ADAPTERS), help=f"of {', '.join(ADAPTERS)}")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()

    print(f"{'overhead (median)':32} {'a call':>13}  {'ratio':>6}")
    for name in arguments.adapters:
        print(*overhead(name, ADAPTERS[name], arguments.rounds), sep="\n")
    print(f"\n{'cold start (least)':32} {'core':>10}  {'in all':>10}  {'own':>10}")
    for name in arguments.adapters:
        print(cold_start(name, ADAPTERS[name], arguments.rounds))


if __name__ == "__main__":
    main()

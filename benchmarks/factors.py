"""A static model of many dimensions as one table [V, D] and as its two factors: bytes, loading and encoding.

    python benchmarks/factors.py [--dim 1536]

The tokenizer is the released model's, V = 32,000, and the numbers are random. The texts are made of the words of a text
file, each text once. The two are measured in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from wordllama_st import StaticEncoder
from wordllama_st.evaluation.models import size_on_disk
from wordllama_st.static import released
from wordllama_st.static.table import StaticTable

ROUNDS = 7
WORDS_OF_A_QUERY, WORDS_OF_A_TEXT, QUERIES, TEXTS = 8, 100, 3000, 4000


def main() -> None:
    """Write both, and measure them in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=1536, help="D")
    dim = parser.parse_args().dim
    random = np.random.default_rng(0)
    start = StaticEncoder.from_pretrained(released.DEFAULT_MODEL).table
    projection = np.linalg.qr(random.standard_normal((dim, start.dim)))[0].T.astype(np.float32)
    factors = replace(start, weight=start.expanded(), normalize=True, projection=np.ascontiguousarray(projection))
    words = np.array(Path(__file__).with_name("quality.py").read_text(encoding="utf-8").split())
    queries = [" ".join(random.choice(words, WORDS_OF_A_QUERY)) for _ in range(QUERIES)]
    texts = [" ".join(random.choice(words, WORDS_OF_A_TEXT)) for _ in range(TEXTS)]
    with TemporaryDirectory() as scratch:
        paths = {"one table": Path(scratch) / "table", "two factors": Path(scratch) / "factors"}
        tables: dict[str, StaticTable] = {"one table": factors.multiplied(), "two factors": factors}
        for name, path in paths.items():
            StaticEncoder(tables[name]).save_pretrained(path)
        encoders = {name: StaticEncoder.from_pretrained(path) for name, path in paths.items()}
        few, many = (np.abs(np.subtract(*(made.encode(some) for made in encoders.values()))) for some in ("a", texts))
        print(
            f"V = {start.num_tokens:,}, d = {start.dim}, D = {dim:,}; they differ by {max(few.max(), many.max()):.0e}"
        )

        def encode_queries(made: StaticEncoder) -> None:
            for query in queries:
                made.encode(query)

        loading = {name: (lambda path=path: StaticEncoder.from_pretrained(path)) for name, path in paths.items()}
        one_by_one = {name: (lambda made=made: encode_queries(made)) for name, made in encoders.items()}
        same = {name: (lambda made=made: [made.encode(queries[0]) for _ in queries]) for name, made in encoders.items()}
        together = {name: (lambda made=made: made.encode(texts)) for name, made in encoders.items()}
        rows = {
            "load, ms": (loading, 1e3),
            f"a query of {WORDS_OF_A_QUERY} words, µs": (one_by_one, 1e6 / QUERIES),
            "the same query again, µs": (same, 1e6 / QUERIES),
            f"a text of {WORDS_OF_A_TEXT} words of many, µs": (together, 1e6 / TEXTS),
        }
        print(f"{'':36}" + "".join(f"{name:>14}" for name in paths))
        print(f"{'on disk, MB':36}" + "".join(f"{size_on_disk(path) / 1e6:>14.1f}" for path in paths.values()))
        for name, (calls, scale) in rows.items():
            print(f"{name:36}" + "".join(f"{scale * seconds:>14.1f}" for seconds in best_seconds(calls)))


def best_seconds(calls: dict[str, Callable[[], object]]) -> list[float]:
    """Time calls in turn, and return the least seconds of each."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - begin)
    return list(best.values())


if __name__ == "__main__":
    main()

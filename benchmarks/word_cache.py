"""Token ids by the word cache, by a plain dict from word to token ids, and by the tokenizer alone.

    python benchmarks/word_cache.py [--texts 7600] [--rounds 7]

The texts are docstrings of the installed packages, in batches of 1,024; all three give the same ids. Warm: every word
was seen before. Cold: none was. Ratios are taken within a round; their median, least and most are printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import chain, islice
from statistics import median

import numpy as np

from wordllama_st import StaticEncoder
from wordllama_st.data.docstrings import extract_docstrings, installed_packages
from wordllama_st.static.word_cache.tokenizer import Bags, WordTokenizer, plain_bags

BATCH = 1024
MEMORY = 64 * 2**20


def main() -> None:
    """Print the times of each way, and their ratios to the word cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=7600)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    found = (one for folder in installed_packages().values() for one in extract_docstrings(folder, limit=500))
    texts = [f"{one.summary} {one.body}"[:400] for one in islice(found, options.texts)]
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    tokenizer = StaticEncoder.from_pretrained("wordllama-l2-supercat-256").tokenizer
    cache, words = (WordTokenizer.for_tokenizer(tokenizer, MEMORY) for _ in range(2))
    assert cache is not None
    assert words is not None

    def by_dict(batch: list[str]) -> Bags:
        ids = list(map(words.ids, batch))  # a dict's list of ids for each word, put together
        offsets = np.cumsum([0, *map(len, ids)])
        return Bags(np.fromiter(chain.from_iterable(ids), np.int32, offsets[-1]), offsets)

    ways: dict[str, Callable[[list[str]], Bags]] = {
        "word cache": cache.bags,
        "plain dict": by_dict,
        "tokenizer": lambda batch: plain_bags(tokenizer, batch),
    }
    print(f"{len(texts):,} texts, {np.mean(list(map(len, texts))):.0f} characters on average")
    expected: list[Bags] = []
    for title in ("cold", "warm"):
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            if title == "cold":
                cache.clear()
                words.clear()
            for name, way in ways.items():
                start = time.perf_counter()
                found_bags = [way(batch) for batch in batches]
                times[name].append(time.perf_counter() - start)
                if name == "word cache":
                    expected = found_bags
                assert all((a.ids == b.ids).all() for a, b in zip(found_bags, expected, strict=True))
        for name, taken in times.items():
            ratios = [own / cached for own, cached in zip(taken, times["word cache"], strict=True)]
            print(
                f"{title}  {name:<12}{1e3 * median(taken):>8.0f} ms   {median(ratios):.2f}x the word cache's time "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()

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
from wordllama_st.static.word_cache.plain import WORTH_LOADING, Bags, PlainTokenizer
from wordllama_st.static.word_cache.table import WIDTHS, Words
from wordllama_st.static.word_cache.tokenizer import WordTokenizer

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
    plain = PlainTokenizer(tokenizer)
    plain._may_load = False  # gigatoken is a way of its own

    def ways() -> dict[str, Callable[[list[str]], Bags]]:
        """Make each way anew, with no word seen yet."""
        cache = WordTokenizer.for_tokenizer(plain, MEMORY)
        assert cache is not None
        known: dict[str, list[int] | None] = {}

        def by_dict(batch: list[str]) -> Bags:
            pieces = [cache.rules.pieces.findall(cache.rules.prefix + text) for text in batch]
            if new := [piece for piece in dict.fromkeys(chain.from_iterable(pieces)) if piece not in known]:
                encoded = [piece.encode() for piece in new]
                lengths = np.array(list(map(len, encoded)))
                buffer = b"".join([*encoded, bytes(WIDTHS[-1])])
                found = cache._tokenize(Words(buffer, lengths.cumsum() - lengths, lengths))
                for piece, start, count in zip(new, found.starts.tolist(), found.counts.tolist(), strict=True):
                    known[piece] = found.pool[start : start + count].tolist() if count >= 0 else None
            ids = []
            for text, parts in zip(batch, pieces, strict=True):
                known_ids = [known[part] for part in parts]
                whole = None in known_ids  # a piece that counts only together with its neighbours
                ids.append(tokenizer.encode(text).ids if whole else list(chain.from_iterable(known_ids)))
            offsets = np.cumsum([0, *map(len, ids)])
            return Bags(np.fromiter(chain.from_iterable(ids), np.int32, offsets[-1]), offsets)

        with_gigatoken = PlainTokenizer(tokenizer)
        with_gigatoken._characters = WORTH_LOADING
        return {
            "word cache": cache.bags,
            "plain dict": by_dict,
            "tokenizer": plain.bags,
            "gigatoken": with_gigatoken.bags,
        }

    print(f"{len(texts):,} texts, {np.mean(list(map(len, texts))):.0f} characters on average")
    expected = [plain.bags(batch) for batch in batches]
    seen = ways()
    for title in ("cold", "warm"):
        times: dict[str, list[float]] = {name: [] for name in seen}
        for _ in range(options.rounds):
            for name, way in (ways() if title == "cold" else seen).items():
                start = time.perf_counter()
                found_bags = [way(batch) for batch in batches]
                times[name].append(time.perf_counter() - start)
                assert all((a.ids == b.ids).all() for a, b in zip(found_bags, expected, strict=True))
        if title == "cold":
            for way in seen.values():
                for batch in batches * 2:
                    way(batch)
        for name, taken in times.items():
            ratios = [own / cached for own, cached in zip(taken, times["word cache"], strict=True)]
            print(
                f"{title}  {name:<12}{1e3 * median(taken):>8.0f} ms   {median(ratios):.2f}x the word cache's time "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()

"""Compare token ids with those of tokenizers on generated texts, for every kind of tokenizer.

    python tests/static/word_cache/fuzzing.py 1000000 [SEED]

The number is of texts for each family of tokenizers, shared among its kinds. Texts are of all of Unicode, runs of
spaces, controls, added tokens, words of several scripts, and now and then one of a megabyte. The look-up is compared as
it is compiled, and gigatoken where it takes the tokenizer on. Ends with 1 at the first difference.
"""

from __future__ import annotations

import random
import sys
import time
import unicodedata
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tokenizer_kinds import KINDS
from tokenizers import Tokenizer

from wordllama_st.static.word_cache import plain
from wordllama_st.static.word_cache.tokenizer import WordTokenizer

BATCH, LONG_EVERY, LONG = 2000, 100, 2**20
ALPHABETS = [
    "abcdefghij ", "ABCDEF abc 123 ", "äöüßéñ çà", "0123456789.,", "!?.,;:'\"()[]{}-_/\\ ", "的一是了我不人在 ",
    "あいうえおか ", "אבגדהו ", "нопрст ", "   \t\n\r", "\u200b\u200d\ufeff\u00a0\u3000\u2028 \x00\x01\x7f",
    "\u0301\u0300e\u0345 ", "\u0600\u06dd 1", "\U0001f469\u200d\U0001f52c\U0001f1e9\U0001f1ea ", "▁Ġ<>|s/ ",
]  # fmt: skip
WORDS = ["the", "of", "don't", "I'm", "We'll", "quick", "fox", "dog", "LaZy", "http://a.b/c?d=1", "1,234", "Größe", ""]
CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
ASSIGNED = [character for character in CHARACTERS if unicodedata.category(character) not in ("Cn", "Co")]


def generate(tokenizer: Tokenizer, generator: random.Random) -> Iterator[str]:
    """Yield texts without end."""
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()] or [""]
    while True:
        parts = []
        for _ in range(generator.randint(1, 8)):
            count = generator.randint(1, 12)
            parts.append(
                generator.choice(
                    [
                        "".join(generator.choices(generator.choice(ALPHABETS), k=count)),
                        "".join(generator.choices(ASSIGNED, k=count)),
                        "".join(generator.choices(CHARACTERS, k=count)),
                        " " * count,
                        generator.choice(added),
                        " ".join(generator.choices(WORDS, k=count)),
                    ]
                )
            )
        yield generator.choice(["", " "]).join(parts)


def compare(kind: str, count: int, generator: random.Random) -> None:
    """Compare some texts; SystemExit names the first that has other ids."""
    tokenizer = KINDS[kind]()
    words = WordTokenizer.for_tokenizer(plain.PlainTokenizer(tokenizer), 2**24)
    assert words is not None
    ways = {"the look-up": words.bags}
    if plain.load_gigatoken(tokenizer) is not None:
        ways["gigatoken"] = plain.PlainTokenizer(tokenizer)._bags_by_gigatoken
    texts, done, start = generate(tokenizer, generator), 0, time.perf_counter()
    for number in range(-(-count // BATCH)):
        batch = [next(texts) for _ in range(BATCH)]
        if number % LONG_EVERY == 0:
            batch.append("".join(batch * (LONG // sum(map(len, batch)) + 1))[:LONG])
        expected = [found.ids for found in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
        for name, way in ways.items():
            bags = way(batch)
            if bags.ids.tolist() != list(chain.from_iterable(expected)):
                ends = bags.offsets.tolist()
                for text, ids, begin, end in zip(batch, expected, ends, ends[1:], strict=False):
                    if bags.ids[begin:end].tolist() != ids:
                        sys.exit(f"{kind}: {name} differs on {text!r}: {bags.ids[begin:end].tolist()}, not {ids}")
        done += len(batch)
    seconds = time.perf_counter() - start
    print(f"{kind:<28}{done:>10,} texts alike by {' and '.join(ways)}; {seconds:.0f} s", flush=True)


def family(kind: str) -> str:
    """Name the family of a kind of tokenizer."""
    tokenizer = KINDS[kind]()
    model = type(tokenizer.model).__name__
    return f"byte-level {model}" if "ByteLevel" in str(tokenizer.pre_tokenizer) else model


def main() -> None:
    """Compare every kind."""
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    print(f"seed {seed}")
    for name, kinds in groupby(sorted(KINDS, key=family), family):
        chosen = list(kinds)
        print(f"{name}:", flush=True)
        for kind in chosen:
            compare(kind, -(-count // len(chosen)), random.Random(seed))


if __name__ == "__main__":
    main()

"""Encoding beside wordllama, model2vec and the stock SentenceTransformer: the same texts, table and tokenizer.

    python benchmarks/encoding.py [--texts FILE.csv] [--similarity FILE.tsv ...] [--plot FILE.png]

Every round runs all of them in turn, so that a machine that changes its mind does so for all. Ratios are taken within a
round, and their median, least and most are printed. Texts are the docstrings of the installed packages, or a CSV's
columns behind the first, put together. With files of scored pairs (score, sentence, sentence), small tables are scored
by them as well. All have one thread, but where another number is given.
"""

from __future__ import annotations

import argparse
import copy
import csv
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

# Everybody has one thread. Left to itself, tokenizers would take all cores, for those who call it for whole batches.
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}

import numpy as np

from wordllama_st import StaticEncoder
from wordllama_st.static.similarity import normalized

MODEL = "wordllama-l2-supercat-256"
OURS = "wordllama-st"
ROUNDS = 5
QUERIES, QUERY_CHARACTERS = 1000, 60
LETTERS = "abcdefghijklmnopqrstuvwxyz"

Encode = Callable[[list[str]], Any]


def read_texts(path: Path | None) -> list[str]:
    """Texts of a CSV without a header, or docstrings."""
    if path is not None:
        with path.open(newline="", encoding="utf-8") as file:
            return [" ".join(row[1:]) for row in csv.reader(file)]
    from wordllama_st.data.docstrings import extract_docstrings, installed_packages

    found = (doc for package in installed_packages().values() for doc in extract_docstrings(package, limit=500))
    return [f"{doc.summary} {doc.body}"[:400] for doc in islice(found, 7600)]


def peers() -> dict[str, Encode]:
    """The others, warm, over our table."""
    from model2vec import StaticModel
    from sentence_transformers import SentenceTransformer

    from wordllama_st.modules.stock import static_modules

    encoder = StaticEncoder.from_pretrained(MODEL)
    static = StaticModel(encoder.table.expanded(), copy.deepcopy(encoder.tokenizer), max_length=None)
    stock = SentenceTransformer(modules=static_modules(encoder.table), device="cpu")
    toolkit = encoder.to_wordllama()
    return {
        "wordllama": toolkit.embed,
        "model2vec": static.encode,
        "sentence-transformers, batches of 32": lambda texts: stock.encode(texts, show_progress_bar=False),
        "sentence-transformers, batches of 1,024": lambda texts: stock.encode(
            texts, batch_size=1024, show_progress_bar=False
        ),
    }


def made_up(count: int, words: int, generator: random.Random) -> list[str]:
    """Texts of words that never were."""
    return [
        " ".join("".join(generator.choices(LETTERS, k=generator.randint(3, 9))) for _ in range(words))
        for _ in range(count)
    ]


def seconds(function: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def rounds(tasks: dict[str, Callable[[], Callable[[], object]]]) -> dict[str, list[float]]:
    """Every task in every round, each prepared before its time is taken."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, prepare in tasks.items():
            times[name].append(seconds(prepare()))
    return times


def report(title: str, times: dict[str, list[float]], count: int, unit: str) -> None:
    """A table of throughputs, and of how many times longer than ours the others take."""
    print(f"\n{title}\n{'':42}{unit + '/s':>14}{'ours is faster by (least-most)':>34}")
    for name, own in times.items():
        line = f"  {name:40}{count / median(own):>14,.0f}"
        for ours in (other for other in times if other.startswith(OURS)):
            if not name.startswith(OURS):
                ratios = [theirs / mine for theirs, mine in zip(own, times[ours], strict=True)]
                label = ours.removeprefix(OURS).strip(", ")
                line += f"{label:>12} {median(ratios):>6.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
        print(line)


def batches(texts: list[str], others: dict[str, Encode]) -> dict[str, float]:
    """All texts at once, by an encoder that has seen them, and by one that has seen nothing."""
    warm, first = StaticEncoder.from_pretrained(MODEL), StaticEncoder.from_pretrained(MODEL)
    warm.encode(texts)

    def fresh() -> Callable[[], object]:
        encoder = StaticEncoder(first.table)
        return lambda: encoder.encode(texts)

    tasks = {name: partial(partial, encode, texts) for name, encode in {f"{OURS}, warm": warm.encode, **others}.items()}
    times = rounds({**tasks, f"{OURS}, first": fresh})
    report(f"{len(texts):,} texts of {np.mean([len(t) for t in texts]):.0f} characters", times, len(texts), "texts")
    speed_up = of_threads(warm, lambda: 10 * texts)
    print(f"  {OURS} with num_threads=None, ten times as many texts: {speed_up} its speed with one")
    return {name: len(texts) / median(own) for name, own in times.items()}


def of_threads(encoder: StaticEncoder, texts: Callable[[], list[str]]) -> str:
    """How many times faster all cores are than one."""
    counts = (1, None)
    times = rounds({str(n): lambda n=n: partial(encoder.encode, texts(), num_threads=n) for n in counts})  # type: ignore[misc]
    ratios = [one / all_ for one, all_ in zip(*times.values(), strict=True)]
    return f"{median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"


def all_new(others: dict[str, Encode]) -> None:
    """A stream in which every word is new."""
    generator = random.Random(0)
    encoder = StaticEncoder.from_pretrained(MODEL)
    for _ in range(3):  # from two million characters on, gigatoken tokenizes, if it is installed
        encoder.encode(made_up(3000, 40, generator))
    times: dict[str, list[float]] = {name: [] for name in (OURS, *others)}
    for _ in range(ROUNDS):
        texts = made_up(3000, 40, generator)
        for name, encode in {OURS: encoder.encode, **others}.items():
            times[name].append(seconds(partial(encode, texts)))
    report("3,000 texts of 40 words that nobody has seen before", times, 3000, "texts")
    speed_up = of_threads(encoder, lambda: made_up(12_000, 40, generator))
    print(f"  {OURS} with num_threads=None, four times as many texts: {speed_up} its speed with one")


def few_new(texts: list[str], others: dict[str, Encode]) -> None:
    """A stream of small batches, in each of which one word is new."""
    generator = random.Random(2)
    encoder = StaticEncoder.from_pretrained(MODEL)
    encoder.encode(texts)
    encoder.encode(made_up(6000, 40, generator))  # from then on, gigatoken tokenizes, if it is installed

    def stream(encode: Encode) -> Callable[[], object]:
        batches = [[*texts[at : at + 63], *made_up(1, 1, generator)] for at in range(0, len(texts), 63)]
        return lambda: list(map(encode, batches))

    times = rounds({name: partial(stream, encode) for name, encode in {OURS: encoder.encode, **others}.items()})
    report(
        "The same texts in batches of 64, one of which is a word that nobody has seen before",
        times,
        len(texts),
        "texts",
    )


def families(texts: list[str]) -> None:
    """Tables over tokenizers of each family, trained on the texts, beside model2vec: warm, first and all words new."""
    from model2vec import StaticModel
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    from wordllama_st.static.table import StaticTable

    llama3 = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = pre_tokenizers.Split(Regex(llama3), "isolated")
    byte_level = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    made: dict[str, tuple[Any, Any, Any, Any]] = {
        "byte-level BPE (Llama 3's pattern)": (models.BPE(), None, byte_level, trainers.BpeTrainer),
        "WordPiece (BERT)": (
            models.WordPiece(unk_token="[UNK]"), normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(),
            trainers.WordPieceTrainer,
        ),
        "Unigram (T5)": (
            models.Unigram(), normalizers.NFKC(), pre_tokenizers.Metaspace(), trainers.UnigramTrainer,
        ),
    }  # fmt: skip
    unknown = {trainers.WordPieceTrainer: "[UNK]", trainers.UnigramTrainer: "<unk>"}
    tokenizers = {"SentencePiece BPE (Llama 2)": StaticEncoder.from_pretrained(MODEL).tokenizer}
    for name, (model, normalizer, pre_tokenizer, trainer) in made.items():
        tokenizer = Tokenizer(model)
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
        options: dict[str, Any] = {"vocab_size": 30_000, "show_progress": False}
        if trainer in unknown:
            options["special_tokens"] = [unknown[trainer]]
        if trainer is trainers.UnigramTrainer:
            options["unk_token"] = unknown[trainer]
        if trainer is trainers.BpeTrainer:
            options["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(texts, trainer(**options))
        tokenizers[name] = tokenizer
    print(f"\n{'Faster than model2vec, by family of tokenizer':<46}{'warm':>22}{'first batch':>22}{'new words':>22}")
    generator = random.Random(1)
    for name, tokenizer in tokenizers.items():
        size = tokenizer.get_vocab_size()
        weight = np.random.default_rng(0).standard_normal((size, 256)).astype(np.float32)
        static = StaticModel(weight, copy.deepcopy(tokenizer), max_length=None)
        warm = StaticEncoder(StaticTable(weight, tokenizer))
        for _ in range(2):
            warm.encode(texts)
        strange = StaticEncoder(StaticTable(weight, tokenizer))
        for _ in range(3):
            strange.encode(made_up(3000, 40, generator))
        cells = []
        for kind in ("warm", "first", "new"):
            ratios = []
            for _ in range(ROUNDS):
                given = made_up(3000, 40, generator) if kind == "new" else texts
                first = StaticEncoder(StaticTable(weight, tokenizer))
                ours = {"warm": warm, "first": first, "new": strange}[kind]
                mine = seconds(partial(ours.encode, given))
                ratios.append(seconds(partial(static.encode, given)) / mine)
            cells.append(f"{median(ratios):>8.2f}x ({min(ratios):.2f}-{max(ratios):.2f})")
        print(f"  {name:<44}" + "".join(f"{cell:>22}" for cell in cells))


def limit(texts: list[str]) -> None:
    """What reading the rows alone takes at the speed at which the machine reads memory."""
    encoder = StaticEncoder.from_pretrained(MODEL)
    encoder.encode(texts)
    tokens = sum(len(encoding.ids) for encoding in encoder.tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    size = tokens * encoder.dim * 4
    memory = np.ones(2**26, np.float32)
    bandwidth = memory.nbytes / min(seconds(memory.sum) for _ in range(7))
    took = median(seconds(partial(encoder.encode, texts)) for _ in range(ROUNDS))
    print(
        f"\nLimit: {size / 1e6:.0f} MB of rows at {bandwidth / 1e9:.1f} GB/s of this core's memory are "
        f"{1e3 * size / bandwidth:.0f} ms; encoding took {1e3 * took:.0f} ms, and the rows are in its cache"
    )


def queries(texts: list[str], others: dict[str, Encode]) -> None:
    """One text at a time."""
    cut = [text[:QUERY_CHARACTERS] for text in texts[:QUERIES]]
    encoder = StaticEncoder.from_pretrained(MODEL)
    encoder.encode(texts)
    single: dict[str, Callable[[str], object]] = {OURS: encoder.encode, **others}  # type: ignore[dict-item]

    def one_by_one(encode: Callable[[str], object]) -> None:
        for query in cut:
            encode(query)

    tasks = {
        name.split(",")[0]: partial(partial, one_by_one, encode)
        for name, encode in single.items()
        if "1,024" not in name
    }
    for prepare in tasks.values():
        prepare()()  # words are learned, caches filled
    times = rounds(tasks)
    report(f"One query of {QUERY_CHARACTERS} characters at a time", times, len(cut), "queries")
    for name, own in times.items():
        print(f"  {name:40}{median(own) / len(cut) * 1e6:>14.1f} µs")


def documents(texts: list[str], others: dict[str, Encode]) -> None:
    """A megabyte of text in one piece."""
    document = "\n".join(islice(cycle(texts), 2**20 // max(1, int(np.mean([len(t) for t in texts])))))[: 2**20]
    encoder = StaticEncoder.from_pretrained(MODEL)
    encoder.encode(document)
    tasks = {name: partial(partial, encode, [document]) for name, encode in {OURS: encoder.encode, **others}.items()}
    report("A text of 1 MB", rounds(tasks), 1, "texts")


FIRST_VECTOR = {
    OURS: "from wordllama_st import StaticEncoder; e = StaticEncoder.from_pretrained({model!r}); e.encode('a query')",
    "wordllama": "from wordllama.inference import WordLlamaInference; from safetensors.numpy import load_file; "
    "from tokenizers import Tokenizer; e = WordLlamaInference(load_file({weights!r})['embedding.weight'], "
    "Tokenizer.from_file({tokenizer!r})); e.embed('a query')",
    "model2vec": "from model2vec import StaticModel; e = StaticModel.from_pretrained({model2vec!r}); "
    "e.encode('a query')",
    "sentence-transformers": "from sentence_transformers import SentenceTransformer; "
    "e = SentenceTransformer({stock!r}); e.encode('a query')",
}


def first_vectors() -> None:
    """Import, load, first vector, each in a process of its own."""
    from wordllama_st.static.released import fetch

    files = fetch(MODEL)
    encoder = StaticEncoder.from_pretrained(MODEL)
    with TemporaryDirectory() as scratch:
        places = {
            "model": MODEL, "weights": str(files.weights), "tokenizer": str(files.tokenizer),
            "model2vec": f"{scratch}/model2vec", "stock": f"{scratch}/stock",
        }  # fmt: skip
        encoder.save_pretrained(places["model2vec"], format="model2vec")
        encoder.save_pretrained(places["stock"])
        times: dict[str, list[float]] = {name: [] for name in FIRST_VECTOR}
        memory: dict[str, list[float]] = {name: [] for name in FIRST_VECTOR}
        for number in range(ROUNDS + 1):
            for name, code in FIRST_VECTOR.items():
                script = (
                    f"import time; start = time.perf_counter(); {code.format(**places)}; "
                    "status = dict(line.split(':') for line in open('/proc/self/status')); "
                    "print(time.perf_counter() - start, int(status['VmHWM'].split()[0]) / 1e3)"
                )
                output = subprocess.run(
                    [sys.executable, "-c", script], check=True, capture_output=True, text=True
                ).stdout.split()
                if number:  # the first round fills the disk's cache
                    times[name].append(float(output[0]))
                    memory[name].append(float(output[1]))
    print(
        f"\nImport, load, first vector, in a process of its own\n"
        f"{'':42}{'seconds':>14}{'ratio to ours':>24}{'peak memory':>16}"
    )
    for name in FIRST_VECTOR:
        ratios = [theirs / ours for theirs, ours in zip(times[name], times[OURS], strict=True)]
        spread = f"{median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
        print(f"  {name:40}{median(times[name]):>14.2f}{spread:>24}{median(memory[name]):>13,.0f} MB")


def flatness(texts: list[str]) -> None:
    """The cost of a text where there are ten thousand of them, and where there are a million."""
    encoder = StaticEncoder.from_pretrained(MODEL, truncate_dim=64)  # a million vectors are to fit into memory
    few, many = (list(islice(cycle(texts), count)) for count in (10_000, 1_000_000))
    encoder.encode(few)
    ratios = []
    for _ in range(3):
        before = [seconds(partial(encoder.encode, few)) for _ in range(5)]
        long = seconds(partial(encoder.encode, many))
        after = [seconds(partial(encoder.encode, few)) for _ in range(5)]
        ratios.append(long / len(many) / (median(before + after) / len(few)))
    spread = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    print(f"\nCost of a text among 1,000,000, beside that among 10,000: {spread}")


def small_tables(texts: list[str], scored: Sequence[Path]) -> None:
    """What float16 and int8 lose."""
    from scipy.stats import spearmanr

    whole = StaticEncoder.from_pretrained(MODEL)
    pairs = {path.stem: _read_pairs(path) for path in scored}
    generator = np.random.default_rng(0)
    left, right = generator.integers(0, len(texts), (2, 20_000))

    def cosines(encoder: StaticEncoder, first: list[str], second: list[str]) -> Any:
        return (normalized(encoder.encode(first)) * normalized(encoder.encode(second))).sum(axis=1)

    reference = cosines(whole, [texts[i] for i in left], [texts[i] for i in right])
    print(
        f"\nSmall tables: Spearman correlation x 100\n{'':12}{'table':>10}{'time':>8}{'with float32':>15}"
        + "".join(f"{n:>14}" for n in pairs)
    )
    base = None
    for dtype in ("float32", "float16", "int8"):
        encoder = StaticEncoder(whole.table, dtype=dtype)
        encoder.encode(texts)
        took = median(seconds(partial(encoder.encode, texts)) for _ in range(ROUNDS))
        base = base or took
        own = cosines(encoder, [texts[i] for i in left], [texts[i] for i in right])
        size = encoder.table.weight.nbytes if dtype != "float32" else encoder._batch_table.weight.nbytes
        line = (
            f"  {dtype:10}{size / 1e6:>7.1f} MB{took / base:>7.2f}x{100 * spearmanr(reference, own).statistic:>15.3f}"
        )
        for scores, first, second in pairs.values():
            line += f"{100 * spearmanr(scores, cosines(encoder, first, second)).statistic:>14.2f}"
        print(line)


def _read_pairs(path: Path) -> tuple[list[float], list[str], list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    scores, first, second = zip(*(line.split("\t") for line in lines), strict=True)
    return list(map(float, scores)), list(first), list(second)


def plot(speeds: dict[str, float], path: Path) -> None:
    """The throughput of all, log scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = sorted(speeds, key=speeds.__getitem__)
    colors = ["#c2410c" if name.startswith(OURS) else "#94a3b8" for name in names]
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    bars = axes.barh(names, [speeds[name] for name in names], color=colors)
    axes.bar_label(bars, [f"{speeds[name]:,.0f}" for name in names], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(min(speeds.values()) / 2, max(speeds.values()) * 3)
    axes.set_xlabel("texts per second (log scale)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--texts", type=Path, metavar="FILE.csv")
    parser.add_argument("--similarity", type=Path, nargs="+", default=[], metavar="FILE.tsv")
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    options = parser.parse_args()
    texts = read_texts(options.texts)
    others = peers()
    logging.disable(logging.INFO)  # importing wordllama turns it on for everybody, and progress bars with it
    speeds = batches(texts, others)
    queries(texts, others)
    all_new(others)
    few_new(texts, others)
    families(texts)
    limit(texts)
    documents(texts, others)
    first_vectors()
    small_tables(texts, options.similarity)
    flatness(texts)
    if options.plot:
        plot(speeds, options.plot)


if __name__ == "__main__":
    main()

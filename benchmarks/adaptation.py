"""Time and memory of ``adapt``, or of ``distill``, by the number of documents, each in a process of its own.

    python benchmarks/adaptation.py --documents 25000
    python benchmarks/adaptation.py --documents 10000 100000 1000000 --epochs 1
    python benchmarks/adaptation.py --recipe distill --words 5 15 --documents 1000000 10000000 --epochs 0.02

Documents are drawn from the words of NumPy's docstrings, 20 to 100 words each unless --words says otherwise, and their
vectors, of 384 dimensions, are random projections of the static embeddings of the first 100,000, over and over: neither
time nor memory depends on what they mean. Memory is what no file backs; mapped files come on top, in resident memory,
and give way where memory is short. ``distill`` reads Parquet files of 100,000 rows, with the vectors in float16, and
trains every row of the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from memory import watch_peak

VECTOR_DIM = 384
MODEL = "wordllama-l2-supercat-256"
ROWS = 100_000


def make_documents(count: int, words: tuple[int, int]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Make documents of a number of words, and their vectors, 100,000 at a time."""
    from wordllama_st import StaticEncoder
    from wordllama_st.data.docstrings import extract_docstrings, installed_packages

    bodies = [found.body for found in extract_docstrings(installed_packages()["numpy"], limit=2000)]
    known = np.array(" ".join(bodies).split(), object)
    random = np.random.default_rng(0)
    encoder = StaticEncoder.from_pretrained(MODEL)
    projection = random.normal(size=(encoder.dim, VECTOR_DIM)).astype(np.float32)
    vectors = np.empty((0, VECTOR_DIM), np.float16)
    for start in range(0, count, ROWS):
        ends = random.integers(words[0], words[1] + 1, min(ROWS, count - start)).cumsum().tolist()
        drawn = known[random.integers(0, len(known), ends[-1])].tolist()
        texts = [" ".join(drawn[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]
        if not len(vectors):
            vectors = (encoder.encode(texts, normalize_embeddings=True) @ projection).astype(np.float16)
        yield texts, vectors[: len(texts)]


def make_index(directory: Path, documents: int, words: tuple[int, int]) -> None:
    """Write texts.txt and vectors.npy."""
    vectors = np.lib.format.open_memmap(directory / "vectors.npy", "w+", np.float16, (documents, VECTOR_DIM))
    start = 0
    with (directory / "texts.txt").open("w", encoding="utf-8") as file:
        for texts, some in make_documents(documents, words):
            vectors[start : start + len(texts)] = some
            start += len(texts)
            file.writelines(text + "\n" for text in texts)


def make_embedded(directory: Path, documents: int, words: tuple[int, int]) -> None:
    """Write Parquet files with the columns text and embedding."""
    for number, (texts, vectors) in enumerate(make_documents(documents, words)):
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), VECTOR_DIM)
        pq.write_table(
            pa.table({"text": texts, "embedding": lists}),
            directory / f"part-{number:05}.parquet",
            compression="none",
            use_dictionary=False,
            row_group_size=2**14,
        )


def run(recipe: str, directory: Path, epochs: float) -> None:
    """Run a recipe, and print seconds and bytes."""
    from wordllama_st import adapt, distill

    with watch_peak(0.05) as peak:
        if recipe == "distill":
            seconds = distill(MODEL, [directory], every_row=True, epochs=epochs).report.seconds
        else:
            vectors = directory / "vectors.npy"
            seconds = adapt(MODEL, directory / "texts.txt", vectors=vectors, epochs=epochs).report.seconds
    print(json.dumps({"seconds": seconds, "peak": peak.anonymous, "resident": peak.resident}))


def main() -> None:
    """Make documents of each number, and run the recipe on them in a new process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[25_000])
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--recipe", choices=("adapt", "distill"), default="adapt")
    parser.add_argument("--words", type=int, nargs=2, default=(20, 100), metavar=("LEAST", "MOST"))
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.directory:
        run(options.recipe, options.directory, options.epochs)
        return
    print(
        f"{'documents':>10} {'epochs':>7} {'in all':>9} {'training':>9} {'ms a document':>14} {'peak memory':>12} "
        f"{'resident':>9}"
    )
    for documents in options.documents:
        with tempfile.TemporaryDirectory() as directory:
            make = make_embedded if options.recipe == "distill" else make_index
            make(Path(directory), documents, tuple(options.words))
            chosen = ["--recipe", options.recipe, "--epochs", str(options.epochs), "--directory", directory]
            command = [sys.executable, __file__, *chosen]
            start = time.perf_counter()
            found = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
            seconds = time.perf_counter() - start
        print(
            f"{documents:>10,} {options.epochs:>7g} {seconds:>7.0f} s {found['seconds']:>7.0f} s "
            f"{1000 * seconds / documents:>14.2f} {found['peak'] / 1e9:>9.2f} GB {found['resident'] / 1e9:>6.2f} GB",
            flush=True,
        )


if __name__ == "__main__":
    main()

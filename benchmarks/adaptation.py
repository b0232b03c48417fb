"""Time and memory of ``adapt`` by the number of documents, each in a process of its own.

    python benchmarks/adaptation.py --documents 25000
    python benchmarks/adaptation.py --documents 10000 100000 1000000 --epochs 1

Documents are drawn from the words of NumPy's docstrings, 20 to 100 words each, and their vectors, of 384 dimensions,
are random projections of their static embeddings: neither time nor memory depends on what they mean. Memory is what no
file backs; mapped files come on top, and give way where memory is short.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from memory import watch_peak

VECTOR_DIM = 384


def make_index(directory: Path, documents: int) -> None:
    """Write texts.txt and vectors.npy."""
    from wordllama_st import StaticEncoder
    from wordllama_st.data.docstrings import extract_docstrings, installed_packages

    bodies = [found.body for found in extract_docstrings(installed_packages()["numpy"], limit=2000)]
    words = np.array(" ".join(bodies).split())
    random = np.random.default_rng(0)
    encoder = StaticEncoder.from_pretrained("wordllama-l2-supercat-256")
    projection = random.normal(size=(encoder.dim, VECTOR_DIM)).astype(np.float32)
    shape = (documents, VECTOR_DIM)
    vectors = np.lib.format.open_memmap(directory / "vectors.npy", "w+", np.float16, shape)
    with (directory / "texts.txt").open("w", encoding="utf-8") as file:
        for start in range(0, documents, 10_000):
            count = min(10_000, documents - start)
            texts = [" ".join(random.choice(words, random.integers(20, 101))) for _ in range(count)]
            vectors[start : start + count] = encoder.encode(texts, normalize_embeddings=True) @ projection
            file.writelines(text + "\n" for text in texts)


def adapt(directory: Path, epochs: float) -> None:
    """Adapt the default table to the index, and print seconds and bytes."""
    from wordllama_st import adapt

    with watch_peak(0.05) as peak:
        report = adapt(
            "wordllama-l2-supercat-256", directory / "texts.txt", vectors=directory / "vectors.npy", epochs=epochs
        ).report
    print(json.dumps({"seconds": report.seconds, "peak": peak.anonymous}))


def main() -> None:
    """Make an index of each size, and adapt to it in a new process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[25_000])
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.directory:
        adapt(options.directory, options.epochs)
        return
    print(f"{'documents':>10} {'epochs':>7} {'in all':>9} {'training':>9} {'ms a document':>14} {'peak memory':>12}")
    for documents in options.documents:
        with tempfile.TemporaryDirectory() as directory:
            make_index(Path(directory), documents)
            command = [sys.executable, __file__, "--epochs", str(options.epochs), "--directory", directory]
            start = time.perf_counter()
            found = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
            seconds = time.perf_counter() - start
        print(
            f"{documents:>10,} {options.epochs:>7g} {seconds:>7.0f} s {found['seconds']:>7.0f} s "
            f"{1000 * seconds / documents:>14.2f} {found['peak'] / 1e9:>9.2f} GB",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Baking: time and memory, for the embedded table and for one of a large model's size.

    python benchmarks/baking.py

The large table is synthetic, 128,256 x 4,096 bfloat16 (1 GB), written to a temporary directory as a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from memory import anonymous, watch_peak

from wordllama_st import Codebook, bake, build_model
from wordllama_st.static import released
from wordllama_st.storage.safetensors_file import write_tensor
from wordllama_st.storage.tokenizer import load_tokenizer

LARGE = (128_256, 4_096)
LARGE_DIM = 1_024


def write_large_checkpoint(directory: Path) -> None:
    """A checkpoint whose table is Gaussian noise, streamed to disk."""

    def chunks() -> Iterator[memoryview]:
        generator = np.random.default_rng(0)
        for _ in range(0, LARGE[0], 1_002):
            rows = generator.standard_normal((1_002, LARGE[1]), dtype=np.float32)
            yield np.ascontiguousarray((rows.view(np.uint32) >> 16).astype(np.uint16)).data.cast("B")

    write_tensor(directory / "model.safetensors", "table", "bfloat16", LARGE, chunks())
    load_tokenizer(released.fetch(released.DEFAULT_MODEL).tokenizer).save(str(directory / "tokenizer.json"))


def measure(what: str, work: Callable[[], object]) -> None:
    """Print how long a piece of work takes and what memory it needs at its peak, mapped files not counted."""
    before, start = anonymous(), time.perf_counter()
    with watch_peak() as peak:
        work()
    seconds = time.perf_counter() - start
    print(f"{what:58}{seconds:>8.1f} s{(peak.anonymous - before) / 2**30:>8.2f} GB")


def main() -> None:
    """Measure both."""
    print(f"{'':58}{'time':>10}{'memory':>11}")
    with TemporaryDirectory() as scratch:
        directory = Path(scratch)
        model = build_model(Codebook.from_pretrained(released.DEFAULT_MODEL))
        measure("bake 32,000 x 256 → 256", lambda: bake(model, directory / "small"))

        checkpoint = directory / "checkpoint"
        checkpoint.mkdir()
        write_large_checkpoint(checkpoint)
        shape = f"{LARGE[0]:,} x {LARGE[1]:,}"
        measure(
            f"extract {shape}",
            lambda: Codebook.from_pretrained(checkpoint, tensor_name="table").save(directory / "codebook"),
        )
        codebook = Codebook.load(directory / "codebook")
        measure(f"principal components of {shape}", lambda: build_model(codebook, LARGE_DIM))
        large = build_model(codebook, LARGE_DIM, "random")
        measure(f"bake {shape} → {LARGE_DIM:,}", lambda: bake(large, directory / "large"))


if __name__ == "__main__":
    main()

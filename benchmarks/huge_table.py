"""A table of the largest kind: 128,256 x 28,672 in float16, 7.4 GB, which nothing may hold in memory.

    python benchmarks/huge_table.py [DIRECTORY]

The table is made of two halves, as checkpoints, in DIRECTORY (temporary by default; 30 GB of room are needed). Each
step runs in a process of its own; memory is what it allocates, mapped files not counted, above what it had when its
imports were done. Copying with cp is measured before and after, since disks and caches change their mind.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from memory import anonymous, watch_peak
from tokenizers import Tokenizer, models, pre_tokenizers

from wordllama_st import Codebook
from wordllama_st.storage.safetensors_file import write_tensor

ROWS, COLUMNS = 128_256, 28_672
BATCH, TOKENS = 256, 64


def write_half(directory: Path, columns: int, seed: int) -> None:
    """A checkpoint with a table of noise, which no file system compresses."""

    def chunks() -> Iterator[memoryview]:
        generator = np.random.default_rng(seed)
        for _ in range(0, ROWS, 501):
            rows = generator.integers(0, 2**16, (501, columns), dtype=np.uint16) & 0xB7FF  # finite float16
            yield rows.data.cast("B")

    directory.mkdir(parents=True, exist_ok=True)
    write_tensor(directory / "model.safetensors", "table", "float16", (ROWS, columns), chunks())
    tokenizer = Tokenizer(models.WordLevel({f"w{token_id}": token_id for token_id in range(ROWS)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(directory / "tokenizer.json"))


def _open(checkpoint: Path) -> Codebook:
    """As `wordllama-st extract` does: saving is the pass that checks and hashes too."""
    return Codebook.from_pretrained(checkpoint, tensor_name="table", check=False)


def extract(directory: Path) -> None:
    """One half, from a checkpoint."""
    _open(directory / "a").save(directory / "one", overwrite=True)


def join(directory: Path) -> None:
    """Both halves, from the checkpoints to one codebook."""
    Codebook.concat([_open(directory / name) for name in ("a", "b")]).save(directory / "joined", overwrite=True)


def train(directory: Path) -> None:
    """A training step: 256 pairs of texts of 64 tokens, projected to 256 dims."""
    import torch
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from wordllama_st import build_model

    model = build_model(Codebook.load(directory / "joined"), 256, "random")
    loss = MultipleNegativesRankingLoss(model)
    generator = np.random.default_rng(0)
    features = [
        model.preprocess([" ".join(f"w{i}" for i in generator.integers(0, ROWS, TOKENS)) for _ in range(BATCH)])
        for _ in range(2)
    ]
    optimizer = torch.optim.AdamW(model.parameters())
    loss(features, None).backward()
    optimizer.step()


STEPS: dict[str, Callable[[Path], None]] = {"extract": extract, "join": join, "train": train}


def run_step(name: str, directory: Path) -> None:
    """Do one step in this process and print its time and memory."""
    if name == "train":
        import sentence_transformers  # noqa: F401  (what imports take is not the step's)

        import wordllama_st.training.build  # noqa: F401
    before, start = anonymous(), time.perf_counter()
    with watch_peak() as peak:
        STEPS[name](directory)
    print(time.perf_counter() - start, (peak.anonymous - before) / 1e6)


def copy_seconds(directory: Path, source: Path) -> float:
    """How long cp takes for a file."""
    start = time.perf_counter()
    subprocess.run(["cp", source, directory / "copy"], check=True)
    seconds = time.perf_counter() - start
    (directory / "copy").unlink()
    return seconds


def main(directory: Path) -> None:
    """Measure every step."""
    for name, seed in {"a": 0, "b": 1}.items():
        write_half(directory / name, COLUMNS // 2, seed)
    print(f"{'':80}{'time':>9}{'cp of the result':>24}{'memory':>11}")
    for name, result in {"extract": "one", "join": "joined", "train": None}.items():
        output = subprocess.run(
            [sys.executable, __file__, str(directory), name], check=True, capture_output=True, text=True
        ).stdout
        seconds, megabytes = map(float, output.split())
        copied = ""
        if result is not None:
            copies = [copy_seconds(directory, directory / result / "codebook.safetensors") for _ in range(2)]
            copied = f"{copies[0]:.1f} and {copies[1]:.1f} s"
        what = f"{name}: {(STEPS[name].__doc__ or '').split('.')[0]}"
        print(f"{what:80}{seconds:>7.1f} s{copied:>24}{megabytes:>8,.0f} MB")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        run_step(sys.argv[2], Path(sys.argv[1]))
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as scratch:
            main(Path(scratch))

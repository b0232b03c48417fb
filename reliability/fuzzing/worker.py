"""Feed inputs to one target in this process, which ends at the first input that is neither read nor refused."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from damage import CANARY, damage
from guards import Guards
from target import Target
from targets import MODULES

#: What is instrumented, so that atheris sees which lines an input reaches: this package, and the parsers below it.
INSTRUMENTED = ["wordllama_st", "bs4", "html", "markdown_it", "pypdf", "gguf"]
#: How often a good file is damaged and not an input of the corpus, most of which are refused.
FROM_GOOD = 0.3
#: Inputs of each target, however few the seconds are.
LEAST = 10
#: The worker's exit status at a failure, and the numbers of its counts.
FAILED, INPUTS, REFUSED, NANOSECONDS = 70, 0, 1, 2


class Worker:
    """One target, its good files and what becomes of inputs.

    Args:
        name: The target's.
        scratch: The folder of this process.
        atheris: The module, if coverage is to guide the damage.
    """

    def __init__(self, name: str, scratch: Path, atheris: Any = None) -> None:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        self._atheris, self._good = atheris, scratch / name
        self._good.mkdir()
        with nullcontext() if atheris is None else atheris.instrument_imports(include=INSTRUMENTED):
            module = import_module(f"targets.{MODULES[name]}")
            self.target: Target = next(target for target in module.TARGETS if target.name == name)
            self.target.write(self._good)
            self._contents = {file: (self._good / file).read_bytes() for file in self.target.files}
            # The good files are read once: what is imported then is not an input's time or memory.
            for file, content in self._contents.items():
                self.target.read(self._good, file)
                (self._good / file).write_bytes(content)
        self.seeds = [bytes([number]) + content for number, content in enumerate(self._contents.values())]
        self._damaged = self.target.files[0]
        self._guards = Guards(scratch)

    def run(self, data: bytes) -> bool:
        """Read an input; False if it is refused, and any error but this package's own goes through."""
        from wordllama_st.errors import WordLlamaSTError

        name = self.target.file_of(data)
        if self._damaged != name:
            (self._good / self._damaged).write_bytes(self._contents[self._damaged])
            self._damaged = name
        (self._good / name).write_bytes(data[1:])
        with self._guards.on_input():
            try:
                self.target.read(self._good, name)
            except WordLlamaSTError:
                return False
        return True

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """Damage an input, or a good file, as its file's format suggests, or as libFuzzer would."""
        chance = random.Random(seed)
        if chance.random() < FROM_GOOD:
            data = chance.choice(self.seeds)
        if self._atheris is not None and chance.random() < 0.5:
            content = self._atheris.Mutate(data[1:], max_size - 1)
        else:
            content = damage(self.target.file_of(data), data[1:], chance)
        return bytes(data[:1] or b"\0") + content[: max_size - 1]


def work(
    name: str, folder: Path, scratch: Path, *, runs: int | None, seconds: float, seed: int, atheris: Any = None
) -> None:
    """Feed inputs until there were so many, or the time is over.

    ``folder`` gets ``NAME.input``, the input that is being read, and ``NAME.counts``, by which the process that started
    this one knows what happened, however this one ends.
    """
    worker = Worker(name, scratch, atheris)
    counts = np.memmap(folder / f"{name}.counts", np.int64, "w+", shape=3)
    current = os.open(folder / f"{name}.input", os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    start = time.monotonic_ns()

    def one_input(data: bytes) -> None:
        os.pwrite(current, data, 0)
        os.ftruncate(current, len(data))
        try:
            counts[REFUSED] += not worker.run(data)
            counts[INPUTS] += 1
            counts[NANOSECONDS] = time.monotonic_ns() - start
        except BaseException:
            fail()

    if atheris is None:
        chance, end = random.Random(seed), time.monotonic() + seconds
        while counts[INPUTS] < (runs or LEAST) or (not runs and time.monotonic() < end):
            one_input(worker.mutate(chance.choice(worker.seeds), sys.maxsize, chance.getrandbits(64)))
        return
    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in worker.seeds:
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    options = {
        "runs": runs or -1, "max_total_time": 0 if runs else max(1, round(seconds)), "seed": seed or 1,
        "timeout": 100_000, "rss_limit_mb": 0, "reload": 0, "reduce_inputs": 0, "artifact_prefix": f"{scratch}/",
    }  # fmt: skip
    arguments = [sys.argv[0], *(f"-{option}={value}" for option, value in options.items()), str(corpus)]
    atheris.Setup(arguments, one_input, custom_mutator=worker.mutate)
    atheris.Fuzz()


def begin(scratch: Path) -> None:
    """Make a folder the one for temporary files and caches, and put the canary where an import would find it."""
    for name in ("tmp", "huggingface", "modules"):
        (scratch / name).mkdir()
    tempfile.tempdir = str(scratch / "tmp")
    os.environ |= {"TMPDIR": tempfile.tempdir, "HF_HOME": str(scratch / "huggingface"), "HF_HUB_OFFLINE": "1"}
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
    os.environ |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    (scratch / "modules" / f"{CANARY}.py").write_text("raise SystemExit('imported because a file names it')\n")
    sys.path.append(str(scratch / "modules"))


def fail() -> NoReturn:
    """Say what happened, and end without a word of libFuzzer's."""
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(FAILED)

"""Files of texts for the tests of datasets, and what is read from their output."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wordllama_st import StaticEncoder
from wordllama_st.static.dataset import output

EMBEDDED = "wordllama-l2-supercat-256"
ENCODER = StaticEncoder.from_pretrained(EMBEDDED)
PART, GROUP = 100, 40


@pytest.fixture(autouse=True)
def small_parts() -> Iterator[None]:
    """Parts of few rows, in the modules that import this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "PART_ROWS", PART)
        patch.setattr(output, "GROUP_ROWS", GROUP)
        yield


def texts_of(count: int, name: str = "row") -> list[str]:
    return [f"{name} {number}: the llama, said nothing \u2028 to number {number % 7}" for number in range(count)]


def write_parquet(path: Path, count: int, name: str = "row", **options: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": list(range(count)), "text": texts_of(count, name)}), path, **options)
    return path


def read(out: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(out.glob("part-*.parquet")))


def embeddings(table: pa.Table) -> npt.NDArray[np.generic]:
    return np.array([row for row in table.column("embedding").to_pylist() if row is not None])


def checksums(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("[!.]*")}


#: What encodes in a process of its own, with parts of PART rows: a model, the inputs and the output.
SCRIPT = f"""
import sys
from wordllama_st import encode_dataset
from wordllama_st.static.dataset import output
output.PART_ROWS = {PART}
output.GROUP_ROWS = {GROUP}
encode_dataset(sys.argv[1], sys.argv[2], sys.argv[3], precision="int8", num_threads=2)
"""

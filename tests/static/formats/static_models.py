"""What the tests of the layouts share: texts, static models to write, and what a static model should make of a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from wordllama_st.static.table import StaticTable

DIM = 8
TEXTS = [
    "",
    "The weather is lovely today.",
    " spaces  before, between and behind ",
    "Zażółć gęślą jaźń, 東京の天気 🦙 naïve\tline\nbreak </s>",
    "a longer text about llamas and their words. " * 9,
]


def random_table(tokenizer: Tokenizer, *, rows: int | None = None, seed: int = 0) -> StaticTable:
    """A float32 table of random vectors, one per token id or as many as ``rows`` says."""
    shape = (rows or tokenizer.get_vocab_size(), DIM)
    return StaticTable(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32), tokenizer)


def shared_rows(tokenizer: Tokenizer) -> StaticTable:
    """A table as a quantised vocabulary has it: 20 rows for all tokens, each token with a scale of its own."""
    rng = np.random.default_rng(1)
    tokens = tokenizer.get_vocab_size()
    return replace(
        random_table(tokenizer, rows=20),
        mapping=rng.integers(0, 20, tokens),
        scales=rng.uniform(0.1, 2, tokens).astype(np.float32),
    )


#: Every kind of static model, by what is special about it.
TABLES: dict[str, Callable[[Tokenizer], StaticTable]] = {
    "float32": random_table,
    "float16": lambda tokenizer: _as_float16(random_table(tokenizer)),
    "int8": lambda tokenizer: random_table(tokenizer).quantized(),
    "normalized": lambda tokenizer: replace(random_table(tokenizer), normalize=True),
    "shared rows": shared_rows,
    "shared rows, no scales": lambda tokenizer: replace(_as_float16(shared_rows(tokenizer)), scales=None),
    "shared rows, int8": lambda tokenizer: shared_rows(tokenizer).quantized(),
    "rows beyond the tokens": lambda tokenizer: random_table(tokenizer, rows=tokenizer.get_vocab_size() + 7),
    "prompts": lambda tokenizer: replace(
        random_table(tokenizer),
        prompts={"query": "find: ", "document": ""},
        default_prompt_name="query",
        similarity_fn_name="dot",
    ),
}


def embed(table: StaticTable, texts: list[str]) -> npt.NDArray[np.float64]:
    """The vectors of some texts, [n, d], by the definition: the mean over all tokens; zeros for a text without any."""
    vectors = np.zeros((len(texts), table.dim))
    for vector, encoding in zip(vectors, table.tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
        if encoding.ids:
            vector[:] = table.rows(encoding.ids).mean(axis=0, dtype=np.float64)
    if table.normalize:
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors


def tolerance(table: StaticTable) -> float:
    """How far off a runtime may be that computes in the table's own dtype."""
    return 4e-3 if table.weight.dtype == np.float16 else 1e-5


def _as_float16(table: StaticTable) -> StaticTable:
    return replace(table, weight=table.weight.astype(np.float16))

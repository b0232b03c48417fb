"""The encoders and texts that tests of the encoder share."""

from __future__ import annotations

from functools import cache

import numpy as np
from tokenizer_kinds import CORPUS, KINDS

from wordllama_st import StaticEncoder
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.tokenizer import num_token_ids

EMBEDDED = "wordllama-l2-supercat-256"
#: More than the few that are encoded one by one, short and long, and nothing.
TEXTS = [*CORPUS, "", " ", "one", "two words", "a\nb", "x" * 300, " ".join(CORPUS * 8)]


@cache
def encoder(kind: str = "llama2", **options: object) -> StaticEncoder:
    """One for all tests, which has seen enough to look words up."""
    tokenizer = KINDS[kind]()
    weight = np.random.default_rng(0).standard_normal((num_token_ids(tokenizer), 32)).astype(np.float32)
    made = StaticEncoder(StaticTable(weight, tokenizer), **options)  # type: ignore[arg-type]
    made.encode([" ".join(CORPUS * 10)] * 20)
    assert made._tokens.words is not None
    return made

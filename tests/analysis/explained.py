"""Models whose similarities are explained, and texts."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st
from tokenizer_kinds import CORPUS, KINDS

from wordllama_st import StaticEncoder
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.tokenizer import num_token_ids

EMBEDDED = "wordllama-l2-supercat-256"
PASSWORD, LOGIN = "How do I reset my password?", "I can't log in, I forgot my login credentials."
TEXTS = st.text(min_size=1) | st.lists(st.sampled_from(CORPUS), min_size=1, max_size=4).map(" ".join)


@cache
def made(kind: str, **options: object) -> StaticEncoder:
    tokenizer = KINDS[kind]()
    weight = np.random.default_rng(0).standard_normal((num_token_ids(tokenizer), 32)).astype(np.float32)
    return StaticEncoder(StaticTable(weight, tokenizer, **options))  # type: ignore[arg-type]


@cache
def released() -> StaticEncoder:
    return StaticEncoder.from_pretrained(EMBEDDED)

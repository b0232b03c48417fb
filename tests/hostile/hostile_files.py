"""Models to be damaged, and what a damaged file is refused by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from wordllama_st.static.table import StaticTable
from wordllama_st.storage.tokenizer import num_token_ids

TENSOR = "model.embed_tokens.weight"


def random_table(tokenizer: Tokenizer) -> StaticTable:
    shape = (num_token_ids(tokenizer), 4)
    return StaticTable(np.random.default_rng(0).standard_normal(shape, dtype=np.float32), tokenizer)


def write_checkpoint(directory: Path, tokenizer: Tokenizer) -> None:
    """A token table in a shard with an index, and its tokenizer."""
    directory.mkdir(parents=True)
    save_file({TENSOR: random_table(tokenizer).weight}, directory / "1.safetensors")
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {TENSOR: "1.safetensors"}}))
    tokenizer.save(str(directory / "tokenizer.json"))


def edit_json(path: Path, edit: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))

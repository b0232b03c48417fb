"""What the layouts are written with."""

from __future__ import annotations

import json
from pathlib import Path

from wordllama_st.static.table import StaticTable
from wordllama_st.storage.safetensors_file import TENSOR_NAME, byte_chunks, write_tensor
from wordllama_st.storage.tokenizer import plain_tokenizer


def write_dense(table: StaticTable, path: Path) -> None:
    """Write a table as one plain tensor [V, d], ``embedding.weight``, its mapping and scales folded into it.

    Where there are no scales it keeps its dtype, as it does when the stock library reads such a model.

    Raises:
        ArgumentError: If the table is int8.
    """
    weight = table.dense()
    write_tensor(path, TENSOR_NAME, weight.dtype.name, (weight.shape[0], weight.shape[1]), byte_chunks(weight))


def write_tokenizer(table: StaticTable, path: Path) -> None:
    """Write a model's tokenizer, so that it adds no special tokens for anybody, however it is called."""
    path.write_text(plain_tokenizer(table.tokenizer).to_str(pretty=True), encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write a JSON file that people can read too."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

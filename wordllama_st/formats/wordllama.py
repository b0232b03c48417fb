"""WordLlama's own files: a safetensors table under ``embedding.weight`` and a tokenizer.json beside it."""

from __future__ import annotations

import numpy as np
from safetensors import SafetensorError, safe_open

from wordllama_st.errors import ModelLoadError
from wordllama_st.formats.static_table import StaticTable
from wordllama_st.models import ModelFiles
from wordllama_st.safetensors_file import TENSOR_NAME
from wordllama_st.tokenization import load_tokenizer, plain_tokenizer, tokens_beyond


def load(files: ModelFiles) -> StaticTable:
    """Read a released model, its vectors as float32.

    Raises:
        ModelLoadError: If the weights file is damaged or holds no such model.
    """
    try:
        with safe_open(files.weights, framework="np") as file:
            weight = file.get_slice(TENSOR_NAME)[:, : files.model.dim]
    except (SafetensorError, OSError) as error:
        raise ModelLoadError(f"{files.weights} is not a WordLlama table: {error}.") from error
    tokenizer = plain_tokenizer(load_tokenizer(files.tokenizer))
    if weight.shape[1] < files.model.dim or tokens_beyond(tokenizer, weight.shape[0]):
        raise ModelLoadError(
            f"{files.weights} holds a table of shape {list(weight.shape)}, too small for {files.model.dim} dimensions "
            f"and the {tokenizer.get_vocab_size()} tokens of {files.tokenizer}."
        )
    return StaticTable(np.ascontiguousarray(weight, dtype=np.float32), tokenizer)

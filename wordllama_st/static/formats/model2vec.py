"""Static models in the layout of model2vec (https://github.com/MinishLab/model2vec), the only one with int8.

``model.safetensors`` in the root folder has the token embeddings as ``embeddings``. Where the vocabulary is quantized,
several tokens share a row, given by ``mapping``, and ``weights`` has the factor of each.

The runtimes of this layout differ in the tokens they count. Here it is all. model2vec leaves out the unknown token, and
cuts texts at the ``max_length`` of config.json, or at 512 tokens if there is none. The stock ``SentenceTransformer``
counts the unknown token, and cuts where tokenizer.json says so: in what model2vec itself has written, at that length.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from wordllama_st.errors import ModelLoadError
from wordllama_st.static.formats.files import (
    EMBEDDINGS,
    MAPPING,
    WEIGHT_FILE,
    WEIGHTS,
    model_file,
    read_json,
    read_table,
    write_json,
)
from wordllama_st.static.formats.sentence_transformers import write_all_but_weights
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.staging import staged_directory
from wordllama_st.storage.tokenizer import TOKENIZER_FILE

CONFIG_FILE = "config.json"


def read(path: Path) -> StaticTable:
    """Read a directory by its config.json. (One with a modules.json is read by that, as in the stock class.)

    Raises:
        ModelLoadError: If files are missing, damaged or do not fit together.
    """
    config = read_json(model_file(path, CONFIG_FILE))
    if not isinstance(config, dict):
        raise ModelLoadError(f"{path / CONFIG_FILE} is not a JSON object. Fetch or save the model again.")
    weights, tokenizer = model_file(path, WEIGHT_FILE), model_file(path, TOKENIZER_FILE)
    return read_table(weights, tokenizer, normalize=bool(config.get("normalize", False)))


def write(table: StaticTable, path: str | Path, *, card: str, overwrite: bool = False) -> None:
    """Write a directory that ``model2vec.StaticModel.from_pretrained`` and ``SentenceTransformer`` both load.

    They give the same embeddings if the tokenizer has no unknown token: model2vec leaves that out. Nothing is cut.

    Args:
        table: The model, in any dtype; mapping and scales are kept as they are. A projection, for which there is no
            place, is multiplied into the rows.
        path: A directory, which appears when it is complete.
        card: The README.md.
        overwrite: Whether to replace what is at ``path``.

    Raises:
        OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
    """
    table = table.multiplied()
    tensors = {EMBEDDINGS: table.weight, WEIGHTS: table.scales, MAPPING: table.mapping}
    if table.mapping is None and len(table.weight) != table.tokenizer.get_vocab_size(with_added_tokens=True):
        # model2vec refuses a table that has another number of rows than there are tokens, unless a mapping says why.
        tensors[MAPPING] = np.arange(len(table.weight))
    if table.weight.dtype == np.int8 and table.scales is None:
        # Without them, the stock class has nothing to make floats of them with.
        tensors[WEIGHTS] = np.ones(table.num_tokens, np.float32)
    with staged_directory(path, overwrite=overwrite) as staging:
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items() if tensor is not None},
            staging / WEIGHT_FILE,
        )
        config = {
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "hidden_dim": table.dim,
            "normalize": table.normalize,
            "max_length": None,
            "embedding_dtype": table.weight.dtype.name,
        }
        if tensors[MAPPING] is not None:
            config["vocabulary_quantization"] = len(table.weight)
        write_json(staging / CONFIG_FILE, config)
        write_all_but_weights(table, staging, ".", card)

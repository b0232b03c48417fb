"""Static models as model2vec (https://github.com/MinishLab/model2vec) keeps them.

``model.safetensors`` in the root folder has the vectors as ``embeddings``. Where the vocabulary was quantised, several
tokens share a row, which ``mapping`` gives, and ``weights`` has the factor of each. It is the only layout with a place
for int8.

The runtimes that read such a directory differ in which of a text's tokens they count. Here it is all of them.
model2vec leaves out the unknown token, and cuts texts at the ``max_length`` of config.json, or at 512 tokens if there
is none. The stock ``SentenceTransformer`` counts the unknown token, and cuts where tokenizer.json says so: in what
model2vec itself has written, at the same length.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from wordllama_st.errors import ModelLoadError
from wordllama_st.static.formats.files import (
    EMBEDDINGS,
    MAPPING,
    WEIGHTS,
    TensorFile,
    read_json,
    read_table,
    write_json,
)
from wordllama_st.static.formats.sentence_transformers import WEIGHT_FILE, write_all_but_weights
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.staging import staged_directory
from wordllama_st.storage.tokenizer import TOKENIZER_FILE

CONFIG_FILE = "config.json"


def is_model(directory: Path) -> bool:
    """Whether a directory has a table of model2vec's.

    Raises:
        ModelLoadError: If its model.safetensors is damaged.
    """
    path = directory / WEIGHT_FILE
    return path.is_file() and EMBEDDINGS in TensorFile(path)


def is_config(path: Path) -> bool:
    """Whether a config.json can be model2vec's, and is not that of a transformer.

    Raises:
        ModelLoadError: If it is no JSON.
    """
    config = read_json(path)
    return isinstance(config, dict) and config.get("model_type", "model2vec") == "model2vec"


def load(directory: Path) -> StaticTable:
    """Read a model by its config.json.

    One that has a modules.json too is read by that, as the stock class does.

    Raises:
        ModelLoadError: If its files are missing, damaged or do not fit together.
    """
    config = read_json(directory / CONFIG_FILE)
    if not isinstance(config, dict):
        raise ModelLoadError(f"{directory / CONFIG_FILE} is not a JSON object. Fetch or save the model again.")
    return read_table(
        directory / WEIGHT_FILE, directory / TOKENIZER_FILE, normalize=bool(config.get("normalize", False))
    )


def save(
    table: StaticTable,
    directory: str | Path,
    *,
    card: str,
    settings: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a directory that ``model2vec.StaticModel.from_pretrained`` and ``SentenceTransformer`` both load.

    They give the same vectors, if the tokenizer has no unknown token: model2vec leaves that out. Nothing is cut.

    Args:
        table: The model, in any dtype; mapping and scales are kept as they are.
        directory: Where to. It appears when it is complete.
        card: The README.md, which the Hub shows as the model's card.
        settings: ``prompts``, ``default_prompt_name`` and ``similarity_fn_name`` where they are not the table's.
        overwrite: Whether to replace what is there.

    Raises:
        OutputExistsError: If the directory has content and ``overwrite`` is not set.
    """
    tensors = {EMBEDDINGS: table.weight, WEIGHTS: table.scales, MAPPING: table.mapping}
    if table.mapping is None and len(table.weight) != table.tokenizer.get_vocab_size(with_added_tokens=True):
        # model2vec refuses a table that has another number of rows than there are tokens, unless a mapping says why.
        tensors[MAPPING] = np.arange(len(table.weight))
    if table.weight.dtype == np.int8 and table.scales is None:
        # Without them, the stock class has nothing to make floats of them with.
        tensors[WEIGHTS] = np.ones(table.num_tokens, np.float32)
    with staged_directory(directory, overwrite=overwrite) as staging:
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items() if tensor is not None},
            staging / WEIGHT_FILE,
        )
        write_json(
            staging / CONFIG_FILE,
            {
                "model_type": "model2vec",
                "architectures": ["StaticModel"],
                "hidden_dim": table.dim,
                "normalize": table.normalize,
                "max_length": None,
                "embedding_dtype": table.weight.dtype.name,
                **({} if tensors[MAPPING] is None else {"vocabulary_quantization": len(table.weight)}),
            },
        )
        write_all_but_weights(table, staging, ".", card, settings)

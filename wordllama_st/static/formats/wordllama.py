"""WordLlama's own files: a safetensors table under ``embedding.weight``, and a tokenizer's JSON.

The ``wordllama`` package looks for them in two folders, ``weights/`` and ``tokenizers/``: those of its wheel, of its
cache, and of any directory that it is told is its cache.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from wordllama_st.errors import ModelLoadError
from wordllama_st.static.formats.files import read_table, write_dense, write_tokenizer
from wordllama_st.static.released import ModelFiles
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.staging import staged_directory
from wordllama_st.storage.tokenizer import TOKENIZER_FILE

WEIGHTS_FOLDER, TOKENIZERS_FOLDER = "weights", "tokenizers"

_USAGE = """
## With the wordllama package

```python
from wordllama import WordLlama
from wordllama.config import ModelURI

uri = ModelURI("", available_dims=[{dim}], binary_dims=[], tokenizer_config="{tokenizer}")
model = WordLlama.load(uri, cache_dir="path/to/this/directory", dim={dim})
embeddings = model.embed(["some text"]{norm})
```
"""


def load(files: ModelFiles, *, dtype: str | None = "float32") -> StaticTable:
    """Read a released model.

    Args:
        files: Where it is.
        dtype: What its vectors should be, ``"float32"`` or ``"float16"``. None: what they are in the file, which then
            stays mapped if it has no more columns than the model.

    Raises:
        ModelLoadError: If the weights file is damaged or holds no such model.
    """
    table = read_table(files.weights, files.tokenizer)
    if table.dim < files.model.dim:
        raise ModelLoadError(
            f"{files.weights} holds a table of shape {list(table.weight.shape)}, too small for {files.model.dim} "
            f"dimensions."
        )
    return replace(table, weight=np.ascontiguousarray(table.weight[:, : files.model.dim], dtype))


def load_file(weights: Path, tokenizer: Path | None = None) -> StaticTable:
    """Read a table by the path of its safetensors file.

    The file alone does not say whether vectors are scaled to unit length; they are not.

    Args:
        weights: The file.
        tokenizer: A tokenizer.json. If None, the tokenizer.json beside the file, or else the only file of the
            ``tokenizers`` folder that is beside the file's own folder.

    Raises:
        ModelLoadError: If one of them is missing or damaged, or they are not those of a static model.
    """
    return read_table(weights, tokenizer or _tokenizer_of(weights))


def find(directory: Path) -> list[Path]:
    """The tables in a directory such as the package's cache, by name."""
    return sorted((directory / WEIGHTS_FOLDER).glob("*.safetensors"))


def load_directory(directory: Path) -> StaticTable:
    """Read the only table in a directory such as :func:`save` writes.

    Raises:
        ModelLoadError: If there are several, or there is a fault as in :func:`load_file`.
    """
    tables = find(directory)
    if len(tables) != 1:
        raise ModelLoadError(
            f"{directory} holds {len(tables)} tables of WordLlama's; load one by its file"
            f"{f', such as {tables[0]}' if tables else ''}."
        )
    return load_file(tables[0])


def save(table: StaticTable, directory: str | Path, *, card: str, overwrite: bool = False) -> None:
    """Write a directory that ``wordllama.WordLlama.load`` takes for its cache, as the README.md in it shows.

    A table's mapping and scales are folded into it. The layout has no place for prompts, nor for ``normalize``: of a
    model that has it set, the README.md says to pass ``norm=True`` to ``embed``.

    Args:
        table: The model, float32 or float16.
        directory: Where to. It appears when it is complete.
        card: The README.md; how to load the directory is added to it.
        overwrite: Whether to replace what is there.

    Raises:
        OutputExistsError: If the directory has content and ``overwrite`` is not set.
        ArgumentError: If the table is int8.
    """
    with staged_directory(directory, overwrite=overwrite) as staging:
        for folder in (WEIGHTS_FOLDER, TOKENIZERS_FOLDER):
            (staging / folder).mkdir()
        # The package's name for the table of a ModelURI that is not its own.
        write_dense(table, staging / WEIGHTS_FOLDER / f"custom_{table.dim}.safetensors")
        write_tokenizer(table, staging / TOKENIZERS_FOLDER / TOKENIZER_FILE)
        usage = _USAGE.format(dim=table.dim, tokenizer=TOKENIZER_FILE, norm=", norm=True" if table.normalize else "")
        (staging / "README.md").write_text(card.rstrip() + "\n" + usage, encoding="utf-8")


def _tokenizer_of(weights: Path) -> Path:
    """The tokenizer that belongs to a weights file; a path where none is, if there is none."""
    beside = weights.with_name(TOKENIZER_FILE)
    others = list((weights.parent.parent / TOKENIZERS_FOLDER).glob("*.json"))
    return others[0] if not beside.is_file() and len(others) == 1 else beside

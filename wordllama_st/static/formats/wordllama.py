"""Static models in the layout of WordLlama: a safetensors table under ``embedding.weight``, and a tokenizer's JSON.

The ``wordllama`` package looks for them in the folders ``weights/`` and ``tokenizers/`` of its wheel and of its cache.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from wordllama_st.errors import ModelLoadError
from wordllama_st.static.formats.files import model_file, read_table, write_tokenizer, write_weight
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


def find(directory: Path) -> list[Path]:
    """List the tables in a directory such as the package's cache, by name."""
    return sorted((directory / WEIGHTS_FOLDER).glob("*.safetensors"))


def read(path: Path, tokenizer: Path | None = None) -> StaticTable:
    """Read a table; the layout does not say whether embeddings are scaled to unit length, so they are not.

    Args:
        path: The safetensors file, or the directory of a single one, such as :func:`write` writes.
        tokenizer: A tokenizer.json. If None, the tokenizer.json beside the file, or else the only file of the
            ``tokenizers`` folder that is beside the file's own folder.

    Raises:
        ModelLoadError: If there are several tables; or files are missing, damaged or not those of a static model.
    """
    directory = path if path.is_dir() else None
    if directory is not None:
        tables = find(path)
        if len(tables) != 1:
            raise ModelLoadError(
                f"{path} holds {len(tables)} tables of WordLlama's; load one by its file"
                f"{f', such as {tables[0]}' if tables else ''}."
            )
        (path,) = tables
    if tokenizer is None:
        tokenizer = path.with_name(TOKENIZER_FILE)
        others = list((path.parent.parent / TOKENIZERS_FOLDER).glob("*.json"))
        if not tokenizer.is_file() and len(others) == 1:
            (tokenizer,) = others
    if directory is not None:
        for file in (path, tokenizer):
            model_file(directory, file.relative_to(directory).as_posix())
    return read_table(path, tokenizer)


def read_released(files: ModelFiles, *, dtype: str | None = "float32") -> StaticTable:
    """Read a released model.

    Args:
        files: Its files.
        dtype: None keeps that of the file, and the table mapped if the file has no more columns than the model.

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


def write(table: StaticTable, path: str | Path, *, card: str, overwrite: bool = False) -> None:
    """Write a directory that ``wordllama.WordLlama.load`` takes for its cache, as the README.md in it shows.

    There is no place for prompts, nor for ``normalize``: if it is set, the README.md passes ``norm=True`` to ``embed``.

    Args:
        table: The model, float32 or float16. Mapping, scales and projection are folded into the table.
        path: A directory, which appears when it is complete.
        card: The README.md, to which the way to load the directory is added.
        overwrite: Whether to replace what is at ``path``.

    Raises:
        OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
        ArgumentError: If the table is int8.
    """
    with staged_directory(path, overwrite=overwrite) as staging:
        for folder in (WEIGHTS_FOLDER, TOKENIZERS_FOLDER):
            (staging / folder).mkdir()
        # The package's name for the table of a ModelURI that is not its own.
        write_weight(table.dense(), staging / WEIGHTS_FOLDER / f"custom_{table.dim}.safetensors")
        write_tokenizer(table, staging / TOKENIZERS_FOLDER / TOKENIZER_FILE)
        usage = _USAGE.format(dim=table.dim, tokenizer=TOKENIZER_FILE, norm=", norm=True" if table.normalize else "")
        (staging / "README.md").write_text(card.rstrip() + "\n" + usage, encoding="utf-8")

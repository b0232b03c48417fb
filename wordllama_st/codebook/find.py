"""Where a token table is: in a directory, a file, the installed wheel or on the Hub."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from wordllama_st.codebook.checkpoint import CheckpointFiles, LocalFiles, locate_table
from wordllama_st.codebook.found_table import FoundTable
from wordllama_st.codebook.token_table import ArrayRows
from wordllama_st.codebook.tokenizer_files import find_tokenizer
from wordllama_st.errors import CodebookNotFoundError
from wordllama_st.static import released
from wordllama_st.static.formats import sentence_transformers as static_format
from wordllama_st.storage.safetensors_file import TENSOR_NAME, stored_tensor
from wordllama_st.storage.tokenizer import TOKENIZER_FILE, load_tokenizer

#: The table of a saved codebook.
WEIGHT_FILE = "codebook.safetensors"


def find_table(
    source: str | Path,
    *,
    tensor_name: str | None = None,
    revision: str | None = None,
    token: bool | str | None = None,
) -> FoundTable:
    """Find a model's token table and tokenizer; nothing of the table is read yet.

    The arguments and errors are those of :meth:`~wordllama_st.Codebook.from_pretrained`.
    """
    path, name = Path(source), str(source)
    if path.suffix == ".gguf" and path.is_file():
        from wordllama_st.codebook.gguf_file import open_gguf

        return open_gguf(path, tensor_name)
    if path.exists():
        return _in_directory(path, tensor_name)
    if released.is_released(name):
        return _released(name, tensor_name, revision, token)
    if not _may_be_repository(name):
        raise CodebookNotFoundError(
            f"There is no directory {source}, and no released model or repository on the Hub has such a name."
        )
    # Importing the Hub client takes a tenth of a second, which local files need not wait for.
    from wordllama_st.codebook.hub import HubFiles

    return _in_checkpoint(HubFiles(name, revision, token), tensor_name)


def _in_directory(directory: Path, tensor_name: str | None) -> FoundTable:
    if (directory / WEIGHT_FILE).is_file() and tensor_name is None:
        stored = stored_tensor(directory / WEIGHT_FILE, TENSOR_NAME)
        tokenizer = load_tokenizer(directory / TOKENIZER_FILE)
        return FoundTable(ArrayRows(stored.map(), stored.dtype), tokenizer, str(directory), stored.name)
    static = static_format.find(directory)
    if static is not None and tensor_name is None:
        stored = stored_tensor(static[0], TENSOR_NAME)
        return FoundTable(ArrayRows(stored.map(), stored.dtype), load_tokenizer(static[1]), str(directory), stored.name)
    return _in_checkpoint(LocalFiles(directory), tensor_name)


def _in_checkpoint(files: CheckpointFiles, tensor_name: str | None) -> FoundTable:
    stored, architecture = locate_table(files, tensor_name)
    rows = ArrayRows(stored.map(), stored.dtype)
    return FoundTable(rows, find_tokenizer(files), files.name, stored.name, architecture, files.commit)


def _released(name: str, tensor_name: str | None, revision: str | None, token: bool | str | None) -> FoundTable:
    files = released.fetch(name, revision=revision, token=token)
    stored = stored_tensor(files.weights, tensor_name or TENSOR_NAME)
    # The first columns of a Matryoshka table are its shorter selves.
    table = np.ascontiguousarray(stored.map()[:, : files.model.dim])
    return FoundTable(ArrayRows(table, stored.dtype), load_tokenizer(files.tokenizer), name, stored.name)


def _may_be_repository(name: str) -> bool:
    """Whether a name can be that of a Hub repository, and was not meant as a path."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    if name.startswith((".", "~", os.sep)) or os.path.altsep == "\\":
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True

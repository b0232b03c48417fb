"""A transformers checkpoint directory: one safetensors file, or shards and the index that maps tensors to them."""

from __future__ import annotations

import json
from pathlib import Path

from wordllama_st.codebook.locate import embedding_names
from wordllama_st.errors import CodebookError, CodebookNotFoundError
from wordllama_st.safetensors_file import StoredTensor, stored_tensor, tensor_names

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"


def locate_table(directory: Path, tensor_name: str | None = None) -> StoredTensor:
    """Find the token table of a checkpoint, reading headers only.

    Args:
        directory: The checkpoint.
        tensor_name: The table's key; asked of the architecture by default.

    Raises:
        CodebookNotFoundError: If the directory, its config.json, its weights or one of its shards is missing.
        CodebookError: If a part of it cannot be used, or no tensor of it is the table.
    """
    files = _tensor_files(directory)
    if tensor_name is not None:
        if tensor_name not in files:
            raise CodebookError(f"The checkpoint in {directory} holds no tensor {tensor_name!r}.")
        return stored_tensor(_present(files[tensor_name], directory), tensor_name)

    names, shape = embedding_names(directory)
    name = next((name for name in names if name in files), None)
    if name is None:
        raise CodebookError(
            f"The checkpoint in {directory} holds no tensor {' or '.join(map(repr, names))}, where its architecture "
            f"keeps the token table. Name the right one with tensor_name."
        )
    stored = stored_tensor(_present(files[name], directory), name)
    if stored.shape != shape:
        raise CodebookError(
            f"{name!r} in {stored.path} has shape {list(stored.shape)}, but config.json describes {list(shape)}: "
            f"the two belong to different models."
        )
    return stored


def _tensor_files(directory: Path) -> dict[str, Path]:
    """Every tensor's name and the file it is in."""
    if not directory.is_dir():
        raise CodebookNotFoundError(f"{directory} is not a directory; a checkpoint is one.")
    if (directory / INDEX_FILE).is_file():
        return _read_index(directory)
    candidates = sorted(directory.glob("*.safetensors"))
    weights = directory / SINGLE_FILE if directory / SINGLE_FILE in candidates else None
    if weights is None and len(candidates) == 1:
        weights = candidates[0]
    if weights is not None:
        return dict.fromkeys(tensor_names(weights), weights)
    if candidates:
        raise CodebookNotFoundError(
            f"{directory} has {len(candidates)} safetensors files, but no {INDEX_FILE} that says what is in each."
        )
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern))
    if pickles:
        raise CodebookError(
            f"{directory} has its weights as pickles only ({pickles[0]}), which run code when they are read. Convert "
            f"them: AutoModel.from_pretrained(DIR).save_pretrained(DIR) of transformers writes {SINGLE_FILE}."
        )
    raise CodebookNotFoundError(f"{directory} has no weights: neither {SINGLE_FILE} nor {INDEX_FILE}.")


def _read_index(directory: Path) -> dict[str, Path]:
    path = directory / INDEX_FILE
    try:
        shards = dict(json.loads(path.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise CodebookError(f"{path} is not an index of safetensors shards: {error!r}.") from error
    for shard in shards.values():
        # A name that is more than a name would read outside the checkpoint.
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CodebookError(f"{path} names a shard {shard!r}; a shard is a file beside its index.")
    return {name: directory / shard for name, shard in shards.items()}


def _present(shard: Path, directory: Path) -> Path:
    if not shard.is_file():
        raise CodebookNotFoundError(
            f"{directory / INDEX_FILE} says that the token table is in {shard.name}, which is missing. Download it."
        )
    return shard

"""A transformers checkpoint: one safetensors file, or shards and the index that maps tensors to them.

Where its files are, in a directory or on the Hub, is for :class:`CheckpointFiles` to know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from wordllama_st.codebook.locate import token_table_key
from wordllama_st.errors import CodebookError, CodebookNotFoundError
from wordllama_st.storage.safetensors_file import StoredTensor, stored_tensor, table_layout
from wordllama_st.storage.safetensors_header import TensorEntry, read_header

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
PICKLE_FILES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


class CheckpointFiles(Protocol):
    """The files of a checkpoint, wherever they are.

    Attributes:
        name: What to call the checkpoint in an error.
        commit: Of its repository, if it comes from one.
    """

    name: str
    commit: str | None

    def path(self, filename: str) -> Path | None:
        """A small file on this machine's disk, fetched if need be; None if the checkpoint has none of that name."""
        ...

    def single_file(self) -> str | None:
        """The safetensors file that holds all tensors of a checkpoint without an index; None if there is none."""
        ...

    def header(self, filename: str) -> Mapping[str, TensorEntry]:
        """The tensors of a safetensors file."""
        ...

    def tensor(self, filename: str, key: str) -> StoredTensor:
        """A token table on this machine's disk, fetched if need be."""
        ...


class LocalFiles:
    """A checkpoint in a directory."""

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise CodebookNotFoundError(f"{directory} is not a directory; a checkpoint is one.")
        self.directory = directory
        self.name = str(directory)
        self.commit: str | None = None

    def path(self, filename: str) -> Path | None:
        path = self.directory / filename
        if not path.is_file():
            return None
        # No link may lead out of the checkpoint; within a Hub cache, all files are links to its blobs.
        target, home = path.resolve(), self.directory.resolve()
        blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
        if not target.is_relative_to(home) and not target.is_relative_to(blobs):
            raise CodebookError(f"{path} is a link to {target}, outside the checkpoint. Put the file itself there.")
        return path

    def single_file(self) -> str | None:
        candidates = sorted(path.name for path in self.directory.glob("*.safetensors"))
        if SINGLE_FILE in candidates:
            return SINGLE_FILE
        if len(candidates) > 1:
            raise CodebookNotFoundError(
                f"{self.name} has {len(candidates)} safetensors files, but no {INDEX_FILE} that says what is in each."
            )
        if candidates:
            return candidates[0]
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in self.directory.glob(pattern))
        if pickles:
            raise pickles_only(self.name, pickles[0])
        return None

    def header(self, filename: str) -> Mapping[str, TensorEntry]:
        return read_header(self._shard(filename))

    def tensor(self, filename: str, key: str) -> StoredTensor:
        return stored_tensor(self._shard(filename), key)

    def _shard(self, filename: str) -> Path:
        path = self.path(filename)
        if path is None:
            raise CodebookNotFoundError(
                f"{self.directory / INDEX_FILE} says that the token table is in {filename}, which is missing. "
                f"Download it."
            )
        return path


def locate_table(files: CheckpointFiles, tensor_name: str | None = None) -> tuple[StoredTensor, str | None]:
    """Find the token table of a checkpoint, reading headers only.

    Args:
        files: The checkpoint's.
        tensor_name: The table's key; asked of the architecture by default.

    Returns:
        The table, and the architecture if it was asked.

    Raises:
        CodebookNotFoundError: If the checkpoint's config.json, its weights or one of its shards is missing.
        CodebookError: If a part of it cannot be used, or no tensor of it is the table.
    """
    shards = _shards(files)
    architecture = shape = None
    if tensor_name is None:
        config = files.path(CONFIG_FILE) or Path(files.name, CONFIG_FILE)
        tensor_name, shape, architecture = token_table_key(config, shards.keys())
    elif tensor_name not in shards:
        raise CodebookError(f"The checkpoint in {files.name} holds no tensor {tensor_name!r}.")
    shard = shards[tensor_name]
    # The header first: what is no table is not worth fetching.
    _, found = table_layout(files.header(shard), tensor_name, f"{files.name}/{shard}")
    if shape is not None and found != shape:
        raise CodebookError(
            f"{tensor_name!r} in {files.name}/{shard} has shape {list(found)}, but {CONFIG_FILE} describes "
            f"{list(shape)}: the two belong to different models."
        )
    return files.tensor(shard, tensor_name), architecture


def pickles_only(name: str, pickle: str) -> CodebookError:
    """The error for a checkpoint without safetensors."""
    return CodebookError(
        f"{name} has its weights as pickles only ({pickle}), which run code when they are read. Convert "
        f"them: AutoModel.from_pretrained(DIR).save_pretrained(DIR) of transformers writes {SINGLE_FILE}."
    )


def _shards(files: CheckpointFiles) -> dict[str, str]:
    """The file that each tensor is in, by the tensor's name."""
    index = files.path(INDEX_FILE)
    if index is None:
        single = files.single_file()
        if single is None:
            raise CodebookNotFoundError(f"{files.name} has no weights: neither {SINGLE_FILE} nor {INDEX_FILE}.")
        return dict.fromkeys(files.header(single), single)
    try:
        shards = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CodebookError(f"{index} is not an index of safetensors shards: {error!r}.") from error
    for shard in shards.values():
        # A name that is more than a name would read outside the checkpoint.
        if not isinstance(shard, str) or Path(shard).name != shard or "\\" in shard or "\0" in shard:
            raise CodebookError(f"{index} names a shard {shard!r}; a shard is a file beside its index.")
    return shards

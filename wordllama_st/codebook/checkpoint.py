"""A transformers checkpoint: one safetensors file, or shards and the index that maps tensors to them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from wordllama_st.codebook.input_embeddings import find_input_embeddings
from wordllama_st.codebook.token_table import ArrayRows
from wordllama_st.errors import CodebookError, CodebookNotFoundError
from wordllama_st.storage.links import file_inside
from wordllama_st.storage.safetensors_file import TensorEntry, read_header, table_layout

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"


class Checkpoint:
    """A checkpoint in a directory."""

    #: Of its repository, if it comes from one.
    commit: str | None = None

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise CodebookNotFoundError(f"{directory} is not a directory; a checkpoint is one.")
        self.name = str(directory)

    def path(self, filename: str) -> Path | None:
        """A small file on this machine's disk, fetched if need be; None if the checkpoint has none of that name."""
        path = file_inside(Path(self.name), filename, CodebookError)
        return path if os.path.isfile(path) else None

    def single_file(self) -> str | None:
        """The safetensors file that holds all tensors of a checkpoint without an index; None if there is none."""
        directory = Path(self.name)
        candidates = sorted(path.name for path in directory.glob("*.safetensors"))
        if SINGLE_FILE in candidates:
            return SINGLE_FILE
        if len(candidates) > 1:
            raise CodebookNotFoundError(
                f"{self.name} has {len(candidates)} safetensors files, but no {INDEX_FILE} that says what is in each."
            )
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern))
        if pickles and not candidates:
            raise self.pickles_only(pickles[0])
        return candidates[0] if candidates else None

    def header(self, filename: str) -> Mapping[str, TensorEntry]:
        """The tensors of a safetensors file."""
        return read_header(self._shard(filename))

    def table(self, filename: str, key: str, entry: TensorEntry) -> ArrayRows:
        """A token table on this machine's disk, fetched if need be."""
        return ArrayRows.from_file(self._shard(filename), key)

    def _shard(self, filename: str) -> Path:
        path = self.path(filename)
        if path is None:
            raise CodebookNotFoundError(
                f"{self.name}/{INDEX_FILE} says that the token table is in {filename}, which is missing. Download it."
            )
        return path

    def pickles_only(self, pickle: str) -> CodebookError:
        """The error for a checkpoint without safetensors."""
        return CodebookError(
            f"{self.name} has its weights as pickles only ({pickle}), which run code when they are read. Convert "
            f"them: AutoModel.from_pretrained(DIR).save_pretrained(DIR) of transformers writes {SINGLE_FILE}."
        )

    def find_table(self, tensor_name: str | None = None) -> tuple[ArrayRows, str, str | None]:
        """Find the token table, its key, and the architecture if that is asked for the key; headers only are read.

        Raises CodebookNotFoundError if a part is missing, CodebookError if it cannot be used or has no such table.
        """
        shards = self._shards()
        architecture = shape = None
        if tensor_name is None:
            config = self.path(CONFIG_FILE) or Path(self.name, CONFIG_FILE)
            tensor_name, shape, architecture = find_input_embeddings(config, shards.keys())
        elif tensor_name not in shards:
            raise CodebookError(f"The checkpoint in {self.name} holds no tensor {tensor_name!r}.")
        shard = shards[tensor_name]
        # The header first: what is no table is not worth fetching.
        tensors = self.header(shard)
        _, found = table_layout(tensors, tensor_name, f"{self.name}/{shard}")
        if shape is not None and found != shape:
            raise CodebookError(
                f"{tensor_name!r} in {self.name}/{shard} has shape {list(found)}, but {CONFIG_FILE} describes "
                f"{list(shape)}: the two belong to different models."
            )
        return self.table(shard, tensor_name, tensors[tensor_name]), tensor_name, architecture

    def _shards(self) -> dict[str, str]:
        """The file that each tensor is in, by the tensor's name."""
        index = self.path(INDEX_FILE)
        if index is None:
            single = self.single_file()
            if single is None:
                raise CodebookNotFoundError(f"{self.name} has no weights: neither {SINGLE_FILE} nor {INDEX_FILE}.")
            return dict.fromkeys(self.header(single), single)
        try:
            shards = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CodebookError(f"{index} is not an index of safetensors shards: {error!r}.") from error
        for shard in shards.values():
            # A name that is more than a name would read outside the checkpoint.
            if not isinstance(shard, str) or Path(shard).name != shard or "\\" in shard or "\0" in shard:
                raise CodebookError(f"{index} names a shard {shard!r}; a shard is a file beside its index.")
        return shards

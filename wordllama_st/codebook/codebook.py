"""The codebook: a language model's token table and the tokenizer whose ids are its rows."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from wordllama_st import models
from wordllama_st.codebook.checkpoint import locate_table
from wordllama_st.codebook.own_file import OwnFile
from wordllama_st.codebook.provenance import Provenance, inspect
from wordllama_st.errors import CodebookError, CodebookNotFoundError
from wordllama_st.formats import sentence_transformers as static_format
from wordllama_st.safetensors_file import STORAGE_DTYPES, TENSOR_NAME, Table, byte_chunks, stored_tensor, write_tensor
from wordllama_st.staging import staged_directory, staged_file
from wordllama_st.tokenization import load_tokenizer, plain_tokenizer, tokens_beyond

if TYPE_CHECKING:
    import torch

WEIGHT_FILE = "codebook.safetensors"
TOKENIZER_FILE = "tokenizer.json"
PROVENANCE_FILE = "codebook.json"
#: Where a saved model keeps its input module.
TRAINED_MODEL_FOLDER = "0_LLMTokenEmbedding"


class Codebook:
    """A frozen token table [V, D] and the tokenizer whose ids are its rows.

    The table stays where it is, mapped from its file in the dtype it is stored in: opening a codebook of several
    gigabytes takes neither time nor memory. It never changes; copies of a codebook share it.

    Args:
        weight: The token table, [V, D], float32, float16 or bfloat16.
        tokenizer: The tokenizer that belongs to it. Padding, truncation and the special tokens it would add are
            dropped from the codebook's own copy: a text is its own tokens and no others.
        source: What to name as the origin in :attr:`provenance`.

    Raises:
        CodebookError: If the table is not two-dimensional floats, has a row that is not finite, or has fewer rows
            than the tokenizer has ids.

    Example:
        ::

            from wordllama_st import Codebook

            codebook = Codebook.from_pretrained("path/to/Llama-3.2-1B")
            codebook.save("llama-codebook")
    """

    tokenizer: Tokenizer
    provenance: Provenance

    def __init__(self, weight: torch.Tensor, tokenizer: Tokenizer, *, source: str | None = None) -> None:
        table, dtype = _as_array(weight)
        self._set(table, plain_tokenizer(tokenizer), inspect(table, dtype, source, None, tokenizer))

    def _set(self, table: Table, tokenizer: Tokenizer, provenance: Provenance, file: OwnFile | None = None) -> None:
        rows = table.shape[0]
        if beyond := tokens_beyond(tokenizer, rows):
            raise CodebookError(
                f"The table of {provenance.source or 'this codebook'} has {rows} rows, but its tokenizer has ids "
                f"beyond them: {', '.join(f'{token!r} ({token_id})' for token, token_id in beyond[:10])}"
                f"{f' and {len(beyond) - 10} more' if len(beyond) > 10 else ''}. "
                f"Use the tokenizer that the model was trained with."
            )
        self._table = table  # bfloat16 as uint16 bits
        self._file = file
        self.tokenizer = tokenizer
        self.provenance = provenance

    @cached_property
    def weight(self) -> torch.Tensor:
        """The token table, [V, D], mapped. Treat it as read-only: writes stay private to this process."""
        import torch

        # Made during encode, it would be an inference tensor, which no later training step could use.
        with torch.inference_mode(False):
            weight = torch.from_numpy(self._table)
            return weight.view(torch.bfloat16) if self.dtype == "bfloat16" else weight

    @property
    def dtype(self) -> str:
        """The dtype of the table: ``"float32"``, ``"float16"`` or ``"bfloat16"``."""
        return self.provenance.dtype

    @property
    def num_embeddings(self) -> int:
        """V, the number of rows."""
        return self.provenance.shape[0]

    @property
    def embedding_dim(self) -> int:
        """D, the length of a row."""
        return self.provenance.shape[1]

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        tensor_name: str | None = None,
        revision: str | None = None,
        token: bool | str | None = None,
    ) -> Codebook:
        """Take the token table out of a model, reading nothing else of its weights.

        Args:
            source: One of

                - a directory with a transformers checkpoint: config.json, tokenizer.json and safetensors weights, in
                  one file or in shards with an index,
                - a directory that :meth:`save` wrote, or a trained model that has one inside,
                - a directory with a static model, as :func:`~wordllama_st.bake` writes it,
                - the name of a released model, such as the embedded ``"wordllama-l2-supercat-256"``.
            tensor_name: The table's key in the checkpoint, where the architecture is unknown to transformers or the
                table wanted is another one. By default it is the weight of ``get_input_embeddings()``.
            revision: Branch, tag or commit, for a released model that comes from the Hub.
            token: For the Hub, likewise.

        Raises:
            CodebookNotFoundError: If there is nothing at ``source``, or a part of the checkpoint is missing.
            CodebookError: If a part is there but cannot be used.
        """
        directory = Path(source)
        for own in (directory, directory / TRAINED_MODEL_FOLDER):
            if (own / PROVENANCE_FILE).is_file() and tensor_name is None:
                return cls.load(own)
        if directory.exists():
            static = static_format.find(directory)
            if static is not None and tensor_name is None:
                stored, tokenizer = stored_tensor(static[0], TENSOR_NAME), load_tokenizer(static[1])
            else:
                stored = locate_table(directory, tensor_name)
                tokenizer = load_tokenizer(directory / TOKENIZER_FILE)
            return cls._from_table(stored.map(), stored.dtype, tokenizer, str(source), stored.name)
        if models.is_released(str(source)):
            files = models.fetch(str(source), revision=revision, token=token)
            stored = stored_tensor(files.weights, tensor_name or TENSOR_NAME)
            # The first columns of a Matryoshka table are its shorter selves.
            table = np.ascontiguousarray(stored.map()[:, : files.model.dim])
            return cls._from_table(table, stored.dtype, load_tokenizer(files.tokenizer), str(source), stored.name)
        raise CodebookNotFoundError(
            f"There is no directory {source}, and no released model of that name. For a model on the Hub, download it "
            f"first: hf download {source} --local-dir DIR."
        )

    @classmethod
    def _from_table(
        cls, table: Table, dtype: str, tokenizer: Tokenizer, source: str, tensor_name: str | None
    ) -> Codebook:
        codebook = cls.__new__(cls)
        provenance = inspect(table, dtype, source, tensor_name, tokenizer)
        codebook._set(table, plain_tokenizer(tokenizer), provenance)
        return codebook

    @classmethod
    def load(cls, directory: str | Path) -> Codebook:
        """Open a codebook that :meth:`save` wrote; its table is mapped, not read.

        Raises:
            CodebookNotFoundError: If the directory lacks one of the codebook's files.
            CodebookError: If they do not fit together.
        """
        directory = Path(directory)
        for name in (PROVENANCE_FILE, WEIGHT_FILE, TOKENIZER_FILE):
            if not (directory / name).is_file():
                raise CodebookNotFoundError(f"{directory} is no saved codebook: it has no {name}.")
        try:
            fields = json.loads((directory / PROVENANCE_FILE).read_text(encoding="utf-8"))
            provenance = Provenance(**fields | {"shape": tuple(fields["shape"])})
        except (ValueError, TypeError, KeyError) as error:
            raise CodebookError(f"{directory / PROVENANCE_FILE} is not a codebook's provenance: {error}.") from error
        stored = stored_tensor(directory / WEIGHT_FILE, TENSOR_NAME)
        if (stored.shape, stored.dtype) != (provenance.shape, provenance.dtype):
            raise CodebookError(
                f"{stored.path} holds a {stored.dtype} table of shape {list(stored.shape)}, but {PROVENANCE_FILE} "
                f"speaks of {provenance.dtype} and {list(provenance.shape)}: the files belong to different codebooks."
            )
        codebook = cls.__new__(cls)
        tokenizer = load_tokenizer(directory / TOKENIZER_FILE)
        codebook._set(stored.map(), plain_tokenizer(tokenizer), provenance, file=OwnFile.at(stored.path))
        return codebook

    def save(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Write the codebook as a directory of codebook.safetensors, tokenizer.json and codebook.json.

        The directory appears when it is complete.

        Raises:
            OutputExistsError: If the directory has content and ``overwrite`` is not set.
        """
        with staged_directory(directory, overwrite=overwrite) as staging:
            self.save_files(staging)
        self._file = OwnFile.at(Path(directory) / WEIGHT_FILE)

    def save_files(self, directory: Path) -> None:
        """Put the codebook's three files into a directory that exists.

        The table is hard-linked where it already has a file of its own, so that a checkpoint costs no second copy.
        """
        self._save_table(directory / WEIGHT_FILE)
        with staged_file(directory / TOKENIZER_FILE) as path:
            path.write_text(self.tokenizer.to_str(pretty=True), encoding="utf-8")
        with staged_file(directory / PROVENANCE_FILE) as path:
            path.write_text(json.dumps(asdict(self.provenance), indent=2) + "\n", encoding="utf-8")

    def _save_table(self, path: Path) -> None:
        if self._file is not None and self._file.is_still_there():
            if self._file == OwnFile.at(path):
                return
            with suppress(OSError), staged_file(path) as staging:  # another file system, or one without links
                os.link(self._file.path, staging)
        if self._file is None or OwnFile.at(path) != self._file:
            write_tensor(path, TENSOR_NAME, self.dtype, self.provenance.shape, byte_chunks(self._table))
        # The newest file is the one that lives longest: old checkpoints are what a training run deletes.
        self._file = OwnFile.at(path)

    def __deepcopy__(self, memo: dict[int, Any]) -> Codebook:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the same file instead of being sent the table."""
        state = {key: value for key, value in self.__dict__.items() if key != "weight"}
        if self._file is not None and self._file.is_still_there():
            del state["_table"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_table" not in state:
            self._table = stored_tensor(state["_file"].path, TENSOR_NAME).map()

    def __repr__(self) -> str:
        source = f", source={self.provenance.source!r}" if self.provenance.source else ""
        return f"Codebook([{self.num_embeddings}, {self.embedding_dim}] {self.dtype}{source})"


def _as_array(weight: torch.Tensor) -> tuple[Table, str]:
    """A tensor's memory as an array [V, D], bfloat16 as its bits, and its dtype's name."""
    import torch

    dtype = str(weight.dtype).removeprefix("torch.")
    if weight.ndim != 2 or 0 in weight.shape or dtype not in STORAGE_DTYPES:
        raise CodebookError(
            f"A token table is [V, D] of {', '.join(STORAGE_DTYPES)}; this is {list(weight.shape)} of {dtype}."
        )
    weight = weight.detach().cpu().contiguous()
    return (weight.view(torch.uint16) if dtype == "bfloat16" else weight).numpy(), dtype

"""Where a token table is (in a directory, a file, the installed wheel or on the Hub), and the record of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wordllama_st.codebook.checkpoint import Checkpoint
from wordllama_st.codebook.token_table import ArrayRows, FoundTable
from wordllama_st.codebook.tokenizer_files import find_tokenizer, read_tokenizer
from wordllama_st.errors import CodebookError
from wordllama_st.static import released
from wordllama_st.static.formats import sentence_transformers as static_format
from wordllama_st.storage.links import file_inside
from wordllama_st.storage.safetensors_file import TENSOR_NAME
from wordllama_st.storage.tokenizer import TOKENIZER_FILE

#: The table of a saved codebook, and where it comes from.
WEIGHT_FILE, PROVENANCE_FILE = "codebook.safetensors", "codebook.json"


@dataclass(frozen=True)
class Provenance:
    """Where a token table comes from.

    Attributes:
        source: The released name, checkpoint, file or repository; None for a tensor in memory.
        tensor_name: Its key there.
        shape: (V, D).
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``.
        sha256: Of the table's bytes.
        commit: Of the repository, if it comes from the Hub.
        trimmed_rows: The model's rows behind the tokenizer's last id, which the table leaves out.
        tensor_sha256: That of the tensor with these rows, if there are any.
        zero_rows: Rows of zeros, for added tokens that the model has no row for.
        parts: The provenance of each table that a concatenated one has side by side, and its scale.
        special_tokens: The tokens that stand for no text, and that no text has.
        tolerated: The special tokens in which the parts' vocabularies differ.
    """

    source: str | None
    tensor_name: str | None
    shape: tuple[int, int]
    dtype: str
    sha256: str
    commit: str | None = None
    trimmed_rows: int = 0
    tensor_sha256: str | None = None
    zero_rows: int = 0
    parts: tuple[dict[str, object], ...] = ()
    special_tokens: tuple[str, ...] = ()
    tolerated: tuple[str, ...] = ()

    @classmethod
    def read(cls, source: Path) -> Provenance:
        """Read a codebook.json; raises CodebookError if it is none."""
        try:
            fields: dict[str, Any] = dict(json.loads(source.read_text(encoding="utf-8")))
            tuples = fields.keys() & {"shape", "parts", "special_tokens", "tolerated"}
            return cls(**fields | {key: tuple(fields[key]) for key in tuples})
        except (ValueError, TypeError, RecursionError) as error:
            raise CodebookError(f"{source} is not a codebook's provenance: {error}.") from error

    def write(self, path: Path) -> None:
        """Write a codebook.json."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def find_table(
    source: str | Path, *, tensor_name: str | None = None, revision: str | None = None, token: bool | str | None = None
) -> FoundTable:
    """Find a model's token table and tokenizer; nothing of the table is read yet.

    The arguments and errors are those of :meth:`~wordllama_st.Codebook.from_pretrained`.
    """
    path, name = Path(source), str(source)
    if path.suffix == ".gguf" and path.is_file():
        from wordllama_st.codebook.gguf_file import open_gguf

        return open_gguf(path, tensor_name)
    if path.exists():
        if tensor_name is None and (path / WEIGHT_FILE).is_file():
            return open_directory(path)
        if tensor_name is None and (static := static_format.find(path)) is not None:
            return open_directory(path, *(file.relative_to(path).as_posix() for file in static))
        checkpoint = Checkpoint(path)
    elif released.is_released(name):
        files = released.fetch(name, revision=revision, token=token)
        found = _open_table(files.weights, files.tokenizer, name, tensor_name or TENSOR_NAME)
        # The first columns of a Matryoshka table are its shorter selves.
        columns = found.rows.block(0, found.rows.shape[0])[:, : files.model.dim]
        return replace(found, rows=ArrayRows(np.ascontiguousarray(columns), found.rows.dtype))
    else:
        # Importing the Hub client takes a tenth of a second, which local files need not wait for.
        from wordllama_st.codebook.hub import HubCheckpoint

        checkpoint = HubCheckpoint(name, revision, token)
    rows, tensor_name, architecture = checkpoint.find_table(tensor_name)
    tokenizer = find_tokenizer(checkpoint)
    return FoundTable(rows, tokenizer, checkpoint.name, tensor_name, architecture, checkpoint.commit)


def open_directory(directory: Path, weights: str = WEIGHT_FILE, tokenizer: str = TOKENIZER_FILE) -> FoundTable:
    """Open the table in a directory; CodebookError if a link there leads out of the directory."""
    table, its_tokenizer = (file_inside(directory, name, CodebookError) for name in (weights, tokenizer))
    return _open_table(table, its_tokenizer, str(directory))


def _open_table(weights: Path, tokenizer: Path, source: str, tensor_name: str = TENSOR_NAME) -> FoundTable:
    """Map a tensor of a safetensors file, and read its tokenizer.json."""
    return FoundTable(ArrayRows.from_file(weights, tensor_name), read_tokenizer(tokenizer), source, tensor_name)

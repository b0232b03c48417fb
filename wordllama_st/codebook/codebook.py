"""The codebook: a language model's token table and the tokenizer whose ids are its rows."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer
from tqdm import tqdm

from wordllama_st.codebook.concat import ConcatenatedRows, check_vocabularies
from wordllama_st.codebook.find import PROVENANCE_FILE, WEIGHT_FILE, Provenance, find_table, open_directory
from wordllama_st.codebook.token_table import ArrayRows, CheckedRows, FoundTable, Rows, blocks, prefetched
from wordllama_st.disk import TEMPORARY
from wordllama_st.errors import ArgumentError, CodebookError, CodebookNotFoundError
from wordllama_st.storage.links import file_inside
from wordllama_st.storage.safetensors_file import TENSOR_NAME, table_bytes, write_tensor
from wordllama_st.storage.staging import OwnFile, staged_directory, staged_file
from wordllama_st.storage.tokenizer import (
    TOKENIZER_FILE,
    num_token_ids,
    plain_tokenizer,
    special_tokens,
    text_tokenizer,
)

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

#: Where a saved model keeps its input module.
TRAINED_MODEL_FOLDER = "0_LLMTokenEmbedding"


class Codebook:
    """A frozen token table [V, D] and the tokenizer whose ids are its rows.

    The table is mapped from its file in the dtype it is stored in: opening a codebook of several gigabytes takes
    neither time nor memory. It never changes; copies of a codebook share it.

    Args:
        weight: The token table, [V, D], float32, float16 or bfloat16.
        tokenizer: Its tokenizer. The codebook's own copy neither pads, truncates nor adds special tokens.
        source: What to name as the origin in :attr:`provenance`.

    Raises:
        CodebookError: If the table is not two-dimensional floats, has a row that is not finite, or has fewer rows
            than the tokenizer has ids.
    """

    tokenizer: Tokenizer

    def __init__(self, weight: torch.Tensor, tokenizer: Tokenizer, *, source: str | None = None) -> None:
        self._set(*_fit(FoundTable(ArrayRows.from_tensor(weight), tokenizer, source or "")))
        self._finish_check()

    def _set(self, rows: Rows, tokenizer: Tokenizer, provenance: Provenance) -> None:
        self._rows = rows
        self._provenance = provenance
        self._file: OwnFile | None = None
        self._parts: tuple[tuple[Codebook, float], ...] = ()
        self.tokenizer = tokenizer

    def _finish_check(self) -> None:
        """Check and hash the table, unless that is done."""
        if isinstance(self._rows, CheckedRows):
            sha256, tensor_sha256 = self._rows.finish()
            parts = tuple(asdict(part.provenance) | {"scale": scale} for part, scale in self._parts)
            self._provenance = replace(self._provenance, sha256=sha256, tensor_sha256=tensor_sha256, parts=parts)
            self._rows, self._parts = self._rows.rows, ()

    @property
    def provenance(self) -> Provenance:
        """Where the table comes from, and what it is."""
        self._finish_check()
        return self._provenance

    @cached_property
    def weight(self) -> torch.Tensor:
        """The token table, [V, D], mapped. Treat it as read-only: writes stay private to this process."""
        import torch

        rows = self._rows.rows if isinstance(self._rows, CheckedRows) else self._rows
        if not isinstance(rows, ArrayRows) and not (self._file and self._file.is_still_there()):
            # A concatenated or dequantized table is in no file yet.
            scratch = Path(tempfile.mkdtemp(prefix=TEMPORARY))
            weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
            self._save_table(scratch / WEIGHT_FILE)
        self._finish_check()
        if not isinstance(self._rows, ArrayRows):
            assert self._file is not None
            self._rows = ArrayRows.from_file(self._file.path, TENSOR_NAME)
        # Made during encode, it would be an inference tensor, which no later training step could use.
        with torch.inference_mode(False):
            weight = torch.from_numpy(self._rows.table)
            return weight.view(torch.bfloat16) if self.dtype == "bfloat16" else weight

    @property
    def dtype(self) -> str:
        """``"float32"``, ``"float16"`` or ``"bfloat16"``."""
        return self._provenance.dtype

    @property
    def num_embeddings(self) -> int:
        """V, the number of rows."""
        return self._provenance.shape[0]

    @property
    def embedding_dim(self) -> int:
        """D, the length of a row."""
        return self._provenance.shape[1]

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        tensor_name: str | None = None,
        revision: str | None = None,
        token: bool | str | None = None,
        zero_added_tokens: bool = False,
        check: bool = True,
    ) -> Codebook:
        """Take the token table out of a model, reading nothing else of its weights.

        The table is the weight of the model's ``get_input_embeddings()``, bit for bit, up to the tokenizer's last id;
        padding rows behind it are left out. A constant that an architecture multiplies the embeddings by, as Gemma
        does by √D, is not applied: training, principal components and cosines do not depend on it.

        Args:
            source: One of

                - the id of a model on the Hub, ``"org/model"``; only the table's own bytes are fetched of its weights,
                - a directory with a transformers checkpoint: config.json, a tokenizer and safetensors weights, in
                  one file or in shards with an index,
                - a .gguf file (dequantized to float32 if it is quantized; needs the extra ``gguf``),
                - a directory that :meth:`save` wrote, or a trained model that has one inside,
                - a directory with a static model, as :func:`~wordllama_st.bake` writes it,
                - the name of a released model, such as the embedded ``"wordllama-l2-supercat-256"``.
            tensor_name: The table's key in the checkpoint, if transformers does not know the architecture or another
                table is wanted.
            revision: Branch, tag or commit, for a model on the Hub.
            token: For a gated or private one, as everywhere in huggingface_hub.
            zero_added_tokens: Give added tokens that the table has no row for a row of zeros. By default such a
                tokenizer is an error.
            check: Whether to hash the table and check that it is finite at once. If not, :meth:`save` (which writes
                nothing if it is not finite), :attr:`weight` or :attr:`provenance` does, which saves a pass over it.

        Raises:
            CodebookNotFoundError: If there is nothing at ``source``, or a part of the checkpoint is missing.
            CodebookError: If a part is there but cannot be used.
            ModelUnavailableError: If the Hub refuses, or cannot be reached and the cache does not have the model.
            MissingExtraError: If ``source`` takes an extra that is not installed.
        """
        directory = Path(source)
        for own in (directory, directory / TRAINED_MODEL_FOLDER):
            if (own / PROVENANCE_FILE).is_file() and tensor_name is None:
                return cls.load(own)
        found = find_table(source, tensor_name=tensor_name, revision=revision, token=token)
        codebook = cls.__new__(cls)
        codebook._set(*_fit(found, zero_added_tokens=zero_added_tokens))
        if check:
            codebook._finish_check()
        return codebook

    @classmethod
    def concat(cls, codebooks: Sequence[Codebook], *, scale: str | Sequence[float] | None = None) -> Codebook:
        """Put the tables of models with one vocabulary side by side: what the WordLlama project calls a supercat.

        Nothing is read before the codebook is saved, or its :attr:`weight` asked for; the latter writes a file in the
        directory for temporary files (``TMPDIR``), so large tables are better saved and loaded.

        Args:
            codebooks: Tables [V, D₁], [V, D₂], …. The tokenizer is the first one's.
            scale: ``"rms"`` to give the rows of each table a root mean square length of one; or a factor for each.

        Returns:
            [V, D₁ + D₂ + …], in the dtype they share, or float32.

        Raises:
            ArgumentError: If there are none, or the scale is no such thing.
            CodebookError: If the vocabularies differ in more than special tokens; or, when the table is read, if the
                scale makes a number too large for the dtype.
        """
        if not codebooks:
            raise ArgumentError("There is nothing to join.")
        names = [codebook._provenance.source or f"table {number}" for number, codebook in enumerate(codebooks, 1)]
        special = [codebook._provenance.special_tokens for codebook in codebooks]
        tolerated = check_vocabularies([codebook.tokenizer for codebook in codebooks], special, names)
        first = codebooks[0]
        rows = ConcatenatedRows([codebook._rows for codebook in codebooks], scale, first.num_embeddings)
        provenance = Provenance(
            " + ".join(names), None, rows.shape, rows.dtype, "", tolerated=tolerated, special_tokens=special[0]
        )
        joined = cls.__new__(cls)
        # The parts are checked where they are read, and so is what scaling makes of them.
        joined._set(CheckedRows(rows, explain=None), first.tokenizer, provenance)
        joined._parts = tuple(zip(codebooks, rows.scales, strict=True))
        return joined

    @classmethod
    def load(cls, source: str | Path) -> Codebook:
        """Open a codebook that :meth:`save` wrote; its table is mapped, not read.

        Raises:
            CodebookNotFoundError: If the directory lacks one of the codebook's files.
            CodebookError: If they do not fit together.
        """
        directory = Path(source)
        for name in (PROVENANCE_FILE, WEIGHT_FILE, TOKENIZER_FILE):
            if not (directory / name).is_file():
                raise CodebookNotFoundError(f"{directory} is no saved codebook: it has no {name}.")
        provenance = Provenance.read(file_inside(directory, PROVENANCE_FILE, CodebookError))
        found = open_directory(directory)
        if (found.rows.shape, found.rows.dtype) != (provenance.shape, provenance.dtype):
            raise CodebookError(
                f"{directory / WEIGHT_FILE} holds a {found.rows.dtype} table of shape {list(found.rows.shape)}, but "
                f"{PROVENANCE_FILE} speaks of {provenance.dtype} and {list(provenance.shape)}: the files "
                f"belong to different codebooks."
            )
        found.check_ids()
        codebook = cls.__new__(cls)
        codebook._set(found.rows, plain_tokenizer(found.tokenizer), provenance)
        codebook._file = OwnFile.at(directory / WEIGHT_FILE)
        return codebook

    def save(self, path: str | Path, *, overwrite: bool = False, show_progress_bar: bool | None = None) -> None:
        """Write a directory of codebook.safetensors, tokenizer.json and codebook.json, which appears when complete.

        Args:
            path: The directory.
            overwrite: Whether to replace a model or codebook there.
            show_progress_bar: None shows it when this package logs at INFO, as sentence-transformers does.

        Raises:
            OutputExistsError: If the directory has content and ``overwrite`` is not set.
            CodebookError: If the table was not checked yet, and has a row that is not finite.
        """
        if show_progress_bar is None:
            show_progress_bar = logger.isEnabledFor(logging.INFO)
        with staged_directory(path, overwrite=overwrite) as staging:
            self.save_files(staging, show_progress_bar=show_progress_bar)
        self._file = OwnFile.at(Path(path) / WEIGHT_FILE)

    def save_files(self, path: Path, *, show_progress_bar: bool = False) -> None:
        """Write the three files into a directory that exists; the table is hard-linked if it has a file of its own."""
        self._save_table(path / WEIGHT_FILE, show_progress_bar)
        with staged_file(path / TOKENIZER_FILE) as staging:
            staging.write_text(self.tokenizer.to_str(pretty=True), encoding="utf-8")
        with staged_file(path / PROVENANCE_FILE) as staging:
            self.provenance.write(staging)

    def _save_table(self, path: Path, show_progress_bar: bool = False) -> None:
        if self._file is not None and self._file.is_still_there():
            if self._file == OwnFile.at(path):
                return
            with suppress(OSError), staged_file(path) as staging:  # another file system, or one without links
                os.link(self._file.path, staging)
        if self._file is None or OwnFile.at(path) != self._file:
            total = table_bytes(self.dtype, self._rows.shape)
            with tqdm(desc="Writing", total=total, unit="B", unit_scale=True, disable=not show_progress_bar) as bar:

                def chunks() -> Iterator[memoryview]:
                    for block in prefetched(blocks(self._rows)):
                        yield block.data.cast("B")
                        bar.update(block.nbytes)

                write_tensor(path, TENSOR_NAME, self.dtype, self._rows.shape, chunks())
        # The newest file is the one that lives longest: old checkpoints are what a training run deletes.
        self._file = OwnFile.at(path)

    def __deepcopy__(self, memo: dict[int, Any]) -> Codebook:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave the table out if it has a file: another process maps that."""
        self._finish_check()
        state = {key: value for key, value in self.__dict__.items() if key != "weight"}
        if self._file is not None and self._file.is_still_there():
            del state["_rows"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_rows" not in state:
            self._rows = ArrayRows.from_file(state["_file"].path, TENSOR_NAME)

    def __repr__(self) -> str:
        source = f", source={self._provenance.source!r}" if self._provenance.source else ""
        return f"Codebook([{self.num_embeddings}, {self.embedding_dim}] {self.dtype}{source})"


def _fit(found: FoundTable, *, zero_added_tokens: bool = False) -> tuple[CheckedRows, Tokenizer, Provenance]:
    """Give a table a row for every id of its tokenizer and no others, to be checked when it is read."""
    found.check_ids(zero_added_tokens)
    source, tokenizer, rows = found.source or None, found.tokenizer, found.rows
    there, wanted = rows.shape[0], num_token_ids(tokenizer)
    if isinstance(rows, ArrayRows) and there > wanted:
        rows = ArrayRows(rows.table[:wanted], rows.dtype)
    elif there != wanted:
        rows = ConcatenatedRows([rows], None, wanted)

    def explain(row: int) -> str:
        return (
            f"Row {row} ({tokenizer.id_to_token(row)!r}) of the table in {source or 'memory'} is not finite. "
            f"The checkpoint is damaged, or was saved by a run that diverged."
        )

    provenance = Provenance(
        source, found.tensor_name, rows.shape, rows.dtype, "", found.commit,
        special_tokens=tuple(sorted(special_tokens(tokenizer))),
        trimmed_rows=max(0, there - wanted), zero_rows=max(0, wanted - there),
    )  # fmt: skip
    checked = CheckedRows(rows, explain, uncut=found.rows if there > wanted else None)
    return checked, text_tokenizer(tokenizer), provenance

"""The codebook: a language model's token table and the tokenizer whose ids are its rows."""

from __future__ import annotations

import json
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

from wordllama_st.codebook.checked_rows import CheckedRows
from wordllama_st.codebook.find import WEIGHT_FILE, find_table
from wordllama_st.codebook.found_table import FoundTable
from wordllama_st.codebook.join import JoinedRows, check_scales, check_vocabularies, common_dtype
from wordllama_st.codebook.token_table import ArrayRows, Rows, ahead, blocks, fitted
from wordllama_st.errors import ArgumentError, CodebookError, CodebookNotFoundError
from wordllama_st.storage.safetensors_file import (
    STORAGE_DTYPES,
    TENSOR_NAME,
    Table,
    stored_tensor,
    table_bytes,
    write_tensor,
)
from wordllama_st.storage.staging import OwnFile, staged_directory, staged_file
from wordllama_st.storage.tokenizer import (
    TOKENIZER_FILE,
    load_tokenizer,
    num_token_ids,
    plain_tokenizer,
    special_tokens,
    text_tokenizer,
    tokens_without_row,
)

if TYPE_CHECKING:
    import torch


from dataclasses import dataclass

logger = logging.getLogger(__name__)

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

    def __init__(self, weight: torch.Tensor, tokenizer: Tokenizer, *, source: str | None = None) -> None:
        self._set_found(FoundTable(_as_rows(weight), tokenizer, source or ""), zero_added_tokens=False)
        self._settle()

    def _set(self, rows: Rows, tokenizer: Tokenizer, provenance: Provenance, file: OwnFile | None = None) -> None:
        self._rows = rows
        self._file = file
        self._parts: tuple[tuple[Codebook, float], ...] = ()
        self._trimmed: Rows | None = None
        self._provenance = provenance
        self.tokenizer = tokenizer

    def _set_found(self, found: FoundTable, *, zero_added_tokens: bool) -> None:
        """Take a table, fitted to its tokenizer; reading it, some time, will check it."""
        _check_ids(found, zero_added_tokens)
        source, tokenizer = found.source or None, found.tokenizer
        there, wanted = found.rows.shape[0], num_token_ids(tokenizer)
        rows = fitted(found.rows, wanted)
        provenance = Provenance(
            source, found.tensor_name, rows.shape, rows.dtype, "", found.commit,
            special_tokens=tuple(sorted(special_tokens(tokenizer))),
            trimmed_rows=max(0, there - wanted), zero_rows=max(0, wanted - there),
        )  # fmt: skip

        def explain(row: int) -> str:
            return (
                f"Row {row} ({tokenizer.id_to_token(row)!r}) of the table in {source or 'memory'} is not finite. "
                f"The checkpoint is damaged, or was saved by a run that diverged."
            )

        self._set(CheckedRows(rows, explain), text_tokenizer(tokenizer), provenance)
        if provenance.trimmed_rows:
            self._trimmed = found.rows

    def _settle(self) -> None:
        """Have the table checked and hashed: now, unless it was read before."""
        if isinstance(self._rows, CheckedRows):
            sha256 = self._rows.finish()
            made = replace(self._provenance, sha256=sha256.hexdigest())
            if self._trimmed is not None:
                for block in blocks(self._trimmed, first=made.shape[0]):
                    sha256.update(block.data.cast("B"))
                made = replace(made, tensor_sha256=sha256.hexdigest())
            parts = tuple(asdict(part.provenance) | {"scale": scale} for part, scale in self._parts)
            self._provenance = replace(made, parts=parts)
            self._rows, self._trimmed, self._parts = self._rows.rows, None, ()

    @property
    def provenance(self) -> Provenance:
        """Where the table comes from, and what it is."""
        self._settle()
        return self._provenance

    @cached_property
    def weight(self) -> torch.Tensor:
        """The token table, [V, D], mapped. Treat it as read-only: writes stay private to this process."""
        import torch

        # Made during encode, it would be an inference tensor, which no later training step could use.
        with torch.inference_mode(False):
            weight = torch.from_numpy(self._mapped())
            return weight.view(torch.bfloat16) if self.dtype == "bfloat16" else weight

    def _mapped(self) -> Table:
        """The table as one array; joined and dequantised ones are written to a file of their own first."""
        rows = self._rows.rows if isinstance(self._rows, CheckedRows) else self._rows
        if not isinstance(rows, ArrayRows) and not (self._file and self._file.is_still_there()):
            scratch = Path(tempfile.mkdtemp(prefix="wordllama-st-"))
            weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
            self._save_table(scratch / WEIGHT_FILE)
        self._settle()
        if not isinstance(self._rows, ArrayRows):
            assert self._file is not None
            self._rows = ArrayRows(stored_tensor(self._file.path, TENSOR_NAME).map(), self.dtype)
        return self._rows.table

    @property
    def dtype(self) -> str:
        """The dtype of the table: ``"float32"``, ``"float16"`` or ``"bfloat16"``."""
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
        rows behind it, which some models have to make their number round, are left out. Where an architecture
        multiplies what it looks up by a constant, as Gemma does by √D, the table is without it: training, principal
        components and cosines do not depend on it.

        Args:
            source: One of

                - the id of a model on the Hub, ``"org/model"``; only the table's own bytes are fetched of its weights,
                - a directory with a transformers checkpoint: config.json, a tokenizer and safetensors weights, in
                  one file or in shards with an index,
                - a .gguf file (dequantised to float32 if it is quantised; needs the extra ``gguf``),
                - a directory that :meth:`save` wrote, or a trained model that has one inside,
                - a directory with a static model, as :func:`~wordllama_st.bake` writes it,
                - the name of a released model, such as the embedded ``"wordllama-l2-supercat-256"``.
            tensor_name: The table's key in the checkpoint, where the architecture is unknown to transformers or the
                table wanted is another one. By default it is the weight of ``get_input_embeddings()``.
            revision: Branch, tag or commit, for a model on the Hub.
            token: For a gated or private one, as everywhere in huggingface_hub.
            zero_added_tokens: Give added tokens that the table has no row for a row of zeros, so that they count for
                nothing. By default such a tokenizer is an error.
            check: Whether to read the table at once, hash it and see that all of it is finite. If not, what reads it
                anyway checks it on the way: :meth:`save` (which then writes nothing if it is not), :attr:`weight` or
                :attr:`provenance`. With tables of several gigabytes that saves a pass over them.

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
        codebook._set_found(found, zero_added_tokens=zero_added_tokens)
        if check:
            codebook._settle()
        return codebook

    @classmethod
    def concat(cls, codebooks: Sequence[Codebook], *, scale: str | Sequence[float] | None = None) -> Codebook:
        """Put the tables of models with one vocabulary side by side: what the WordLlama project calls a supercat.

        Nothing is read or copied before the codebook is saved, or its :attr:`weight` asked for; the latter writes a
        file in the directory for temporary files (``TMPDIR``), so large tables are better saved and loaded.

        Args:
            codebooks: Tables [V, D₁], [V, D₂], …. The tokenizer is the first one's.
            scale: ``"rms"`` to give the rows of each table a root mean square length of one, so that none drowns the
                others; or a factor for each.

        Returns:
            [V, D₁ + D₂ + …], in the dtype they share, or float32.

        Raises:
            ArgumentError: If there are none, or the scale is no such thing.
            CodebookError: If the vocabularies differ in more than special tokens. (Where the table is read, some time
                after: if the scale makes a number too large for the dtype.)
        """
        if not codebooks:
            raise ArgumentError("There is nothing to join.")
        parts = tuple(codebook._rows for codebook in codebooks)
        names = [codebook._provenance.source or f"table {number}" for number, codebook in enumerate(codebooks, 1)]
        special = [codebook._provenance.special_tokens for codebook in codebooks]
        tolerated = check_vocabularies([codebook.tokenizer for codebook in codebooks], special, names)
        scales = check_scales(scale, parts)
        rows = JoinedRows(parts, scales, codebooks[0].num_embeddings, common_dtype([part.dtype for part in parts]))
        provenance = Provenance(
            " + ".join(names), None, rows.shape, rows.dtype, "", tolerated=tolerated, special_tokens=special[0]
        )
        joined = cls.__new__(cls)
        # The parts are checked where they are read, and so is what scaling makes of them.
        joined._set(CheckedRows(rows, explain=None), codebooks[0].tokenizer, provenance)
        joined._parts = tuple(zip(codebooks, scales, strict=True))
        return joined

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
            provenance = Provenance(
                **fields
                | {
                    key: tuple(fields[key])
                    for key in ("shape", "parts", "special_tokens", "tolerated")
                    if key in fields
                }
            )
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
        rows = ArrayRows(stored.map(), stored.dtype)
        _check_ids(FoundTable(rows, tokenizer, str(directory)), zero_added_tokens=False)
        codebook._set(rows, plain_tokenizer(tokenizer), provenance, file=OwnFile.at(stored.path))
        return codebook

    def save(self, directory: str | Path, *, overwrite: bool = False, show_progress_bar: bool | None = None) -> None:
        """Write the codebook as a directory of codebook.safetensors, tokenizer.json and codebook.json.

        The directory appears when it is complete.

        Args:
            directory: Where to.
            overwrite: Whether to replace what is there.
            show_progress_bar: None shows it when this package logs at INFO, as the library does.

        Raises:
            OutputExistsError: If the directory has content and ``overwrite`` is not set.
            CodebookError: If the table was not checked yet, and has a row that is not finite.
        """
        if show_progress_bar is None:
            show_progress_bar = logger.isEnabledFor(logging.INFO)
        with staged_directory(directory, overwrite=overwrite) as staging:
            self.save_files(staging, show_progress_bar=show_progress_bar)
        self._file = OwnFile.at(Path(directory) / WEIGHT_FILE)

    def save_files(self, directory: Path, *, show_progress_bar: bool = False) -> None:
        """Put the codebook's three files into a directory that exists.

        The table is hard-linked where it already has a file of its own, so that a checkpoint costs no second copy.
        """
        self._save_table(directory / WEIGHT_FILE, show_progress_bar)
        with staged_file(directory / TOKENIZER_FILE) as path:
            path.write_text(self.tokenizer.to_str(pretty=True), encoding="utf-8")
        with staged_file(directory / PROVENANCE_FILE) as path:
            path.write_text(json.dumps(asdict(self.provenance), indent=2) + "\n", encoding="utf-8")

    def _save_table(self, path: Path, show_progress_bar: bool = False) -> None:
        if self._file is not None and self._file.is_still_there():
            if self._file == OwnFile.at(path):
                return
            with suppress(OSError), staged_file(path) as staging:  # another file system, or one without links
                os.link(self._file.path, staging)
        if self._file is None or OwnFile.at(path) != self._file:
            shape = self._provenance.shape
            total = table_bytes(self.dtype, shape)
            with tqdm(desc="Writing", total=total, unit="B", unit_scale=True, disable=not show_progress_bar) as bar:

                def chunks() -> Iterator[memoryview]:
                    for block in ahead(blocks(self._rows)):
                        yield block.data.cast("B")
                        bar.update(block.nbytes)

                write_tensor(path, TENSOR_NAME, self.dtype, shape, chunks())
        # The newest file is the one that lives longest: old checkpoints are what a training run deletes.
        self._file = OwnFile.at(path)

    def __deepcopy__(self, memo: dict[int, Any]) -> Codebook:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the same file instead of being sent the table."""
        self._settle()
        state = {key: value for key, value in self.__dict__.items() if key != "weight"}
        if self._file is not None and self._file.is_still_there():
            del state["_rows"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_rows" not in state:
            stored = stored_tensor(state["_file"].path, TENSOR_NAME)
            self._rows = ArrayRows(stored.map(), stored.dtype)

    def __repr__(self) -> str:
        source = f", source={self._provenance.source!r}" if self._provenance.source else ""
        return f"Codebook([{self.num_embeddings}, {self.embedding_dim}] {self.dtype}{source})"


def _check_ids(found: FoundTable, zero_added_tokens: bool) -> None:
    """Refuse a tokenizer with ids that the table has no row for."""
    rows = found.rows.shape[0]
    beyond = tokens_without_row(found.tokenizer, rows)
    added = {token.content for token in found.tokenizer.get_added_tokens_decoder().values()}
    if zero_added_tokens:
        beyond = [(token, token_id) for token, token_id in beyond if token not in added]
    if beyond:
        mend = (
            "Give added tokens rows of zeros with zero_added_tokens (--zero-added-tokens)."
            if all(token in added for token, _ in beyond)
            else "Use the tokenizer that the model was trained with."
        )
        raise CodebookError(
            f"The table of {found.source or 'this codebook'} has {rows} rows, but its tokenizer has ids "
            f"beyond them: {', '.join(f'{token!r} ({token_id})' for token, token_id in beyond[:10])}"
            f"{f' and {len(beyond) - 10} more' if len(beyond) > 10 else ''}. {mend}"
        )


def _as_rows(weight: torch.Tensor) -> ArrayRows:
    """A tensor's memory as rows [V, D]."""
    import torch

    dtype = str(weight.dtype).removeprefix("torch.")
    if weight.ndim != 2 or 0 in weight.shape or dtype not in STORAGE_DTYPES:
        raise CodebookError(
            f"A token table is [V, D] of {', '.join(STORAGE_DTYPES)}; this is {list(weight.shape)} of {dtype}."
        )
    weight = weight.detach().cpu().contiguous()
    return ArrayRows((weight.view(torch.uint16) if dtype == "bfloat16" else weight).numpy(), dtype)


@dataclass(frozen=True)
class Provenance:
    """Where a token table comes from.

    Attributes:
        source: The released name, checkpoint, file or repository it was read from; None for a tensor in memory.
        tensor_name: Its key there.
        shape: (V, D).
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``.
        sha256: Of the table's bytes.
        commit: Of the repository, if it comes from the Hub.
        trimmed_rows: Rows behind the tokenizer's last id that the model has, and the table has not.
        tensor_sha256: Of the tensor's bytes with these rows; None where there are none.
        zero_rows: Rows of zeros, for added tokens that the model has no row for.
        parts: Where the tables come from that a joined one has side by side, with what each was multiplied by.
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

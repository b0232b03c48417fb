"""The codebook: a language model's token table and the tokenizer whose ids are its rows."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from wordllama_st.codebook.find import WEIGHT_FILE, find_table
from wordllama_st.codebook.found_table import FoundTable
from wordllama_st.codebook.join import JoinedRows, check_scales, check_vocabularies, common_dtype
from wordllama_st.codebook.own_file import OwnFile
from wordllama_st.codebook.provenance import Provenance, check_and_hash
from wordllama_st.codebook.rows import ArrayRows, Rows, blocks, fitted
from wordllama_st.errors import ArgumentError, CodebookError, CodebookNotFoundError
from wordllama_st.safetensors_file import STORAGE_DTYPES, TENSOR_NAME, stored_tensor, write_tensor
from wordllama_st.staging import staged_directory, staged_file
from wordllama_st.tokenization import (
    TOKENIZER_FILE,
    id_count,
    load_tokenizer,
    plain_tokenizer,
    special_tokens,
    text_tokenizer,
    tokens_beyond,
)

if TYPE_CHECKING:
    import torch

PROVENANCE_FILE = "codebook.json"
#: Padding rows hashed at a time.
_TAIL_ROWS = 256
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
        self._set_found(FoundTable(_as_rows(weight), tokenizer, source or ""), zero_added_tokens=False)

    def _set(self, rows: Rows, tokenizer: Tokenizer, provenance: Provenance, file: OwnFile | None = None) -> None:
        self._rows = rows
        self._file = file
        self.tokenizer = tokenizer
        self.provenance = provenance

    def _set_found(self, found: FoundTable, *, zero_added_tokens: bool) -> None:
        """Fit a table to its tokenizer, check it, and take it."""
        _check_ids(found, zero_added_tokens)
        source, tokenizer = found.source or None, found.tokenizer
        there, wanted = found.rows.shape[0], id_count(tokenizer)
        rows = fitted(found.rows, wanted)

        def explain(row: int) -> str:
            return (
                f"Row {row} ({tokenizer.id_to_token(row)!r}) of the table in {source or 'memory'} is not finite. "
                f"The checkpoint is damaged, or was saved by a run that diverged."
            )

        sha256 = check_and_hash(rows, explain)
        provenance = Provenance(
            source, found.tensor_name, rows.shape, rows.dtype, sha256.hexdigest(), found.commit,
            special_tokens=tuple(sorted(special_tokens(tokenizer))),
            trimmed_rows=max(0, there - wanted), zero_rows=max(0, wanted - there),
        )  # fmt: skip
        if provenance.trimmed_rows:
            for start in range(wanted, there, _TAIL_ROWS):
                sha256.update(found.rows.block(start, min(start + _TAIL_ROWS, there)).data.cast("B"))
            provenance = replace(provenance, tensor_sha256=sha256.hexdigest())
        self._set(rows, text_tokenizer(tokenizer), provenance)

    @cached_property
    def weight(self) -> torch.Tensor:
        """The token table, [V, D], mapped. Treat it as read-only: writes stay private to this process."""
        import torch

        # Made during encode, it would be an inference tensor, which no later training step could use.
        with torch.inference_mode(False):
            weight = torch.from_numpy(self._mapped().table)
            return weight.view(torch.bfloat16) if self.dtype == "bfloat16" else weight

    def _mapped(self) -> ArrayRows:
        """The table as one array; joined and dequantised ones are written to a file of their own first."""
        if isinstance(self._rows, ArrayRows):
            return self._rows
        if self._file is None or not self._file.is_still_there():
            scratch = Path(tempfile.mkdtemp(prefix="wordllama-st-"))
            weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
            self._save_table(scratch / WEIGHT_FILE)
        assert self._file is not None
        self._rows = ArrayRows(stored_tensor(self._file.path, TENSOR_NAME).map(), self.dtype)
        return self._rows

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
        zero_added_tokens: bool = False,
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
        return codebook

    @classmethod
    def concat(cls, codebooks: Sequence[Codebook], *, scale: str | Sequence[float] | None = None) -> Codebook:
        """Put the tables of models with one vocabulary side by side: what the WordLlama project calls a supercat.

        Nothing is copied before the codebook is saved, or its :attr:`weight` asked for; the latter writes a file in
        the directory for temporary files (``TMPDIR``), so large tables are better saved and loaded.

        Args:
            codebooks: Tables [V, D₁], [V, D₂], …. The tokenizer is the first one's.
            scale: ``"rms"`` to give the rows of each table a root mean square length of one, so that none drowns the
                others; or a factor for each.

        Returns:
            [V, D₁ + D₂ + …], in the dtype they share, or float32.

        Raises:
            ArgumentError: If there are none, or the scale is no such thing.
            CodebookError: If the vocabularies differ in more than special tokens.
        """
        if not codebooks:
            raise ArgumentError("There is nothing to join.")
        parts = tuple(codebook._rows for codebook in codebooks)
        names = [codebook.provenance.source or f"table {number}" for number, codebook in enumerate(codebooks, 1)]
        tolerated = check_vocabularies(
            [codebook.tokenizer for codebook in codebooks],
            [codebook.provenance.special_tokens for codebook in codebooks],
            names,
        )
        scales = check_scales(scale, parts)
        rows = JoinedRows(parts, scales, codebooks[0].num_embeddings, common_dtype([part.dtype for part in parts]))
        sha256 = check_and_hash(rows, lambda row: f"Row {row} of the joined table is not finite.")
        provenance = Provenance(
            " + ".join(names), None, rows.shape, rows.dtype, sha256.hexdigest(), tolerated=tolerated,
            special_tokens=codebooks[0].provenance.special_tokens,
            parts=tuple(
                asdict(codebook.provenance) | {"scale": factor}
                for codebook, factor in zip(codebooks, scales, strict=True)
            ),
        )  # fmt: skip
        joined = cls.__new__(cls)
        joined._set(rows, codebooks[0].tokenizer, provenance)
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
            chunks = (block.data.cast("B") for block in blocks(self._rows))
            write_tensor(path, TENSOR_NAME, self.dtype, self.provenance.shape, chunks)
        # The newest file is the one that lives longest: old checkpoints are what a training run deletes.
        self._file = OwnFile.at(path)

    def __deepcopy__(self, memo: dict[int, Any]) -> Codebook:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the same file instead of being sent the table."""
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
        source = f", source={self.provenance.source!r}" if self.provenance.source else ""
        return f"Codebook([{self.num_embeddings}, {self.embedding_dim}] {self.dtype}{source})"


def _check_ids(found: FoundTable, zero_added_tokens: bool) -> None:
    """Refuse a tokenizer with ids that the table has no row for."""
    rows = found.rows.shape[0]
    beyond = tokens_beyond(found.tokenizer, rows)
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

"""Inspect a token table before a model is made of it: its shape, its tokenizer, and its unusual rows.

A table that no codebook could be made of, with rows that are not finite or missing, is reported, not refused. The table
is read once from front to back, and once more for neighbors, with only a few megabytes of it in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tqdm import tqdm

from wordllama_st.analysis.text_pieces import is_byte_level
from wordllama_st.codebook import FoundTable, find_table
from wordllama_st.codebook.token_table import as_float32, block_starts
from wordllama_st.errors import ArgumentError
from wordllama_st.storage.safetensors_file import Table, table_bytes
from wordllama_st.storage.tokenizer import num_token_ids, tokens_without_row

logger = logging.getLogger(__name__)

#: Bytes of a table at a time; as float32, and with what is computed from it, a block takes several times as many.
BLOCK_BYTES = 4 * 2**20
#: The quantiles of the norms that are reported, in percent.
QUANTILES = (0, 1, 25, 50, 75, 99, 100)
#: How many of the tokens with something wrong are named.
EXAMPLES = 5
#: How the first token of a word may begin. A token as it was typed comes first: "Ġking" can mean nothing else.
WORD_STARTS = ("", "▁", "Ġ")


@dataclass(frozen=True)
class Neighbor:
    """A token, and the cosine similarity of its row and another token's, both less the mean row."""

    token_id: int
    token: str
    cosine: float


@dataclass(frozen=True)
class Neighbors:
    """The tokens nearest to the one that was asked for as ``name``, the nearest first."""

    name: str
    token_id: int
    token: str
    nearest: tuple[Neighbor, ...]


@dataclass(frozen=True)
class TableReport:
    """What :func:`inspect_table` found. The examples are the first few tokens of those counted in the line before."""

    source: str
    architecture: str | None
    tensor_name: str | None
    commit: str | None
    shape: tuple[int, int]  #: Of the table as it is stored, padding rows included; so are ``dtype`` and ``bytes``.
    dtype: str
    bytes: int
    tokenizer_kind: str  #: ``"BPE"``, ``"byte-level BPE"``, ``"WordPiece"``, ``"Unigram"`` or another model's name.
    vocabulary_size: int  #: Added tokens included.
    added_tokens: int
    special_tokens: int
    padding_rows: int  #: Rows after the tokenizer's last id.
    ids_beyond_rows: int  #: Tokens without a row.
    beyond_examples: tuple[str, ...]
    zero_rows: int  #: Tokens whose rows are all zero.
    zero_examples: tuple[str, ...]
    duplicate_rows: int  #: Tokens whose rows, not zero, equal an earlier token's bit for bit; each example has both.
    duplicate_examples: tuple[tuple[str, str], ...]
    nonfinite_rows: int  #: Rows with a NaN or an infinity, padding included.
    nonfinite_examples: tuple[str, ...]
    norm_quantiles: dict[int, float]  #: By percent, of the tokens' finite rows; empty if there are none but zeros.
    mean_norm: float | None  #: Of the same rows.
    anisotropy: float | None  #: The norm of their mean by their mean norm: 0 without a common direction, at most 1.
    neighbors: tuple[Neighbors, ...]
    norms: npt.NDArray[np.float64] = field(repr=False, compare=False)  #: Of every row, [V]; NaN if it is not finite.
    mean: npt.NDArray[np.float64] = field(repr=False, compare=False)  #: Of the tokens' finite rows, [D].
    has_token: npt.NDArray[np.bool_] = field(repr=False, compare=False)  #: Whether a row is a token's, [V].
    found: FoundTable = field(repr=False, compare=False)  #: The table itself.

    def to_json(self) -> str:
        """Write the report without the table and the arrays as JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        return json.dumps(plain, default=asdict, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        def counted(count: int, examples: Sequence[str]) -> str:
            listed = ", ".join([*examples, "..."] if count > len(examples) else examples)
            return f"{count:,}: {listed}" if count else "0"

        norms = ", ".join(f"{percent} %: {norm:.4g}" for percent, norm in self.norm_quantiles.items())
        lines = {
            "source": self.source + (f" at {self.commit}" if self.commit else ""),
            "architecture": self.architecture,
            "tensor": self.tensor_name,
            "table": f"{self.shape[0]:,} rows x {self.shape[1]:,} columns, {self.dtype}, {self.bytes / 1e6:,.1f} MB",
            "tokenizer": f"{self.tokenizer_kind}, {self.vocabulary_size:,} tokens "
            f"({self.added_tokens:,} added, {self.special_tokens:,} special)",
            "padding rows": f"{self.padding_rows:,}",
            "tokens without a row": counted(self.ids_beyond_rows, self.beyond_examples),
            "rows not finite": counted(self.nonfinite_rows, self.nonfinite_examples),
            "rows all zero": counted(self.zero_rows, self.zero_examples),
            "duplicate rows": counted(self.duplicate_rows, [" = ".join(pair) for pair in self.duplicate_examples]),
            "norms": norms or "no token has a row that is finite and not zero",
            "norm of the mean row": norms and f"{self.anisotropy:.1%} of the mean norm, {self.mean_norm:.4g}",
        }
        text = [f"{label:<20}  {line}" for label, line in lines.items() if line]
        for near in self.neighbors:
            text.append(f"\nnearest to {near.token} (id {near.token_id}), by cosine of rows less the mean row")
            text += [f"  {other.cosine:>6.3f}  {other.token_id:>7}  {other.token}" for other in near.nearest]
        return "\n".join(text)


def inspect_table(
    source: str | Path | FoundTable,
    tokens: Sequence[str] = (),
    num_neighbors: int = 8,
    *,
    tensor_name: str | None = None,
    revision: str | None = None,
    token: bool | str | None = None,
    show_progress_bar: bool | None = None,
) -> TableReport:
    """Inspect the token table of a language model.

    Neighbors are ranked by the cosine similarity of rows less the mean row: in the tables of language models the mean
    row is long and makes all rows alike.

    Args:
        source: A table that was found, or what :meth:`~wordllama_st.Codebook.from_pretrained` finds one in, with its
            ``tensor_name``, ``revision`` and ``token``.
        tokens: The tokens, or words that are one token, to find ``num_neighbors`` neighbors of.
        show_progress_bar: None shows it when this package logs at INFO, as sentence-transformers does.

    Raises:
        ArgumentError: If ``num_neighbors`` is less than one, or one of ``tokens`` is not a token of the tokenizer, or
            has no row, or one that is zero or not finite.
        CodebookError: If no table is found; likewise the other errors of ``from_pretrained``.
    """
    if num_neighbors < 1:
        raise ArgumentError(f"The number of neighbors is at least one, not {num_neighbors}.")
    found = source
    if not isinstance(found, FoundTable):
        found = find_table(found, tensor_name=tensor_name, revision=revision, token=token)
    names = _TokenNames(found.tokenizer)
    ids = [names.find(name) for name in tokens]
    report = _scan(found, names, show_progress_bar)
    rows = len(report.norms)
    for name, token_id in zip(tokens, ids, strict=True):
        if token_id >= rows:
            raise ArgumentError(f"The table has no row for {name!r}: its id is {token_id}, of {rows} rows.")
        if not report.norms[token_id] > 0:
            what = "all zero" if report.norms[token_id] == 0 else "not finite"
            raise ArgumentError(f"{name!r} has no neighbors: its row, {token_id}, is {what}.")
    nearest = _nearest(report, ids, num_neighbors, show_progress_bar) if ids else []
    neighbors = (
        Neighbors(name, i, names.show(i), tuple(Neighbor(j, names.show(j), cosine) for j, cosine in near))
        for name, i, near in zip(tokens, ids, nearest, strict=True)
    )
    return replace(report, neighbors=tuple(neighbors))


def float_blocks(found: FoundTable, doing: str, show_progress_bar: bool | None) -> Iterator[tuple[int, Table, Table]]:
    """Read a table from front to back: yield each block's first row, the block as stored, and as float32."""
    if show_progress_bar is None:
        show_progress_bar = logger.isEnabledFor(logging.INFO)
    with tqdm(desc=doing, total=found.rows.shape[0], unit=" rows", disable=not show_progress_bar, leave=False) as bar:
        for start, stop in block_starts(found.rows, BLOCK_BYTES):
            block = found.rows.block(start, stop)
            yield start, block, as_float32(block, found.rows.dtype)
            bar.update(stop - start)


def _scan(found: FoundTable, names: _TokenNames, show_progress_bar: bool | None) -> TableReport:
    """Read a table once, and report all but neighbors."""
    (rows, dim), dtype, tokenizer = found.rows.shape, found.rows.dtype, found.tokenizer
    has_token = np.zeros(rows, dtype=bool)
    has_token[[i for i in tokenizer.get_vocab(with_added_tokens=True).values() if i < rows]] = True
    norms, total, usable = np.full(rows, np.nan), np.zeros(dim), has_token.copy()
    first_rows: dict[bytes, int] = {}
    duplicates: list[tuple[int, int]] = []
    for start, block, numbers in float_blocks(found, "Reading the table", show_progress_bar):
        place = slice(start, start + len(block))
        usable[place] &= (finite := np.isfinite(numbers).all(axis=1))
        # In float64, so that no square of a finite number overflows or vanishes.
        squares = np.einsum("ij,ij->i", numbers, numbers, dtype=np.float64)
        norms[place] = np.sqrt(np.where(finite, squares, np.nan))
        total += numbers[usable[place]].sum(axis=0, dtype=np.float64)
        for row in np.flatnonzero(has_token[place] & (norms[place] != 0)).tolist():
            digest = hashlib.blake2b(block[row].data, digest_size=16).digest()
            if (first := first_rows.setdefault(digest, start + row)) != start + row:
                duplicates.append((start + row, first))
    mean = total / max(1, int(usable.sum()))
    mean_norm = float(norms[usable].mean()) if usable.any() else None
    quantiles = np.percentile(norms[usable], QUANTILES).tolist() if mean_norm else []
    zero, nonfinite = np.flatnonzero((norms == 0) & has_token), np.flatnonzero(np.isnan(norms))
    beyond = tokens_without_row(tokenizer, rows)
    added = tokenizer.get_added_tokens_decoder().values()
    return TableReport(
        found.source, found.architecture, found.tensor_name, found.commit, found.rows.shape, dtype,
        bytes=table_bytes(dtype, found.rows.shape),
        tokenizer_kind=names.kind,
        vocabulary_size=tokenizer.get_vocab_size(with_added_tokens=True),
        added_tokens=len(added),
        special_tokens=sum(token.special for token in added),
        padding_rows=max(0, rows - num_token_ids(tokenizer)),
        ids_beyond_rows=len(beyond),
        beyond_examples=tuple(names.show(token_id) for _, token_id in beyond[:EXAMPLES]),
        zero_rows=len(zero),
        zero_examples=tuple(map(names.show, zero[:EXAMPLES].tolist())),
        duplicate_rows=len(duplicates),
        duplicate_examples=tuple((names.show(row), names.show(first)) for row, first in duplicates[:EXAMPLES]),
        nonfinite_rows=len(nonfinite),
        nonfinite_examples=tuple(map(names.show, nonfinite[:EXAMPLES].tolist())),
        norm_quantiles=dict(zip(QUANTILES, quantiles, strict=False)),
        mean_norm=mean_norm,
        anisotropy=float(np.linalg.norm(mean)) / mean_norm if mean_norm else None,
        neighbors=(), norms=norms, mean=mean, has_token=has_token, found=found,
    )  # fmt: skip


def _nearest(report: TableReport, ids: list[int], count: int, show_bar: bool | None) -> list[list[tuple[int, float]]]:
    """Find the ``count`` rows nearest to each token's, and their cosine similarities, the nearest first."""
    mean, rows = report.mean.astype(np.float32), report.found.rows
    queries = np.stack([as_float32(rows.block(i, i + 1), rows.dtype)[0] - mean for i in ids])
    queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-30)
    candidates = report.has_token & (report.norms > 0)
    best: list[list[tuple[int, float]]] = [[] for _ in ids]
    for start, _, numbers in float_blocks(report.found, "Finding neighbors", show_bar):
        kept = np.flatnonzero(candidates[start : start + len(numbers)])
        centred = numbers[kept] - mean
        cosines = queries @ centred.T / np.maximum(np.linalg.norm(centred, axis=1), 1e-30)
        for query, token_id in enumerate(ids):
            top = np.argsort(-cosines[query], kind="stable")[: count + 1]
            new = [(start + int(kept[i]), float(cosines[query, i])) for i in top if start + kept[i] != token_id]
            best[query] = sorted(best[query] + new, key=lambda near: -near[1])[:count]
    return best


class _TokenNames:
    """A tokenizer's tokens: found by what people type, and shown so that people can read them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._byte_level = is_byte_level(tokenizer)
        kind = type(tokenizer.model).__name__
        self.kind = f"byte-level {kind}" if self._byte_level and kind == "BPE" else kind

    def find(self, name: str) -> int:
        """Find a token's id: by its name, by its name after the mark of a word's beginning, or by its text."""
        for start in WORD_STARTS:
            # " king" is typed as it looks in a text; its token has the mark for the space.
            token_id = self._tokenizer.token_to_id(start + name.removeprefix(" ") if start else name)
            if token_id is not None:
                return int(token_id)
        # Where characters stand for bytes, or a normalizer lowers case, a word is not written as its token is.
        special = {i for i, token in self._tokenizer.get_added_tokens_decoder().items() if token.special}
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        for text in (name, f" {name}"):
            ids = self._split(text)
            if len(ids) == 1 and ids[0] not in special and self._tokenizer.id_to_token(ids[0]) != unknown:
                return ids[0]
        pieces = ", ".join(map(self.show, self._split(name))) or "nothing"
        raise ArgumentError(f"{name!r} is not one token of this table's tokenizer; it splits into {pieces}.")

    def _split(self, text: str) -> list[int]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [i for i, counts in zip(encoding.ids, encoding.attention_mask, strict=True) if counts]  # no padding

    def show(self, token_id: int) -> str:
        """A token in quotes: its text if that is whole characters, or else its name."""
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return f"row {token_id}"
        text = self._tokenizer.decode([token_id], skip_special_tokens=False) if self._byte_level else ""
        return repr(text if text and "\ufffd" not in text else token.replace("▁", " "))

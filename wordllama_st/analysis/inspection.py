"""Looking at a token table before anything is made of it: its shape, its tokenizer, and what is odd about its rows.

A table that no codebook could be made of, with rows that are not finite or missing, is reported, not refused. It is
read from front to back, once, and once more for neighbours; only a few megabytes of it are in memory at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tqdm import tqdm

from wordllama_st.codebook.found_table import FoundTable
from wordllama_st.codebook.rows import as_float32, block_starts
from wordllama_st.errors import ArgumentError
from wordllama_st.storage.safetensors_file import Table, table_bytes
from wordllama_st.storage.tokenizer import num_token_ids, tokens_without_row

#: Bytes of a table at a time: as float32, and with what is computed from it, a block takes several times as many.
BLOCK_BYTES = 4 * 2**20
#: Which quantiles of the norms are reported, in percent.
QUANTILES = (0, 1, 25, 50, 75, 99, 100)
#: How many of the tokens that something is wrong with are named.
EXAMPLES = 5
#: What a word's first token may begin with. As it was typed comes first: nothing else can be meant by "Ġking".
WORD_STARTS = ("", "▁", "Ġ")


@dataclass(frozen=True)
class Neighbours:
    """The rows closest to one token's, by the cosine of the angle between them, seen from the table's mean."""

    name: str
    token_id: int
    token: str
    nearest: tuple[tuple[int, str, float], ...]


@dataclass(frozen=True)
class TableReport:
    """What :func:`examine` found.

    Attributes:
        source, architecture, tensor_name, commit: As the found table has them.
        shape, dtype: Of the table as it is stored, padding rows included.
        bytes: The table's size.
        tokenizer_kind: ``"BPE"``, ``"byte-level BPE"``, ``"WordPiece"``, ``"Unigram"`` or what else it calls itself.
        vocabulary_size: How many tokens the tokenizer has, added ones included.
        added_tokens: How many were added to its model's vocabulary, or marked in it.
        special_tokens: How many of these stand for no text.
        padding_rows: Rows behind the tokenizer's last id.
        ids_beyond_rows: Tokens that the table has no row for.
        zero_rows: Rows of tokens that are all zero.
        duplicate_rows: Rows of tokens that equal an earlier one bit for bit; rows of zeros are not counted again.
        nonfinite_rows: Rows with a NaN or an infinity, padding included.
        beyond_examples, zero_examples, nonfinite_examples: The first few tokens of each.
        duplicate_examples: The first few, each with the token whose row came first.
        norm_quantiles: Of the lengths of the tokens' finite rows, by percent; empty if there are none.
        mean_norm: The mean of those lengths.
        anisotropy: The length of the mean row relative to ``mean_norm``: 0 where rows point everywhere alike, 1 where
            all are the same.
        neighbours: Of each token asked for.
        norms: The length of every row, [V]; NaN where it is not finite.
        mean: The mean of the tokens' finite rows, [D].
        has_token: Whether a row is some token's, [V].
    """

    source: str
    architecture: str | None
    tensor_name: str | None
    commit: str | None
    shape: tuple[int, int]
    dtype: str
    bytes: int
    tokenizer_kind: str
    vocabulary_size: int
    added_tokens: int
    special_tokens: int
    padding_rows: int
    ids_beyond_rows: int
    beyond_examples: tuple[str, ...]
    zero_rows: int
    zero_examples: tuple[str, ...]
    duplicate_rows: int
    duplicate_examples: tuple[tuple[str, str], ...]
    nonfinite_rows: int
    nonfinite_examples: tuple[str, ...]
    norm_quantiles: dict[int, float]
    mean_norm: float | None
    anisotropy: float | None
    neighbours: tuple[Neighbours, ...]
    norms: npt.NDArray[np.float64] = field(repr=False, compare=False)
    mean: npt.NDArray[np.float64] = field(repr=False, compare=False)
    has_token: npt.NDArray[np.bool_] = field(repr=False, compare=False)


def examine(
    found: FoundTable, tokens: Sequence[str] = (), neighbours: int = 8, show_progress: bool = False
) -> TableReport:
    """Look at a table.

    Neighbours are ranked by the cosine of rows that the table's mean row has been subtracted from: in the tables of
    language models the mean is long and says nothing, and makes all rows alike.

    Args:
        found: The table.
        tokens: Whose neighbours to look for: tokens, or words that are one token.
        neighbours: How many of each.
        show_progress: Whether to show a progress bar on stderr.

    Raises:
        ArgumentError: If there are to be no neighbours, or a token is none or has no row that could have them.
    """
    if neighbours < 1:
        raise ArgumentError(f"The number of neighbours is at least one, not {neighbours}.")
    names = _Names(found.tokenizer)
    ids = [names.find(token) for token in tokens]
    scan = _Scan(found, show_progress)
    for token, token_id in zip(tokens, ids, strict=True):
        scan.check_direction(token, token_id)
    nearest = _nearest(found, scan, ids, neighbours, show_progress) if ids else []
    norms = scan.norms[scan.usable]
    mean_norm = float(norms.mean()) if len(norms) else None
    zero, nonfinite = np.flatnonzero(scan.zero & scan.has_token), np.flatnonzero(np.isnan(scan.norms))
    beyond = tokens_without_row(found.tokenizer, found.rows.shape[0])
    added = found.tokenizer.get_added_tokens_decoder().values()
    return TableReport(
        found.source, found.architecture, found.tensor_name, found.commit, found.rows.shape, found.rows.dtype,
        bytes=table_bytes(found.rows.dtype, found.rows.shape),
        tokenizer_kind=names.kind,
        vocabulary_size=found.tokenizer.get_vocab_size(with_added_tokens=True),
        added_tokens=len(added),
        special_tokens=sum(token.special for token in added),
        padding_rows=max(0, found.rows.shape[0] - num_token_ids(found.tokenizer)),
        ids_beyond_rows=len(beyond),
        beyond_examples=tuple(names.show(token_id) for _, token_id in beyond[:EXAMPLES]),
        zero_rows=len(zero),
        zero_examples=tuple(map(names.show, zero[:EXAMPLES].tolist())),
        duplicate_rows=len(scan.duplicates),
        duplicate_examples=tuple((names.show(i), names.show(first)) for i, first in scan.duplicates[:EXAMPLES]),
        nonfinite_rows=len(nonfinite),
        nonfinite_examples=tuple(map(names.show, nonfinite[:EXAMPLES].tolist())),
        norm_quantiles=dict(zip(QUANTILES, np.percentile(norms, QUANTILES).tolist(), strict=True)) if mean_norm else {},
        mean_norm=mean_norm,
        anisotropy=float(np.linalg.norm(scan.mean)) / mean_norm if mean_norm else None,
        neighbours=tuple(
            Neighbours(token, token_id, names.show(token_id), tuple((i, names.show(i), cosine) for i, cosine in near))
            for token, token_id, near in zip(tokens, ids, nearest, strict=True)
        ),
        norms=scan.norms, mean=scan.mean, has_token=scan.has_token,
    )  # fmt: skip


def float_blocks(found: FoundTable, doing: str, show_progress: bool) -> Iterator[tuple[int, Table, Table]]:
    """A table's blocks from front to back: the first row's number, the block as stored, and as float32."""
    with tqdm(desc=doing, total=found.rows.shape[0], unit=" rows", disable=not show_progress, leave=False) as bar:
        for start, stop in block_starts(found.rows, BLOCK_BYTES):
            block = found.rows.block(start, stop)
            yield start, block, as_float32(block, found.rows.dtype)
            bar.update(stop - start)


class _Scan:
    """One pass over a table, and what it shows of each row."""

    def __init__(self, found: FoundTable, show_progress: bool) -> None:
        count, dim = found.rows.shape
        self.norms = np.full(count, np.nan)
        self.zero = np.zeros(count, dtype=bool)
        self.has_token = np.zeros(count, dtype=bool)
        ids = np.fromiter(found.tokenizer.get_vocab(with_added_tokens=True).values(), dtype=np.int64)
        self.has_token[ids[ids < count]] = True
        self.duplicates: list[tuple[int, int]] = []
        self._first: dict[bytes, int] = {}
        total = np.zeros(dim)
        for start, block, numbers in float_blocks(found, "Reading the table", show_progress):
            rows = slice(start, start + len(block))
            finite = np.isfinite(numbers).all(axis=1)
            # In float64, so that no square of a finite number overflows or vanishes.
            squares = np.einsum("ij,ij->i", numbers, numbers, dtype=np.float64)
            self.norms[rows] = np.sqrt(np.where(finite, squares, np.nan))
            self.zero[rows] = ~numbers.any(axis=1)
            total += numbers[finite & self.has_token[rows]].sum(axis=0, dtype=np.float64)
            self._find_duplicates(start, block)
        self._first.clear()
        self.usable = self.has_token & ~np.isnan(self.norms)
        self.mean = total / max(1, int(self.usable.sum()))

    def _find_duplicates(self, start: int, block: Table) -> None:
        wanted = self.has_token[start : start + len(block)] & ~self.zero[start : start + len(block)]
        for row in np.flatnonzero(wanted).tolist():
            digest = hashlib.blake2b(block[row].data, digest_size=16).digest()
            first = self._first.setdefault(digest, start + row)
            if first != start + row:
                self.duplicates.append((start + row, first))

    def check_direction(self, token: str, token_id: int) -> None:
        """Refuse a token whose row points nowhere."""
        if token_id >= len(self.norms):
            raise ArgumentError(f"The table has no row for {token!r}: its id is {token_id}, of {len(self.norms)} rows.")
        if self.zero[token_id] or not self.usable[token_id]:
            what = "all zero" if self.zero[token_id] else "not finite"
            raise ArgumentError(f"{token!r} has no neighbours: its row, {token_id}, is {what}.")


def _nearest(
    found: FoundTable, scan: _Scan, ids: list[int], count: int, show_progress: bool
) -> list[list[tuple[int, float]]]:
    """The closest rows of each token, closest first."""
    mean = scan.mean.astype(np.float32)
    queries = np.stack([as_float32(found.rows.block(i, i + 1), found.rows.dtype)[0] - mean for i in ids])
    queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-30)
    candidates = scan.usable & ~scan.zero
    best: list[list[tuple[int, float]]] = [[] for _ in ids]
    for start, _, numbers in float_blocks(found, "Looking for neighbours", show_progress):
        kept = np.flatnonzero(candidates[start : start + len(numbers)])
        if not len(kept):
            continue
        rows = numbers[kept] - mean
        cosines = queries @ rows.T / np.maximum(np.linalg.norm(rows, axis=1), 1e-30)
        for query, token_id in enumerate(ids):
            top = np.argsort(-cosines[query], kind="stable")[: count + 1]
            new = [(start + int(kept[i]), float(cosines[query, i])) for i in top if start + kept[i] != token_id]
            best[query] = sorted(best[query] + new, key=lambda near: -near[1])[:count]
    return best


class _Names:
    """A tokenizer's tokens: found by what people type, and shown so that people can read them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # As JSON, which the library pickles its parts by; all of the tokenizer's would take a hundred megabytes.
        parts = [part.__getstate__() for part in (tokenizer.pre_tokenizer, tokenizer.decoder) if part is not None]
        self._byte_level = any(b'"ByteLevel"' in part for part in parts)
        kind = type(tokenizer.model).__name__
        self.kind = f"byte-level {kind}" if self._byte_level and kind == "BPE" else kind

    def find(self, token: str) -> int:
        """A token's id: as it is, with the mark of a word's beginning, or of a text that is one token."""
        for start in WORD_STARTS:
            # " king" is asked for by what it looks like in a text; its token has the mark for the space.
            token_id = self._tokenizer.token_to_id(start + token.removeprefix(" ") if start else token)
            if token_id is not None:
                return int(token_id)
        # Where bytes stand for letters, or all is lower case, a word is not written as its token is.
        for text in (token, f" {token}"):
            ids = self._split(text)
            if len(ids) == 1 and not self._stands_for_no_text(ids[0]):
                return ids[0]
        pieces = ", ".join(map(self.show, self._split(token))) or "nothing"
        raise ArgumentError(f"{token!r} is not one token of this table's tokenizer; it splits into {pieces}.")

    def _split(self, text: str) -> list[int]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [i for i, counts in zip(encoding.ids, encoding.attention_mask, strict=True) if counts]  # no padding

    def _stands_for_no_text(self, token_id: int) -> bool:
        added = self._tokenizer.get_added_tokens_decoder().get(token_id)
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        return (added is not None and added.special) or self._tokenizer.id_to_token(token_id) == unknown

    def show(self, token_id: int) -> str:
        """A token in quotes, as the text that it stands for, where it stands for whole letters."""
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return f"row {token_id}"
        text = self._tokenizer.decode([token_id], skip_special_tokens=False) if self._byte_level else ""
        return repr(text if text and "\ufffd" not in text else token.replace("▁", " "))

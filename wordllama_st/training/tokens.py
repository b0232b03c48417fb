"""Texts that are tokenized once, for all batches that are made of them."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from wordllama_st.disk import temporary_file
from wordllama_st.static.word_cache.table import positions_of_runs

#: Texts that are tokenized at a time, and values that are counted at a time.
_TEXTS, _VALUES = 1024, 2**24


class StoredRows:
    """Rows of values, each of its own length, in a temporary file, since those of a large collection are gigabytes.

    Attributes:
        values: The values of all rows, one row behind the other.
        ends: Where each row ends among them, [n].
    """

    def __init__(self, rows: Iterable[npt.NDArray[Any]], dtype: npt.DTypeLike) -> None:
        ends = array("q")
        with temporary_file() as file:
            end = 0
            for row in rows:
                file.write(row.astype(dtype, copy=False).tobytes())
                end += len(row)
                ends.append(end)
            file.flush()
            self.values: npt.NDArray[Any] = np.memmap(file, dtype, "r") if end else np.empty(0, dtype)
        self.ends = np.frombuffer(ends, np.int64) if ends else np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.ends)

    def take(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Return the values of some rows, one row behind the other, and the length of each."""
        begins = np.where(rows > 0, self.ends[rows - 1], 0)
        lengths = self.ends[rows] - begins
        return self.values[positions_of_runs(begins, lengths)], lengths


def id_dtype(tokenizer: Tokenizer) -> type[np.unsignedinteger[Any]]:
    """Return the smallest type that a tokenizer's ids fit in."""
    return np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32


class TokenizedTexts:
    """Token ids of n texts, of which batches are made as a model makes them of the texts.

    Args:
        tokenizer: A tokenizer that truncates and pads nothing.
        texts: The texts; read once, and not kept.
    """

    def __init__(self, tokenizer: Tokenizer, texts: Iterable[str]) -> None:
        self._stored = StoredRows(_token_ids(tokenizer, texts), id_dtype(tokenizer))
        self.num_texts = len(self._stored)

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """The numbers of the rows to train on: all texts."""
        return np.arange(self.num_texts, dtype=np.int32)

    def sources(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.integer[Any]]:
        """Return the text of each row: there is one row of each."""
        return rows

    def counts(self, num_embeddings: int) -> npt.NDArray[np.int64]:
        """Count the occurrences of each token, [V]."""
        counts = np.zeros(num_embeddings, np.int64)
        for start in range(0, len(self._stored.values), _VALUES):
            counts += np.bincount(self._stored.values[start : start + _VALUES], minlength=num_embeddings)
        return counts

    def sha256(self) -> str:
        """Return the SHA-256 of all ids and of where the texts end."""
        sha256 = hashlib.sha256(self._stored.ends.data)
        for start in range(0, len(self._stored.values), _VALUES):
            sha256.update(np.ascontiguousarray(self._stored.values[start : start + _VALUES]).data)
        return sha256.hexdigest()

    def batch(self, rows: Sequence[str | int], **_: Any) -> dict[str, Tensor]:
        """Make a batch as StaticEmbedding takes it: ``input_ids`` one text behind the other, and ``offsets``."""
        ids, lengths = self._stored.take(np.asarray(rows).astype(np.int64))
        return {
            "input_ids": torch.from_numpy(ids.astype(np.int64)),
            "offsets": torch.from_numpy(lengths.cumsum() - lengths),
        }

    def padded_batch(self, rows: Sequence[str | int], **_: Any) -> dict[str, Tensor]:
        """Make a batch as LLMTokenEmbedding takes it: ``input_ids`` [B, L] and ``attention_mask`` [B, L]."""
        ids, lengths = self._stored.take(np.asarray(rows).astype(np.int64))
        mask = np.arange(max(1, lengths.max())) < lengths[:, None]
        padded = np.zeros(mask.shape, np.int64)
        padded[mask] = ids
        return {"input_ids": torch.from_numpy(padded), "attention_mask": torch.from_numpy(mask.astype(np.int64))}


def _token_ids(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[npt.NDArray[np.int64]]:
    remaining = iter(texts)
    while chunk := list(islice(remaining, _TEXTS)):
        for encoding in tokenizer.encode_batch_fast(chunk, add_special_tokens=False):
            yield np.array(encoding.ids, np.int64)

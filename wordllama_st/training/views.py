"""Views of documents to train on: whole, thinned out, and short spans, which stand in for queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from wordllama_st.data.pseudo_queries import LONGEST_SPAN, SHORTEST_SPAN
from wordllama_st.training.tokens import StoredRows, id_dtype

#: Tokens of a document that are kept: about as many as small embedders read. Of what is behind, their vectors know
#: nothing; of less than they read, a model learns less.
LONGEST_DOCUMENT = 256
#: The share of words that a thinned document loses.
LEFT_OUT = 0.6
#: The views of each document.
NUM_VIEWS = 3
WHOLE, THINNED, SPAN = range(NUM_VIEWS)
#: Documents that are tokenized at a time.
_CHUNK = 1024


class DocumentViews:
    """Token ids of n documents, and of m further texts that are taken as they are, in views for training.

    Row r < 3 n is a view of document r // 3: the whole of it, the document without 60% of its words, or 3 to 8
    successive words of it. Words are drawn anew for each batch. Row 3 n + t is the further text t. ``rows`` are the
    numbers of the rows to train on.

    A word is what stands between whitespace, whatever the tokenizer makes of it: leaving out its tokens is what leaving
    it out of the text would be, but for tokenizers that join words.

    Args:
        tokenizer: A tokenizer that adds no special tokens, truncates and pads nothing.
        documents: The documents; read once, and not kept.
        texts: The further texts.
        spans: Whether to train on spans of documents.
        held_out: Numbers of documents that no row is to be of.
        seed: Of what is drawn.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        documents: Iterable[str],
        texts: Sequence[str] = (),
        *,
        spans: bool = True,
        held_out: Sequence[int] | npt.NDArray[np.integer[Any]] = (),
        seed: int = 0,
    ) -> None:
        dtype = np.dtype([("id", id_dtype(tokenizer)), ("begins_word", np.bool_)])
        self._tokens = StoredRows(_tokens(tokenizer, chain(documents, texts), dtype), dtype)
        self.num_texts = len(self._tokens)
        self.num_documents = self.num_texts - len(texts)
        is_trained = np.diff(self._tokens.ends, prepend=0) > 0  # others have no tokens
        is_trained[np.asarray(held_out, np.int64)] = False
        every = np.arange(NUM_VIEWS * self.num_documents + len(texts))
        is_span = (every < NUM_VIEWS * self.num_documents) & (every % NUM_VIEWS == SPAN)
        self.rows = every[is_trained[self.sources(every)] & (spans | ~is_span)]
        self._generator = np.random.default_rng(seed)

    def sources(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """Return the document that each row is a view of, or n + t for the further text t."""
        views = NUM_VIEWS * self.num_documents
        return np.where(rows < views, rows // NUM_VIEWS, rows - views + self.num_documents)

    def batch(self, rows: Sequence[str | int], **_: Any) -> dict[str, Tensor]:
        """Draw the views of some rows, as StaticEmbedding takes them: ``input_ids`` one after another, ``offsets``."""
        row = np.asarray(rows).astype(np.int64)
        source = self.sources(row)
        view = np.where(source < self.num_documents, row % NUM_VIEWS, 0)
        tokens, lengths = self._tokens.take(source)
        of = np.repeat(np.arange(len(row)), lengths)  # the place in the batch of each token
        firsts = lengths.cumsum() - lengths
        # Words are numbered through the batch.
        words = tokens["begins_word"].cumsum() - 1
        first_words = words[firsts]
        num_words = np.append(first_words[1:], words[-1] + 1) - first_words
        thinned = self._generator.random(words[-1] + 1) >= LEFT_OUT
        spans = self._generator.integers(SHORTEST_SPAN, LONGEST_SPAN + 1, len(row))
        span_begins = first_words + (self._generator.random(len(row)) * (num_words - spans + 1).clip(1)).astype(
            np.int64
        )
        in_span = (words >= span_begins[of]) & (words < (span_begins + spans)[of])
        keep = np.choose(view[of], [np.True_, thinned[words], in_span])
        nothing_left = np.bincount(of, weights=keep, minlength=len(row)) == 0
        keep |= nothing_left[of]
        counts = np.bincount(of[keep], minlength=len(row))
        return {
            "input_ids": torch.from_numpy(tokens["id"][keep].astype(np.int64)),
            "offsets": torch.from_numpy(counts.cumsum() - counts),
        }


def _tokens(tokenizer: Tokenizer, texts: Iterable[str], dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    """Tokenize texts: the id of each token, and whether it begins a word."""
    remaining = iter(texts)
    while chunk := list(islice(remaining, _CHUNK)):
        for text, encoding in zip(chunk, tokenizer.encode_batch(chunk, add_special_tokens=False), strict=True):
            kept = encoding.ids[:LONGEST_DOCUMENT]
            row = np.empty(len(kept), dtype)
            row["id"], row["begins_word"] = kept, _word_starts(text, encoding.offsets[:LONGEST_DOCUMENT])
            yield row


def _word_starts(text: str, offsets: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Tell which tokens, given by the characters [begin, end) of a text, begin a word."""
    if not offsets:
        return np.empty(0, bool)
    is_space = np.fromiter(map(str.isspace, text), bool, len(text))
    begins = ~is_space & np.append(True, is_space[:-1])
    # The last character of a token tells its word, since a token may begin with the whitespace before it; whitespace
    # that is a token of its own belongs to the word behind it.
    last = (np.array(offsets)[:, 1] - 1).clip(0)
    word = begins.cumsum()[last] + is_space[last]
    return np.append(True, word[1:] != word[:-1])

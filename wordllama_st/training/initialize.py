"""Initial token weights and projections, without training.

Functions of token weights return effective weights f(w); ``build_model`` inverts the activation f. Frequencies
are counted in a corpus, or estimated from the order of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from wordllama_st.codebook import Codebook

#: Sample of the rows of a larger table: as good for its components, in a quarter of the time of 128,256 rows.
PCA_ROWS = 32_768
#: Up to this D, components come from the D x D covariance; beyond, from a sketch.
EXACT_PCA_DIM = 4_096
#: Memory of the rows that are sketched.
PCA_SKETCH_BYTES = 2**30

#: SIF parameter for estimated frequencies, found by measuring.
RANK_A = 1e-4

#: Marks of the beginning of a word: SentencePiece, byte-level BPE, and none.
WORD_STARTS = ("▁", "Ġ", "")
#: Tokens that do not occur in text, though they may be declared as ordinary: bytes and reserved tokens.
UNUSED = re.compile(r"<0x[0-9A-F]{2}>|\[unused\d+\]|\[[A-Z]+\]|<[^<>]*>")


def stopword_weights(tokenizer: Tokenizer, num_embeddings: int, weight: float = 0.1) -> Tensor:
    """Return ones, and less for English stopwords that are single tokens, as WordLlama initializes its weights.

    Stopwords are looked up with and without the mark of a word's beginning, and capitalized; WordLlama looks them up
    bare, which in most vocabularies finds word endings only.

    Returns:
        Weights [V], V being ``num_embeddings``.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    weights = torch.ones(num_embeddings)
    for word in ENGLISH_STOP_WORDS:
        for form in (word, word.capitalize()):
            for start in WORD_STARTS:
                token_id = tokenizer.token_to_id(start + form)
                if token_id is not None:
                    weights[token_id] = weight
    return weights


def token_frequencies(
    tokenizer: Tokenizer, num_embeddings: int, texts: Iterable[str], batch_size: int = 1024
) -> Tensor:
    """Count the relative frequencies of tokens in a corpus.

    Returns:
        Frequencies [V], positive, with sum 1. A token that does not occur counts as one occurrence.
    """
    counts = np.zeros(num_embeddings)
    remaining = iter(texts)
    while batch := list(islice(remaining, batch_size)):
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            np.add.at(counts, encoding.ids, 1)
    return relative_frequencies(counts)


def relative_frequencies(counts: npt.NDArray[Any]) -> Tensor:
    """Return the relative frequencies of tokens [V] that were counted; one that does not occur counts as one."""
    counts = np.maximum(counts, 1)
    return torch.from_numpy(counts / counts.sum()).float()


def frequency_weights(frequencies: Tensor, a: float = 1e-3) -> Tensor:
    """Compute smooth inverse frequency weights, a / (a + p) (SIF; Arora et al., ICLR 2017).

    Args:
        frequencies: p [V].
        a: The frequency at which the weight is 1/2.

    Returns:
        Weights [V], in (0, 1].
    """
    return a / (a + frequencies / frequencies.sum())


def rank_frequencies(tokenizer: Tokenizer, num_embeddings: int) -> Tensor:
    """Estimate relative frequencies of tokens from the order of the vocabulary (Zipf's law).

    Training a tokenizer leaves its vocabulary roughly in the order of frequency, so that a token's frequency is about
    proportional to 1 / rank. Vocabularies begin with special and unused tokens, bytes and an alphabet; therefore only
    tokens of two characters or more have a rank of their own, and others that of the token before them.

    Returns:
        Frequencies [V], positive, with sum 1.
    """
    special = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ranked = np.zeros(num_embeddings)
    for token, id in tokenizer.get_vocab().items():
        if id < num_embeddings and id not in special and len(token.lstrip("▁Ġ").removeprefix("##")) > 1:
            ranked[id] = not UNUSED.fullmatch(token)
    frequencies = 1 / np.maximum(ranked.cumsum(), 1)
    return torch.from_numpy(frequencies / frequencies.sum()).float()


def principal_components(codebook: Codebook, dim: int, seed: int = 0, importance: Tensor | None = None) -> Tensor:
    """Compute the table's leading principal components, orthogonal to its mean.

    The mean of an LLM's token embeddings has a large norm and carries no meaning; if kept, it makes all texts
    similar. A bias cannot subtract it, because the token weights of a text do not sum to one; removing its direction
    from the projection can.

    Args:
        codebook: Token table [V, D] and tokenizer.
        dim: d, the number of components. Those beyond D are small random rows, which training can use.
        seed: Seed of those, and of the sample of a large table's rows.
        importance: Weight of each token for the mean and the components [V]; equal if None.

    Returns:
        Components [d, D], orthonormal but for the mean's direction.
    """
    generator = torch.Generator().manual_seed(seed)
    width = codebook.embedding_dim
    components = min(dim, width)
    mean, basis = (_exact_components if width <= EXACT_PCA_DIM else _sketched_components)(
        codebook, components, generator, importance
    )
    direction = mean / mean.norm().clamp(min=1e-12)
    basis -= (basis @ direction).outer(direction)
    rest = torch.randn(dim - components, width, generator=generator) * 0.1 / width**0.5
    return torch.cat([basis, rest])


def _sample(
    codebook: Codebook, count: int, generator: torch.Generator, importance: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return sorted ids of a sample of tokens [n], and the weight of each [n].

    With importance, these are the ``count`` most important tokens. In order, a mapped table is read sequentially.
    """
    if importance is None:
        ids = torch.randperm(codebook.num_embeddings, generator=generator)[:count].sort().values
        return ids, torch.full((len(ids),), 1 / len(ids))
    ids = importance.topk(min(count, codebook.num_embeddings)).indices.sort().values
    return ids, importance[ids] / importance[ids].sum()


def _exact_components(
    codebook: Codebook, dim: int, generator: torch.Generator, importance: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute components by eigendecomposition of the covariance, accumulated a few rows at a time."""
    width = codebook.embedding_dim
    ids, shares = _sample(codebook, PCA_ROWS, generator, importance)
    total, moment = torch.zeros(width, dtype=torch.float64), torch.zeros(width, width)
    step = max(1, 2**24 // width)
    for some, share in zip(ids.split(step), shares.split(step), strict=True):
        rows = codebook.weight[some].float()
        weighted = rows * share.unsqueeze(1)
        total += weighted.sum(dim=0)
        moment += rows.T @ weighted
    mean = total.float()
    _, vectors = torch.linalg.eigh(moment - mean.outer(mean))
    return mean, vectors[:, -dim:].flip(1).T.contiguous()


def _sketched_components(
    codebook: Codebook, dim: int, generator: torch.Generator, importance: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute components by randomized SVD of as many rows as the memory budget allows, for large D."""
    count = min(PCA_ROWS, max(2 * dim, PCA_SKETCH_BYTES // (4 * codebook.embedding_dim)))
    ids, shares = _sample(codebook, count, generator, importance)
    rows = codebook.weight[ids].float()
    mean = shares @ rows
    rows -= mean
    rows *= (shares * len(ids)).sqrt().unsqueeze(1)
    _, _, vectors = torch.pca_lowrank(rows, q=min(dim + 10, *rows.shape), center=False, niter=3)
    return mean, vectors[:, :dim].T.contiguous()

"""Good starting points without training: what each token counts for, and which directions to keep.

Every function of token weights returns what the tokens *count for*, f(w); ``build_model`` finds the w for it. Good
weights come of frequencies: counted in a corpus, or guessed from the order of the vocabulary where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from wordllama_st.codebook import Codebook

#: Rows that stand for a larger table: enough for directions, and a quarter of the time of 128,256 of them.
PCA_ROWS = 32_768
#: Up to this width, D, components come from the D x D covariance; beyond, from a sketch.
EXACT_PCA_DIM = 4_096
#: Memory for the rows that a sketch is made of.
PCA_SKETCH_BYTES = 2**30

#: The share of all tokens at which one counts half, where shares are guessed; found by measuring.
RANK_A = 1e-4

#: How the common tokenizers mark that a word begins: SentencePiece, byte-level BPE, and none.
WORD_STARTS = ("▁", "Ġ", "")
#: Tokens that no text has, though they may be declared as ordinary ones: bytes and places kept free.
UNUSED = re.compile(r"<0x[0-9A-F]{2}>|\[unused\d+\]|\[[A-Z]+\]|<[^<>]*>")


def stopword_weights(tokenizer: Tokenizer, num_embeddings: int, weight: float = 0.1) -> Tensor:
    """Ones, and less for the English stopwords that are a token of their own.

    As WordLlama starts; but where it looks words up bare, which in most vocabularies finds only word endings, these
    are found with the mark of a word's beginning too, and capitalised.

    Args:
        tokenizer: Gives the vocabulary.
        num_embeddings: V.
        weight: What a stopword counts for.

    Returns:
        [V].
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
    """Each token's share of all tokens of a corpus.

    Args:
        tokenizer: Splits the texts.
        num_embeddings: V.
        texts: Plain text of the kind the embedder is for; any iterable, read once.
        batch_size: Texts tokenized at a time.

    Returns:
        [V], all above zero and one in sum. A token that the corpus lacks counts as one that occurs once.
    """
    counts = np.zeros(num_embeddings)
    remaining = iter(texts)
    while batch := list(islice(remaining, batch_size)):
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            np.add.at(counts, encoding.ids, 1)
    counts = np.maximum(counts, 1)
    return torch.from_numpy(counts / counts.sum()).float()


def frequency_weights(frequencies: Tensor, a: float = 1e-3) -> Tensor:
    """Smooth inverse frequency, a / (a + p) (SIF; Arora et al., ICLR 2017).

    Args:
        frequencies: p, as :func:`token_frequencies` counts them, [V].
        a: The share of all tokens at which a token counts half.

    Returns:
        [V], in (0, 1].
    """
    return a / (a + frequencies / frequencies.sum())


def rank_frequencies(tokenizer: Tokenizer, num_embeddings: int) -> Tensor:
    """What the frequencies may be where there is no corpus, by the order of the vocabulary (Zipf's law).

    A tokenizer's training leaves its vocabulary roughly in the order of frequency, so that a token's share of all
    text is about proportional to 1 / rank. Vocabularies begin with what was there before: special and unused tokens,
    bytes, an alphabet. So only tokens of two characters or more have a rank of their own, and each of the others that
    of the one before it.

    Args:
        tokenizer: Gives the vocabulary.
        num_embeddings: V.

    Returns:
        [V], all above zero and one in sum.
    """
    special = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ranked = np.zeros(num_embeddings)
    for token, id in tokenizer.get_vocab().items():
        if id < num_embeddings and id not in special and len(token.lstrip("▁Ġ").removeprefix("##")) > 1:
            ranked[id] = not UNUSED.fullmatch(token)
    frequencies = 1 / np.maximum(ranked.cumsum(), 1)
    return torch.from_numpy(frequencies / frequencies.sum()).float()


def principal_components(codebook: Codebook, dim: int, seed: int = 0, importance: Tensor | None = None) -> Tensor:
    """The table's leading principal components, with the mean's direction taken out of each.

    The mean of an LLM's token vectors is long and carries no meaning: left in, it makes all texts alike. It cannot be
    subtracted by a bias, because the weighted tokens of a text do not sum to one; a projection that is blind to its
    direction does the same.

    Args:
        codebook: Table [V, D].
        dim: How many, d. Beyond D there are no more, and the rest are small random rows, which training can use.
        seed: For those, and for the rows that stand for a large table.
        importance: How much each token's vector counts for mean and components, [V]: what it adds to the texts of a
            corpus is its frequency times its weight. None takes all of them for equal.

    Returns:
        [d, D], the rows orthonormal but for the mean's direction.
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
    """Token ids to stand for all of them, and the share of each, [n].

    In order, so that a mapped table is read from front to back. Where some matter more, the ``count`` that matter most.
    """
    if importance is None:
        ids = torch.randperm(codebook.num_embeddings, generator=generator)[:count].sort().values
        return ids, torch.full((len(ids),), 1 / len(ids))
    ids = importance.topk(min(count, codebook.num_embeddings)).indices.sort().values
    return ids, importance[ids] / importance[ids].sum()


def _exact_components(
    codebook: Codebook, dim: int, generator: torch.Generator, importance: Tensor | None
) -> tuple[Tensor, Tensor]:
    """From the eigenvectors of the rows' covariance, summed up a few rows at a time."""
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
    """Where D x D would be too much: by a randomized decomposition of as many rows as fit a budget."""
    count = min(PCA_ROWS, max(2 * dim, PCA_SKETCH_BYTES // (4 * codebook.embedding_dim)))
    ids, shares = _sample(codebook, count, generator, importance)
    rows = codebook.weight[ids].float()
    mean = shares @ rows
    rows -= mean
    rows *= (shares * len(ids)).sqrt().unsqueeze(1)
    _, _, vectors = torch.pca_lowrank(rows, q=min(dim + 10, *rows.shape), center=False, niter=3)
    return mean, vectors[:, :dim].T.contiguous()

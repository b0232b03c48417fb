"""Good starting points without training: what each token counts for, and which directions to keep.

Every function of token weights returns what the tokens *count for*, f(w); ``build_model`` finds the w for it.
"""

from __future__ import annotations

from collections.abc import Iterable

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

#: How the common tokenizers mark that a word begins: SentencePiece, byte-level BPE, and none.
WORD_STARTS = ("▁", "Ġ", "")


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


def frequency_weights(
    tokenizer: Tokenizer, num_embeddings: int, texts: Iterable[str], a: float = 1e-3, batch_size: int = 1024
) -> Tensor:
    """Smooth inverse frequency, a / (a + p), from a corpus (SIF; Arora et al., ICLR 2017).

    Args:
        tokenizer: Splits the texts.
        num_embeddings: V.
        texts: Plain text of the kind the embedder is for; any iterable, read once.
        a: The share of all tokens at which a token counts half.
        batch_size: Texts tokenized at a time.

    Returns:
        [V], in (0, 1]. A token that the corpus lacks counts as one that occurs once.
    """
    counts = np.zeros(num_embeddings)
    batch: list[str] = []

    def count() -> None:
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            np.add.at(counts, encoding.ids, 1)
        batch.clear()

    for text in texts:
        batch.append(text)
        if len(batch) == batch_size:
            count()
    count()
    return _inverse_frequency(np.maximum(counts, 1), a)


def rank_weights(num_embeddings: int, a: float = 1e-3) -> Tensor:
    """Smooth inverse frequency where there is no corpus, the id standing for the rank (Zipf's law).

    A tokenizer's training leaves its vocabulary roughly in the order of frequency, so that a token's share of all
    text is about proportional to 1 / (id + 1).

    Args:
        num_embeddings: V.
        a: The share of all tokens at which a token counts half.

    Returns:
        [V], in (0, 1).
    """
    return _inverse_frequency(1 / np.arange(1, num_embeddings + 1), a)


def _inverse_frequency(frequencies: np.ndarray, a: float) -> Tensor:
    return torch.from_numpy(a / (a + frequencies / frequencies.sum())).float()


def principal_components(codebook: Codebook, dim: int, seed: int = 0) -> Tensor:
    """The table's leading principal components, with the mean's direction taken out of each.

    The mean of an LLM's token vectors is long and carries no meaning: left in, it makes all texts alike. It cannot be
    subtracted by a bias, because the weighted tokens of a text do not sum to one; a projection that is blind to its
    direction does the same.

    Args:
        codebook: Table [V, D].
        dim: How many, d. Beyond D there are no more, and the rest are small random rows, which training can use.
        seed: For those, and for the rows that stand for a large table.

    Returns:
        [d, D], the rows orthonormal but for the mean's direction.
    """
    generator = torch.Generator().manual_seed(seed)
    width = codebook.embedding_dim
    components = min(dim, width)
    if width <= EXACT_PCA_DIM:
        mean, basis = _exact_components(codebook, components, generator)
    else:
        mean, basis = _sketched_components(codebook, components, generator)
    direction = mean / mean.norm().clamp(min=1e-12)
    basis -= (basis @ direction).outer(direction)
    rest = torch.randn(dim - components, width, generator=generator) * 0.1 / width**0.5
    return torch.cat([basis, rest])


def _sample(codebook: Codebook, count: int, generator: torch.Generator) -> Tensor:
    """Token ids to stand for all of them, in order so that a mapped table is read from front to back."""
    return torch.randperm(codebook.num_embeddings, generator=generator)[:count].sort().values


def _exact_components(codebook: Codebook, dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """From the eigenvectors of the rows' covariance, summed up a few rows at a time."""
    width = codebook.embedding_dim
    ids = _sample(codebook, PCA_ROWS, generator)
    total, moment = torch.zeros(width, dtype=torch.float64), torch.zeros(width, width)
    for some in ids.split(max(1, 2**24 // width)):
        rows = codebook.weight[some].float()
        total += rows.sum(dim=0)
        moment += rows.T @ rows
    mean = (total / len(ids)).float()
    _, vectors = torch.linalg.eigh(moment / len(ids) - mean.outer(mean))
    return mean, vectors[:, -dim:].flip(1).T.contiguous()


def _sketched_components(codebook: Codebook, dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where D x D would be too much: by a randomized decomposition of as many rows as fit a budget."""
    count = min(PCA_ROWS, max(2 * dim, PCA_SKETCH_BYTES // (4 * codebook.embedding_dim)))
    rows = codebook.weight[_sample(codebook, count, generator)].float()
    mean = rows.mean(dim=0)
    rows -= mean
    _, _, vectors = torch.pca_lowrank(rows, q=min(dim + 10, *rows.shape), center=False, niter=3)
    return mean, vectors[:, :dim].T.contiguous()

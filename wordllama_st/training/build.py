"""From a codebook to a model that the library's Trainer trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from wordllama_st.codebook import Codebook
from wordllama_st.errors import ArgumentError
from wordllama_st.modules import LLMTokenEmbedding, Projection, WeightedPool
from wordllama_st.modules.activations import inverse
from wordllama_st.training.initialize import (
    RANK_A,
    frequency_weights,
    principal_components,
    rank_frequencies,
    stopword_weights,
    token_frequencies,
)

TokenWeights = Literal["ones", "stopwords", "rank", "corpus"]


def build_model(
    codebook: Codebook,
    dim: int = 256,
    initialize: Literal["pca", "identity", "random"] = "pca",
    *,
    token_weights: TokenWeights | Tensor = "ones",
    corpus: Iterable[str] | None = None,
    hidden_features: int | None = None,
    activation: str = "gelu",
    max_seq_length: int | None = None,
) -> SentenceTransformer:
    """Put an embedder together: the table, the weighted mean, the projection.

    Args:
        codebook: The token table [V, D].
        dim: d, the length of the embeddings.
        initialize: Where the projection starts: ``"pca"``, the table's principal components (see
            :func:`~wordllama_st.training.initialize.principal_components`), ``"identity"``, its leading columns as they are
            (for a table that is an embedder's already), or ``"random"``.
        token_weights: What the tokens count for at the start: ``"ones"``, ``"stopwords"`` (less for stopwords),
            ``"rank"`` (less for what the order of the vocabulary says is frequent, by Zipf's law), ``"corpus"`` (less
            for what is frequent in ``corpus``), or a tensor [V]. With ``"corpus"``, the principal components are those
            of the tokens as often as they occur.
        corpus: Plain texts of the kind the embedder is for, for ``"corpus"``.
        hidden_features: Project each token through a hidden layer of this width, before the pooling, instead of
            projecting each text. Slower to train and as fast when baked. Starts at random.
        activation: What the token weights pass through, see :class:`~wordllama_st.modules.WeightedPool`.
        max_seq_length: Tokens of a text beyond this number are left out in training.

    Raises:
        ArgumentError: If an argument is none of the above.
    """
    weights, importance = _effective_weights(codebook, token_weights, corpus)
    pool = WeightedPool(codebook.num_embeddings, inverse(activation, weights), activation=activation)
    projection = Projection(codebook.embedding_dim, dim, hidden_features=hidden_features)
    if initialize not in ("pca", "identity", "random"):
        raise ArgumentError(f"initialize must be 'pca', 'identity' or 'random', not {initialize!r}.")
    if initialize != "random" and isinstance(projection.project, nn.Linear):
        width = codebook.embedding_dim
        is_pca = initialize == "pca"
        start = principal_components(codebook, dim, importance=importance) if is_pca else torch.eye(dim, width)
        with torch.no_grad():
            projection.project.weight.copy_(start)
            projection.project.bias.zero_()
    tokens = LLMTokenEmbedding(codebook, max_seq_length=max_seq_length)
    modules: list[nn.Module] = [tokens, pool, projection] if hidden_features is None else [tokens, projection, pool]
    return SentenceTransformer(modules=modules, similarity_fn_name="cosine")


def _effective_weights(
    codebook: Codebook, token_weights: TokenWeights | Tensor, corpus: Iterable[str] | None
) -> tuple[Tensor, Tensor | None]:
    """What each token counts for, [V], and how much it adds to the texts there are, [V], where that is known."""
    counted = isinstance(token_weights, str) and token_weights == "corpus"
    if counted != (corpus is not None):
        raise ArgumentError("A corpus is for token_weights='corpus', which needs one.")
    vocabulary = codebook.tokenizer, codebook.num_embeddings
    if isinstance(token_weights, Tensor):
        return token_weights, None
    if token_weights == "ones":
        return torch.ones(codebook.num_embeddings), None
    if token_weights == "stopwords":
        return stopword_weights(*vocabulary), None
    if token_weights == "rank":
        # For the directions, the order of a vocabulary is too rough a guess.
        return frequency_weights(rank_frequencies(*vocabulary), RANK_A), None
    if token_weights == "corpus":
        frequencies = token_frequencies(*vocabulary, cast("Iterable[str]", corpus))
        weights = frequency_weights(frequencies)
        return weights, frequencies * weights
    raise ArgumentError(
        f"token_weights must be 'ones', 'stopwords', 'rank', 'corpus' or a tensor, not {token_weights!r}."
    )

"""From a codebook to a model that the library's Trainer trains."""

from __future__ import annotations

from typing import Literal

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from wordllama_st.codebook import Codebook
from wordllama_st.errors import ArgumentError
from wordllama_st.initialize import principal_components, rank_weights, stopword_weights
from wordllama_st.modules import LLMTokenEmbedding, Projection, WeightedPool
from wordllama_st.modules.activations import inverse

TokenWeights = Literal["ones", "stopwords", "rank"]


def build_model(
    codebook: Codebook,
    dim: int = 256,
    initialize: Literal["pca", "identity", "random"] = "pca",
    *,
    token_weights: TokenWeights | Tensor = "ones",
    hidden_features: int | None = None,
    activation: str = "gelu",
    max_seq_length: int | None = None,
) -> SentenceTransformer:
    """Put an embedder together: the table, the weighted mean, the projection.

    Args:
        codebook: The token table [V, D].
        dim: d, the length of the embeddings.
        initialize: Where the projection starts: ``"pca"``, the table's principal components (see
            :func:`~wordllama_st.initialize.principal_components`), ``"identity"``, its leading columns as they are
            (for a table that is an embedder's already), or ``"random"``.
        token_weights: What the tokens count for at the start: ``"ones"``, ``"stopwords"`` (less for stopwords),
            ``"rank"`` (less for the first ids, by Zipf's law), or a tensor [V], such as
            :func:`~wordllama_st.initialize.frequency_weights` makes from a corpus.
        hidden_features: Project each token through a hidden layer of this width, before the pooling, instead of
            projecting each text. Slower to train and as fast when baked. Starts at random.
        activation: What the token weights pass through, see :class:`~wordllama_st.modules.WeightedPool`.
        max_seq_length: Tokens of a text beyond this number are left out in training.

    Raises:
        ArgumentError: If an argument is none of the above.
    """
    pool = WeightedPool(
        codebook.num_embeddings,
        inverse(activation, _effective_weights(codebook, token_weights)),
        activation=activation,
    )
    projection = Projection(codebook.embedding_dim, dim, hidden_features=hidden_features)
    if initialize not in ("pca", "identity", "random"):
        raise ArgumentError(f"initialize must be 'pca', 'identity' or 'random', not {initialize!r}.")
    if initialize != "random" and isinstance(projection.project, nn.Linear):
        start = principal_components(codebook, dim) if initialize == "pca" else torch.eye(dim, codebook.embedding_dim)
        with torch.no_grad():
            projection.project.weight.copy_(start)
            projection.project.bias.zero_()
    tokens = LLMTokenEmbedding(codebook, max_seq_length=max_seq_length)
    modules: list[nn.Module] = [tokens, pool, projection] if hidden_features is None else [tokens, projection, pool]
    return SentenceTransformer(modules=modules, similarity_fn_name="cosine")


def _effective_weights(codebook: Codebook, token_weights: TokenWeights | Tensor) -> Tensor:
    if isinstance(token_weights, Tensor):
        return token_weights
    if token_weights == "ones":
        return torch.ones(codebook.num_embeddings)
    if token_weights == "stopwords":
        return stopword_weights(codebook.tokenizer, codebook.num_embeddings)
    if token_weights == "rank":
        return rank_weights(codebook.num_embeddings)
    raise ArgumentError(f"token_weights must be 'ones', 'stopwords', 'rank' or a tensor, not {token_weights!r}.")

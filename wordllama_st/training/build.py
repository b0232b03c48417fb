"""Models over a codebook: LLMTokenEmbedding, WeightedPool and Projection, ready to be trained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from wordllama_st.codebook import Codebook
from wordllama_st.errors import ArgumentError
from wordllama_st.modules import LLMTokenEmbedding, Projection, WeightedPool
from wordllama_st.modules.weighted_pool import invert_activation
from wordllama_st.static import released
from wordllama_st.static.formats import sentence_transformers as static_format
from wordllama_st.training.initialize import (
    RANK_A,
    frequency_weights,
    principal_components,
    rank_frequencies,
    stopword_weights,
    token_frequencies,
)
from wordllama_st.training.load import model_from_pretrained
from wordllama_st.training.static_model import model_name

TokenWeights = Literal["ones", "stopwords", "rank", "corpus"]


def build_or_continue(
    source: str | Path | Codebook | SentenceTransformer, *, max_seq_length: int | None = None, **building: Any
) -> SentenceTransformer:
    """Build a model over a codebook, or take a trained one (a model or its directory) to be trained further.

    Arguments of :func:`build_model` that are None take its defaults. The projection starts from the identity for the
    table of a static model, and from principal components for any other.

    Raises:
        ArgumentError: If an argument of :func:`build_model` is given for a trained model.
    """
    given = {name: value for name, value in building.items() if value is not None}
    is_static = isinstance(source, (str, Path)) and static_format.find(Path(source)) is not None
    if isinstance(source, SentenceTransformer) or (
        isinstance(source, (str, Path)) and (Path(source) / static_format.MODULES_FILE).is_file() and not is_static
    ):
        if given:
            raise ArgumentError(
                f"{model_name(source)} is a trained model, to be trained further as it is; --"
                f"{next(iter(given)).replace('_', '-')} is for building a new one."
            )
        model = source if isinstance(source, SentenceTransformer) else model_from_pretrained(source)
        if max_seq_length is not None:
            model.max_seq_length = max_seq_length
        return model
    codebook = source if isinstance(source, Codebook) else Codebook.from_pretrained(source)
    is_embedder = is_static or released.is_released(codebook.provenance.source or "")
    start = {"initialize": "identity" if is_embedder else "pca", "max_seq_length": max_seq_length}
    return build_model(codebook, **(start | given))


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
    """Build an embedder over a codebook: its token table, a weighted mean and a projection.

    Args:
        codebook: Token table [V, D] and tokenizer.
        dim: d, the dim of the embeddings.
        initialize: Initial projection: ``"pca"`` (see
            :func:`~wordllama_st.training.initialize.principal_components`), ``"identity"`` (the leading columns,
            for the table of an embedder) or ``"random"``.
        token_weights: Initial effective token weights: ``"ones"``, ``"stopwords"`` (less for stopwords), ``"rank"``
            (less for tokens that are frequent by the order of the vocabulary), ``"corpus"`` (less for tokens that are
            frequent in ``corpus``, which also weight the principal components), or a tensor [V].
        corpus: Texts of the kind that the embedder is for; required for ``"corpus"``.
        hidden_features: Project each token through a hidden layer of this width, before the pooling, instead of
            projecting each text: slower to train, as fast when baked. Its start is random.
        activation: The activation of token weights, see :class:`~wordllama_st.modules.WeightedPool`.
        max_seq_length: Tokens of a text beyond this number are left out in training.

    Raises:
        ArgumentError: If an argument has none of these values.
    """
    weights, importance = _effective_weights(codebook, token_weights, corpus)
    pool = WeightedPool(codebook.num_embeddings, invert_activation(activation, weights), activation=activation)
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
    """Return effective token weights [V] and, where a corpus tells it, each token's share of the corpus [V]."""
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
        # The order of a vocabulary is too rough an estimate to weight principal components with.
        return frequency_weights(rank_frequencies(*vocabulary), RANK_A), None
    if token_weights == "corpus":
        frequencies = token_frequencies(*vocabulary, cast("Iterable[str]", corpus))
        weights = frequency_weights(frequencies)
        return weights, frequencies * weights
    raise ArgumentError(
        f"token_weights must be 'ones', 'stopwords', 'rank', 'corpus' or a tensor, not {token_weights!r}."
    )

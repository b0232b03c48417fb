"""Starting points: which directions are kept, and what tokens count for before any training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from texts import EMBEDDING_DIM, made_up_pairs
from tokenizers import Tokenizer

from wordllama_st import Codebook, build_model, initialize
from wordllama_st.errors import ArgumentError
from wordllama_st.initialize import frequency_weights, principal_components, rank_weights, stopword_weights


@pytest.fixture
def stretched(tokenizer: Tokenizer) -> Codebook:
    """A table with a long common mean, and directions that matter less and less."""
    generator = torch.Generator().manual_seed(3)
    scales = torch.linspace(5, 0.1, EMBEDDING_DIM)
    rows = torch.randn(tokenizer.get_vocab_size(), EMBEDDING_DIM, generator=generator) * scales
    return Codebook(rows + 30 * torch.ones(EMBEDDING_DIM), tokenizer)


@pytest.mark.parametrize("exact", [True, False])
def test_principal_components_keep_the_most_variance_and_drop_the_mean(
    exact: bool, stretched: Codebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exact:
        monkeypatch.setattr(initialize, "EXACT_PCA_DIM", 0)
    dim = 8
    components = principal_components(stretched, dim)
    centred = stretched.weight - stretched.weight.mean(dim=0)
    best = np.linalg.svd(centred.numpy(), compute_uv=False)[:dim] ** 2
    kept = (centred @ components.T).square().sum(dim=0).numpy()
    assert kept.sum() > 0.9 * best.sum()  # the direction of the mean is missing from them, and little else
    mean = stretched.weight.mean(dim=0)
    assert (components @ mean).norm() < 1e-3 * mean.norm()


def test_a_projection_wider_than_the_table_is_allowed(codebook: Codebook) -> None:
    model = build_model(codebook, dim=2 * EMBEDDING_DIM)
    vector = model.encode("some text")
    assert vector.shape == (2 * EMBEDDING_DIM,)
    assert np.isfinite(vector).all()


def test_the_identity_keeps_the_leading_columns(codebook: Codebook) -> None:
    model = build_model(codebook, dim=8, initialize="identity")
    ids = codebook.tokenizer.encode("two words", add_special_tokens=False).ids
    assert model.encode("two words") == pytest.approx(codebook.weight[ids].mean(dim=0)[:8].numpy(), abs=1e-5)


def test_stopwords_count_for_less_with_and_without_the_mark_of_a_words_beginning() -> None:
    tokenizer = Codebook.from_pretrained("wordllama-l2-supercat-64").tokenizer
    weights = stopword_weights(tokenizer, tokenizer.get_vocab_size())
    for token in ("▁the", "▁The", "the"):
        assert weights[tokenizer.token_to_id(token)] == pytest.approx(0.1)
    assert weights[tokenizer.token_to_id("▁house")] == 1


def test_frequent_tokens_count_for_less(tokenizer: Tokenizer) -> None:
    texts = [text for pair in made_up_pairs(100) for text in pair]
    weights = frequency_weights(tokenizer, tokenizer.get_vocab_size(), iter(texts), batch_size=7)
    the, rare = (tokenizer.token_to_id(token) for token in ("Ġthe", "Ġotter"))
    assert 0 < weights[the] < weights[rare] < 1
    # a / (a + p), from a count of our own
    ids = [token for text in texts for token in tokenizer.encode(text, add_special_tokens=False).ids]
    unseen = tokenizer.get_vocab_size() - len(set(ids))
    assert weights[the] == pytest.approx(1e-3 / (1e-3 + ids.count(the) / (len(ids) + unseen)), rel=1e-4)


def test_without_a_corpus_the_first_ids_count_for_less() -> None:
    weights = rank_weights(1000)
    assert (weights.diff() > 0).all()
    assert 0 < weights[0] < weights[-1] < 1


@pytest.mark.parametrize("activation", ["gelu", "relu", "softplus", "identity"])
def test_tokens_count_for_what_they_were_said_to(activation: str, codebook: Codebook) -> None:
    wanted = torch.linspace(0.01, 2, codebook.num_embeddings)
    model = build_model(codebook, dim=EMBEDDING_DIM, initialize="identity", token_weights=wanted, activation=activation)
    (token_id,) = codebook.tokenizer.encode("e", add_special_tokens=False).ids
    expected = wanted[token_id] * codebook.weight[token_id]
    assert model.encode("e") == pytest.approx(expected.numpy(), abs=1e-4)


def test_an_unknown_start_is_refused_by_name(codebook: Codebook) -> None:
    with pytest.raises(ArgumentError, match="'magic'"):
        build_model(codebook, initialize="magic")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="'heavy'"):
        build_model(codebook, token_weights="heavy")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="'swish'"):
        build_model(codebook, activation="swish")
    with pytest.raises(ArgumentError, match="from zero up"):
        build_model(codebook, token_weights=-torch.ones(codebook.num_embeddings))

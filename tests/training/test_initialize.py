"""Starting points: which directions are kept, and what tokens count for before any training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from texts import EMBEDDING_DIM, made_up_pairs
from tokenizers import Tokenizer

from wordllama_st import Codebook, build_model
from wordllama_st.errors import ArgumentError
from wordllama_st.training import initialize
from wordllama_st.training.initialize import (
    frequency_weights,
    principal_components,
    rank_frequencies,
    stopword_weights,
    token_frequencies,
)


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
    weights = frequency_weights(token_frequencies(tokenizer, tokenizer.get_vocab_size(), iter(texts), batch_size=7))
    the, rare = (tokenizer.token_to_id(token) for token in ("Ġthe", "Ġotter"))
    assert 0 < weights[the] < weights[rare] < 1
    # a / (a + p), from a count of our own
    ids = [token for text in texts for token in tokenizer.encode(text, add_special_tokens=False).ids]
    unseen = tokenizer.get_vocab_size() - len(set(ids))
    assert weights[the] == pytest.approx(1e-3 / (1e-3 + ids.count(the) / (len(ids) + unseen)), rel=1e-4)


def test_without_a_corpus_the_first_ids_count_for_less(tokenizer: Tokenizer) -> None:
    frequencies = rank_frequencies(tokenizer, tokenizer.get_vocab_size())
    assert frequencies.sum() == pytest.approx(1, abs=1e-5)
    assert (frequencies.diff() <= 0).all()
    # A byte-level vocabulary begins with the 256 bytes, in an order that says nothing of how frequent they are.
    assert len(set(frequencies[:256].tolist())) == 1
    weights = frequency_weights(frequencies)
    assert 0 < weights[256] < weights[-1] < 1


def test_places_kept_free_have_no_rank(codebook: Codebook) -> None:
    tokenizer = Tokenizer.from_str(codebook.tokenizer.to_str())
    tokenizer.add_tokens([f"[unused{number}]" for number in range(50)])
    frequencies = rank_frequencies(tokenizer, tokenizer.get_vocab_size())
    assert len(set(frequencies[-51:].tolist())) == 1


def test_components_are_those_of_what_occurs(codebook: Codebook) -> None:
    """A token that no text has does not decide which directions are kept, however long its vector is."""
    table = codebook.weight.clone()
    table[:2] = 0
    table[0, -1], table[1, -1] = 1000, -1000  # opposite ones, for the direction of the mean is in no component
    importance = torch.ones(len(table))
    importance[:2] = 1e-9
    longest = Codebook(table, codebook.tokenizer)
    everywhere, where_it_occurs = (principal_components(longest, 4, importance=given) for given in (None, importance))
    assert everywhere[:, -1].abs().max() > 0.9
    assert where_it_occurs[:, -1].abs().max() < 0.9


def test_a_corpus_goes_with_the_weights_that_are_counted_in_it(codebook: Codebook) -> None:
    for settings in ({"token_weights": "corpus"}, {"corpus": ["a text"]}, {"token_weights": "rank", "corpus": ["a"]}):
        with pytest.raises(ArgumentError, match="corpus"):
            build_model(codebook, **settings)  # type: ignore[arg-type]
    texts = [text for pair in made_up_pairs(50) for text in pair]
    model = build_model(codebook, dim=8, token_weights="corpus", corpus=texts)
    lengths = np.linalg.norm(model.encode(["Ġthe".replace("Ġ", " "), " otter"]), axis=1)
    assert lengths[0] < lengths[1]


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

"""What pairs and triplets are trained by: our loss and our sampler give what sentence-transformers' own give."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from sentence_transformers.sentence_transformer import losses
from torch import Tensor, nn

from wordllama_st import Codebook, build_model
from wordllama_st.training.losses import MatryoshkaRankingLoss
from wordllama_st.training.trainer import no_duplicates

DIMS = [8, 3, 5]
ANCHORS = ["the first", "a second one", "", "third", "a third"]
OTHERS = [["one", "two", "nothing", "three", ""], ["a dog", "", "a cat", "the one", "two and three"]]


def gradients(model: SentenceTransformer, loss: nn.Module, columns: list[list[str]]) -> tuple[Tensor, dict[str, Any]]:
    value = loss([model.preprocess(texts) for texts in columns], torch.empty(0))
    value.backward()
    return value.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("dims", [[8], DIMS])
@pytest.mark.parametrize("others", [1, 2])
def test_the_ranking_loss_is_that_of_sentence_transformers(codebook: Codebook, dims: list[int], others: int) -> None:
    """Also for the vectors of empty texts, which are zero where the projection has no bias."""
    columns = [ANCHORS, *OTHERS[:others]]
    model = build_model(codebook, dim=8)
    with torch.no_grad():
        model[-1].project.bias.zero_()
    stock_model = copy.deepcopy(model)
    stock = losses.MatryoshkaLoss(stock_model, losses.MultipleNegativesRankingLoss(stock_model), dims)
    value, found = gradients(model, MatryoshkaRankingLoss(model, dims), columns)
    expected_value, expected = gradients(stock_model, stock, columns)
    torch.testing.assert_close(value, expected_value)
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_batches_without_duplicates_are_those_of_sentence_transformers() -> None:
    rows = range(500)
    data = Dataset.from_dict(
        {
            "anchor": [f"text {row % 90}" for row in rows],
            "positive": [f"text {row * 7 % 400}" for row in rows],
            "negatives": [[f"text {row}", "a"] for row in rows],
            "label": [1] * len(rows),
        }
    )

    def batches(make_sampler: Any, drop_last: bool) -> list[list[int]]:
        generator = torch.Generator()
        sampler = make_sampler(data, 32, drop_last, valid_label_columns=["label"], generator=generator, seed=3)
        return [batch for epoch in range(2) for batch in (sampler.set_epoch(epoch), *sampler)[1:]]

    for drop_last in (False, True):
        expected = batches(NoDuplicatesBatchSampler, drop_last)
        assert batches(no_duplicates, drop_last) == expected
        assert len(expected[0]) == 32

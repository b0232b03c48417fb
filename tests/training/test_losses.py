"""The ranking loss beside that of sentence-transformers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from torch import Tensor, nn

from wordllama_st import Codebook, build_model
from wordllama_st.training.losses import MatryoshkaRankingLoss

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

"""Batches are those that sentence-transformers' own samplers make, whether there is one dataset or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from wordllama_st import Codebook, build_model
from wordllama_st.training.batches import DistinctBatches, ShuffledBatches

ROWS = range(500)
DATA = Dataset.from_dict(
    {
        "anchor": [f"text {row % 90}" for row in ROWS],
        "positive": [f"text {row * 7 % 400}" for row in ROWS],
        "negatives": [[f"text {row}", "a"] for row in ROWS],
        "label": [1] * len(ROWS),
    }
)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(
    ("ours", "stock"),
    [(DistinctBatches, BatchSamplers.NO_DUPLICATES), (ShuffledBatches, BatchSamplers.BATCH_SAMPLER)],
)
def test_batches_are_those_of_sentence_transformers(
    ours: Any, stock: Any, drop_last: bool, codebook: Codebook, tmp_path: Path
) -> None:
    model = build_model(codebook, dim=4)
    loss = MultipleNegativesRankingLoss(model)

    def batches(sampler: Any, data: Any) -> list[list[list[int]]]:
        arguments = SentenceTransformerTrainingArguments(
            str(tmp_path), per_device_train_batch_size=32, batch_sampler=sampler, dataloader_drop_last=drop_last, seed=3
        )
        losses = loss if isinstance(data, Dataset) else dict.fromkeys(data, loss)
        trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=losses)
        loader = trainer.get_train_dataloader()
        drawn = []
        for epoch in (0, 1, 1):
            loader.set_epoch(epoch)
            drawn.append(list(loader.batch_sampler))
        return drawn

    expected = batches(stock, DatasetDict({"data": DATA.select(ROWS)}))
    assert expected[0] != expected[1] == expected[2]
    assert len(expected[0][0]) == 32
    assert batches(ours, DATA.select(ROWS)) == expected
    assert batches(ours, DatasetDict({"data": DATA.select(ROWS)})) == expected

"""Which rows of a dataset make a batch: samplers of sentence-transformers that need not read the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler, NoDuplicatesBatchSampler

#: Rows that are read from a dataset at a time.
READ_ROWS = 10_000


class ShuffledBatches(DefaultBatchSampler):
    """The batches of ``BatchSamplers.BATCH_SAMPLER``, whose list of all rows takes 40 bytes for each; this takes 8."""

    def __iter__(self) -> Iterator[list[int]]:
        rows = cast("Dataset", self.sampler)  # DefaultBatchSampler calls it so
        # Seeded for each epoch, by which a run that is resumed has the batches of one that was not. The first numbers
        # are for the order of datasets, which sentence-transformers draws where there are several.
        self.generator = (self.generator or torch.Generator()).manual_seed(self.seed + self.epoch)
        torch.randperm(len(self), generator=self.generator)
        for batch in torch.randperm(len(rows), generator=self.generator).split(self.batch_size):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch.tolist()


class DistinctBatches(NoDuplicatesBatchSampler):
    """The batches of ``BatchSamplers.NO_DUPLICATES``, which have no text twice; here, hashes of texts are compared.

    That sampler reads one row of the dataset after the other, in every epoch and in each of several processes. Of many
    duplicates it also makes more batches than its length says, by which a run that is resumed finds its place.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        columns = [name for name in dataset.column_names if name not in (valid_label_columns or ())]
        super().__init__(TextHashes(dataset, columns), batch_size, drop_last, **settings)

    def __iter__(self) -> Iterator[list[int]]:
        return islice(super().__iter__(), len(self))


class TextHashes:
    """The hashes of a dataset's texts, 64 bits each, in the place of the dataset that a sampler reads."""

    def __init__(self, dataset: Dataset, columns: Sequence[str]) -> None:
        self.column_names = columns
        self._rows = np.empty((len(dataset), len(columns)), np.int64)
        for start in range(0, len(dataset), READ_ROWS):
            batch = dataset[start : start + READ_ROWS]
            for number, column in enumerate(columns):
                self._rows[start : start + READ_ROWS, number] = [hash(str(value)) for value in batch[column]]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, int]:
        return dict(zip(self.column_names, self._rows[index].tolist(), strict=True))

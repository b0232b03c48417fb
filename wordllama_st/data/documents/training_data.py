"""Pairs as the package's training data."""

from __future__ import annotations

from collections.abc import Iterable

from datasets import Dataset

from wordllama_st.data.datasets import Kind, TrainingData
from wordllama_st.data.documents.pairs import Pair, Relation

COLUMNS = ("anchor", "positive")


def training_data(pairs: Iterable[Pair]) -> dict[str, TrainingData]:
    """Training data for each relation, by the relation's name, as :func:`~wordllama_st.training.supervised.train` takes it.

    Returns:
        Rows of anchor and positive. A relation with a single pair is left out: training and retrieval compare rows.
    """
    of: dict[Relation, list[Pair]] = {}
    for pair in pairs:
        of.setdefault(pair.relation, []).append(pair)
    return {
        relation.value: TrainingData(_rows(of[relation]), Kind.PAIRS, relation.value, COLUMNS)
        for relation in Relation
        if len(of.get(relation, ())) > 1
    }


def _rows(pairs: list[Pair]) -> Dataset:
    return Dataset.from_dict({column: [getattr(pair, column) for pair in pairs] for column in COLUMNS})

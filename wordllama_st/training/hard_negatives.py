"""Mining of hard negatives with sentence-transformers."""

from __future__ import annotations

from dataclasses import replace

from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from wordllama_st.data.datasets import Kind, TrainingData
from wordllama_st.errors import ArgumentError, DatasetError

#: The nearest texts are often positives, too: a negative is less similar than the positive by at least this share.
RELATIVE_MARGIN = 0.05


def add_hard_negatives(model: SentenceTransformer, data: TrainingData, count: int) -> TrainingData:
    """Give each pair ``count`` other pairs' positives as negatives, those most similar to its anchor by a model.

    Returns:
        Triplets. Pairs with fewer negatives are left out.

    Raises:
        ArgumentError: If the data is not pairs.
        DatasetError: If fewer than two pairs have that many negatives.
    """
    if data.kind is not Kind.PAIRS:
        raise ArgumentError(f"Hard negatives are mined for pairs; {data.name} has {data.kind.value}.")
    rows = mine_hard_negatives(
        data.rows,
        model,
        num_negatives=count,
        relative_margin=RELATIVE_MARGIN,
        output_format="n-tuple",
        batch_size=1024,
        verbose=False,
    )
    if len(rows) < 2:
        raise DatasetError(f"{data.name} has too few texts to find {count} hard negatives for each; ask for fewer.")
    return replace(data, rows=rows, kind=Kind.TRIPLETS)

"""Hard negatives: texts that a model takes for the answer and that are not, mined by the library."""

from __future__ import annotations

from dataclasses import replace

from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from wordllama_st.data.datasets import Kind, TrainingData
from wordllama_st.errors import ArgumentError, DatasetError

#: The nearest texts are often answers too; a negative must be at least this much further from the anchor than its own.
RELATIVE_MARGIN = 0.05


def add_hard_negatives(model: SentenceTransformer, data: TrainingData, count: int) -> TrainingData:
    """Give each pair the texts of other pairs that the model finds nearest to its anchor.

    Args:
        model: What finds them; the model to be trained, as a rule.
        data: Pairs.
        count: Negatives to a pair.

    Returns:
        Triplets: anchor, positive and ``count`` negatives. Pairs for which there are not as many are left out.

    Raises:
        ArgumentError: If the data is no pairs.
        DatasetError: If fewer than two pairs have as many.
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

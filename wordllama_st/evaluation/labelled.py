"""Texts with labels, which classification and clustering have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wordllama_st.errors import DatasetError
from wordllama_st.evaluation.task import Task, check_columns
from wordllama_st.evaluation.vectors import Role

Label = str | int


@dataclass(frozen=True)
class LabelledTask(Task):
    """Texts, each with a label.

    Args:
        name: What to call it.
        samples: The texts.
        labels: The label of each.
        seed: Fixes what is random.

    Raises:
        DatasetError: If there are not as many labels as texts, a text is empty, a label is missing, or there is but
            one.
    """

    name: str
    samples: Sequence[str]
    labels: Sequence[Label]
    seed: int = 0

    def __post_init__(self) -> None:
        check_columns(self, {"text": self.samples, "label": self.labels}, ("text",))
        for index, label in enumerate(self.labels):
            if label is None or label == "" or label != label:
                raise DatasetError(f"{self.name}, row {index + 1}: the label is missing. Fill or drop it.")
        if len(self.counts()) == 1:
            raise DatasetError(
                f"{self.name}: every text has the label {self.labels[0]!r}. Two at least are to be told apart."
            )

    def counts(self) -> Counter[str]:
        """How many texts each label has."""
        return Counter(map(str, self.labels))

    @property
    def size(self) -> str:
        """How many texts and labels."""
        return f"{len(self.labels):,} texts, {len(self.counts()):,} labels"

    def texts(self) -> dict[Role, Sequence[str]]:
        """The texts."""
        return {"text": self.samples}

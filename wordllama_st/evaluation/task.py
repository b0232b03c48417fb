"""What every task is: texts to be encoded, and a score of their vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from wordllama_st.data.datasets import check_texts
from wordllama_st.errors import DatasetError
from wordllama_st.evaluation.vectors import Role, TaskVectors


class Task(ABC):
    """Something that vectors are good for, and how good they are for it.

    Attributes:
        name: What to call it; no two tasks of one kind have the same name.
        kind: What is asked of the vectors.
        main_metric: The metric, of those that :meth:`score` returns, that is *the* score.
        metric_name: What people call that.
    """

    name: str
    kind: ClassVar[str]
    main_metric: ClassVar[str]
    metric_name: ClassVar[str]

    @property
    @abstractmethod
    def size(self) -> str:
        """How much there is of it, in words."""

    @abstractmethod
    def texts(self) -> dict[Role, Sequence[str]]:
        """The texts to encode, by what they are to the model. A text may be in it twice, and is encoded once."""

    @abstractmethod
    def score(self, vectors: TaskVectors) -> dict[str, float]:
        """The metrics of these vectors of the texts, each the larger the better and 1 at the most.

        Raises:
            EvaluationError: If there is no score, the vectors being what they are.
        """


def check_columns(task: Task, columns: dict[str, Sequence[object]], texts: Sequence[str]) -> None:
    """Refuse columns of different lengths, or with a text that is empty.

    Args:
        task: Whose they are.
        columns: All of them, by name.
        texts: The names of those that are texts.

    Raises:
        DatasetError: It names what is wrong.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise DatasetError(f"{task.name} has {counts}; a row has one of each.")
    if not min(lengths.values()):
        raise DatasetError(f"{task.name} has no rows.")
    for name in texts:
        check_texts(columns, name, task.name)

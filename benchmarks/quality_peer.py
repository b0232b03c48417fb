"""The peer's own distillation, into a folder: run by `make quality` in an environment of its own.

What model2vec needs for it holds transformers at a version that the rest of the comparison does not want.

    python benchmarks/quality_peer.py CHECKPOINT OUT [--dim 256]
"""

from __future__ import annotations

import argparse

from model2vec.distill import distill_from_model
from transformers import AutoModel, AutoTokenizer


def main() -> None:
    """Distil and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--dim", type=int, default=256)
    options = parser.parse_args()
    model = AutoModel.from_pretrained(options.checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(options.checkpoint)
    distill_from_model(model, tokenizer, pca_dims=options.dim).save_pretrained(options.out)


if __name__ == "__main__":
    main()

"""Embed a dataset of Hugging Face datasets in several processes, as a map over batches.

    python examples/encode_datasets.py [texts.csv] [--column text] [--num-proc 2]

Without a file, it embeds a thousand made-up texts.
"""

from __future__ import annotations

import argparse
from typing import Any

from datasets import Dataset, load_dataset

from wordllama_st import StaticEncoder


class Embed:
    """The function of a batch. Each process gets the model once, with this."""

    def __init__(self, model: str, column: str) -> None:
        self.encoder, self.column = StaticEncoder.from_pretrained(model), column

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, Any]:
        return {"embedding": self.encoder.encode(batch[self.column], normalize_embeddings=True)}


def main() -> None:
    """Embed the texts, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--column", default="text")
    parser.add_argument("--num-proc", type=int, default=2)
    parser.add_argument("--model", default="wordllama-l2-supercat-256")
    options = parser.parse_args()
    if options.file:
        texts = load_dataset("csv", data_files=options.file, split="train")
    else:
        texts = Dataset.from_dict({"text": [f"Llama number {number} eats grass." for number in range(1000)]})
    embed = Embed(options.model, options.column)
    embedded = texts.map(embed, batched=True, batch_size=10_000, num_proc=options.num_proc)
    print(f"{len(embedded)} rows, {len(embedded[0]['embedding'])} dimensions: {', '.join(embedded.column_names)}")


if __name__ == "__main__":
    main()

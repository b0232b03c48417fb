"""Make an embedder that the stock class loads from the checkpoint of a decoder LLM.

    pip install "wordllama-st[train]"
    python examples/from_your_own_llm.py                      # of a tiny Llama with random weights, which is made here
    python examples/from_your_own_llm.py path/to/checkpoint --dim 256 --out embedder

A checkpoint is a directory with config.json, a tokenizer and .safetensors files, or a Hub id, of which only the token
table is downloaded. The training data are the docstrings of the installed packages; replace them by your own.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from wordllama_st import Codebook, bake, build_model
from wordllama_st.data.docstrings import Docstring, extract_docstrings, installed_packages
from wordllama_st.training.supervised import retrieval_evaluator

#: The most docstrings of one package.
EACH = 100


def docstrings(count: int) -> list[Docstring]:
    """Collect docstrings of the installed packages."""
    found: list[Docstring] = []
    for folder in installed_packages().values():
        if len(found) >= count:
            break
        found += extract_docstrings(folder, limit=EACH)
    return found[:count]


def write_tiny_llama(directory: Path, texts: list[str]) -> None:
    """Save a Llama of a few megabytes: random weights, and a tokenizer trained on some texts."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=8000, show_progress=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer).save_pretrained(directory)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=1,
        num_attention_heads=4,
    )
    LlamaForCausalLM(config).save_pretrained(directory)


def main() -> None:
    """Extract, build, train, bake and load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", help="of your LLM (default: a tiny one is made)")
    parser.add_argument("--dim", type=int, default=128, help="length of the vectors (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=2000, help="docstrings to train on (default: %(default)s)")
    parser.add_argument("--epochs", type=float, default=3, help="times to go over them (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="where to save the embedder (default: nowhere that lasts)")
    arguments = parser.parse_args()
    pairs = docstrings(arguments.pairs)
    held_out, rest = pairs[::10], [pair for index, pair in enumerate(pairs) if index % 10]

    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = arguments.checkpoint or Path(scratch, "tiny-llama")
        if arguments.checkpoint is None:
            write_tiny_llama(checkpoint, [f"{pair.summary} {pair.body}" for pair in rest])

        # 1. The token table and the tokenizer, out of the checkpoint. The table stays on disk.
        codebook = Codebook.from_pretrained(checkpoint)
        print(f"Codebook: {codebook!r}")

        # 2. A weight for each token and a projection, in front of them the table.
        model = build_model(codebook, dim=arguments.dim, token_weights="stopwords")

        # 3. Training is sentence-transformers' own.
        evaluate = retrieval_evaluator(
            [pair.summary for pair in held_out], [pair.body for pair in held_out], name="held-out"
        )
        before = evaluate(model)
        loss = MatryoshkaLoss(
            model, MultipleNegativesRankingLoss(model), matryoshka_dims=[arguments.dim, arguments.dim // 2]
        )
        SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                str(Path(scratch, "checkpoints")),
                num_train_epochs=arguments.epochs,
                per_device_train_batch_size=128,
                learning_rate=3e-3,  # far above a transformer's
                save_strategy="no",
                report_to="none",
                logging_strategy="no",
            ),
            train_dataset=Dataset.from_dict(
                {"anchor": [pair.summary for pair in rest], "positive": [pair.body for pair in rest]}
            ),
            loss=loss,
        ).train()

        # 4. The modules run once over the vocabulary, and their outputs are the new table.
        output = arguments.out or Path(scratch, "embedder")
        bake(model, output)

        # 5. What is left is an embedder that needs neither the LLM nor this package.
        embedder = SentenceTransformer(str(output))
        after = evaluate(embedder)
        for metric in ("recall@10", "mrr@10"):
            key = f"held-out_cosine_{metric}"
            print(f"{metric:10} before {before[key]:.3f}   after {after[key]:.3f}")
        size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
        print(f"{embedder.get_embedding_dimension()} dimensions, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

"""Training speed: pool then project, beside WordLlama's order, project every position then average.

The same token table, texts, initial weights, loss and optimiser; each contender in a process of its own, in turn, so
that its peak memory is its own and the machine's moods meet both. Prints pairs/s, peak memory, and the loss of each
after every step, which must agree.

    python benchmarks/training_speed.py [--dims 1024 4096] [--steps 10]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from operator import truediv
from typing import Any

import torch
import torch.nn.functional as F
from memory import watch_peak
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from torch import Tensor, nn

from wordllama_st import Codebook, LLMTokenEmbedding, Projection, WeightedPool
from wordllama_st.data.docstrings import extract_docstrings, installed_packages
from wordllama_st.static import released
from wordllama_st.storage.tokenizer import load_tokenizer, plain_tokenizer

OUT_DIM = 1024
MATRYOSHKA_DIMS = [1024, 512, 256, 128, 64]
BATCH_SIZE = 256
MAX_TOKENS = 256  # as in WordLlama's recipe for l2_supercat, and padded to the longest of the batch as there
OURS, OURS_BF16, WORDLLAMA = "wordllama-st", "wordllama-st, bfloat16 table", "WordLlama's formula"


class ProjectEveryPosition(nn.Module):
    """WordLlama's weighted projector and average pooling, from their formula: 1/n · Σ P(gelu(w_t) e_t)."""

    def __init__(self, table: Tensor, tokens: LLMTokenEmbedding) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(table, freeze=True)
        self.weights = nn.Parameter(torch.ones(len(table)))
        self.projection = nn.Linear(table.shape[1], OUT_DIM)
        self.preprocess = tokens.preprocess

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        ids, mask = features["input_ids"], features["attention_mask"].unsqueeze(-1)
        weighted = self.embedding(ids) * F.gelu(self.weights[ids]).unsqueeze(-1)
        projected = self.projection(weighted)
        features["sentence_embedding"] = (projected * mask).sum(dim=1) / mask.sum(dim=1)
        return features


def build(contender: str, dim: int) -> SentenceTransformer:
    """The contender's model over a table that is exact in bfloat16, so that its dtype changes no result."""
    tokenizer = plain_tokenizer(load_tokenizer(released.fetch(released.DEFAULT_MODEL).tokenizer))
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(tokenizer.get_vocab_size(), dim, generator=generator, dtype=torch.bfloat16)
    codebook = Codebook(table if contender == OURS_BF16 else table.float(), tokenizer)
    tokens = LLMTokenEmbedding(codebook, max_seq_length=MAX_TOKENS)
    torch.manual_seed(0)
    start = nn.Linear(dim, OUT_DIM)
    if contender == WORDLLAMA:
        baseline = ProjectEveryPosition(codebook.weight, tokens)
        baseline.projection.load_state_dict(start.state_dict())
        return SentenceTransformer(modules=[baseline])
    projection = Projection(dim, OUT_DIM)
    projection.project.load_state_dict(start.state_dict())
    return SentenceTransformer(modules=[tokens, WeightedPool(codebook.num_embeddings), projection])


def batches(steps: int) -> list[tuple[list[str], list[str]]]:
    """Docstring summaries and bodies, as many batches as there are steps."""
    pairs: list[tuple[str, str]] = []
    for name in ("scipy", "sklearn", "pandas", "torch", "sympy", "numpy"):
        if len(pairs) < steps * BATCH_SIZE:
            pairs += [
                (docstring.summary, docstring.body)
                for docstring in extract_docstrings(installed_packages()[name], 2000)
            ]
    pairs = pairs[: steps * BATCH_SIZE]
    parts = [pairs[start : start + BATCH_SIZE] for start in range(0, len(pairs), BATCH_SIZE)]
    return [([summary for summary, _ in part], [body for _, body in part]) for part in parts]


def contend(contender: str, dim: int, steps: int) -> None:
    """Train for some steps and print what was measured, as JSON."""
    model = build(contender, dim)
    loss_function = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), MATRYOSHKA_DIMS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = batches(steps)
    losses, seconds = [], []
    with watch_peak() as peak:
        for texts in data:
            start = time.perf_counter()
            features = [model.preprocess(column) for column in texts]
            optimizer.zero_grad()
            loss = loss_function(features, torch.empty(0))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"losses": losses, "seconds": seconds, "peak": peak.resident}))


def run(contender: str, dim: int, steps: int) -> dict[str, Any]:
    """Let a contender train in a process of its own."""
    command = [sys.executable, __file__, "--contender", contender, "--dims", str(dim), "--steps", str(steps)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def compare(dim: int, steps: int) -> None:
    """Let all contenders train in turn, and print them side by side."""
    results = {contender: run(contender, dim, steps) for contender in (OURS, OURS_BF16, WORDLLAMA)}
    against = results[WORDLLAMA]
    print(f"\nD = {dim:,} → {OUT_DIM:,}, batches of {BATCH_SIZE} pairs, texts of up to {MAX_TOKENS} tokens")
    print(f"{'':28}{'pairs/s':>9}{'speed-up (least-most)':>26}{'peak memory':>14}{'ratio':>8}")
    for contender, result in results.items():
        # The first step also allocates the optimiser's state and touches everything for the first time.
        ratios = sorted(map(truediv, against["seconds"][1:], result["seconds"][1:]))
        spread = f"{statistics.median(ratios):.1f}x ({ratios[0]:.1f}-{ratios[-1]:.1f})"
        rate = BATCH_SIZE / statistics.median(result["seconds"][1:])
        peak = result["peak"]
        print(f"{contender:28}{rate:>9,.0f}{spread:>26}{peak / 2**30:>11.2f} GB{peak / against['peak']:>8.2f}")
    print(f"\n{'loss at step':28}" + "".join(f"{step + 1:>10}" for step in range(steps)))
    for contender, result in results.items():
        print(f"{contender:28}" + "".join(f"{loss:>10.5f}" for loss in result["losses"]))
    columns = zip(*(result["losses"] for result in results.values()), strict=True)
    print(f"{'largest difference':28}" + "".join(f"{max(losses) - min(losses):>10.0e}" for losses in columns))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        contend(options.contender, options.dims[0], options.steps)
        return
    for dim in options.dims:
        compare(dim, options.steps)


if __name__ == "__main__":
    main()

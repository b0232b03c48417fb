"""What the tests share: a small tokenizer, a token table for it, and text that a model can learn something from.

Everything is made here, from a few templates and seeded random numbers: no test downloads a file or reads the network.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# Before anything imports huggingface_hub, which reads them once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# And before anything imports torch: for tensors as small as the tests', waiting for other threads costs more than
# their help is worth, and on a busy machine many times more.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from texts import EMBEDDING_DIM, made_up_pairs
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    # At run time the fixtures import them: the tests that need no torch should not wait for it.
    from datasets import Dataset

    from wordllama_st import Codebook

VOCABULARY_SIZE = 512

# How long an example takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A byte-level BPE, as most language models have; every text has tokens in it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((text for pair in made_up_pairs(500) for text in pair), trainer)
    return tokenizer


@pytest.fixture
def codebook(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Codebook:
    """A random token table [V, 32]: float32, or the dtype that a test hands over by indirect parametrisation."""
    import torch

    from wordllama_st import Codebook

    dtype: torch.dtype = getattr(request, "param", torch.float32)
    table = torch.randn(tokenizer.get_vocab_size(), EMBEDDING_DIM, generator=torch.Generator().manual_seed(0))
    return Codebook(table.to(dtype), tokenizer)


@pytest.fixture
def pairs() -> Dataset:
    """64 rows of anchor and positive, each row about something else."""
    from datasets import Dataset

    anchors, positives = zip(*made_up_pairs(64, seed=1), strict=True)
    return Dataset.from_dict({"anchor": list(anchors), "positive": list(positives)})

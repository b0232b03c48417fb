"""A tokenizer with all that a codebook must drop, a checkpoint, a codebook."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from checkpoints import (
    COLUMNS,
    MODELS,
    ROWS,
    SENTENCES,
    save_model,
)
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from wordllama_st import Codebook


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer that adds special tokens, truncates and pads, as a checkpoint's own may."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=12, pad_id=2, pad_token="<pad>")
    return tokenizer


@pytest.fixture
def checkpoint(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A small Llama checkpoint in several shards."""
    return save_model(MODELS["llama, untied"][0](), tmp_path / "checkpoint", tokenizer, max_shard_size="8KB")


@pytest.fixture
def large_path(tmp_path: Path) -> Iterator[Path]:
    """A directory for files that pytest should not keep for the next three runs, as it does with ``tmp_path``."""
    path = tmp_path / "large"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def codebook(tokenizer: Tokenizer) -> Codebook:
    """A codebook in memory, different at every call."""
    return Codebook(torch.randn(ROWS, COLUMNS), tokenizer)

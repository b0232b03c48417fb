"""A tokenizer with all that a static model must not do, and one that does not know every word."""

from __future__ import annotations

import pytest
from static_models import TEXTS, random_table
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from wordllama_st.static.table import StaticTable


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A byte-level BPE that has no unknown token, and would add special tokens if it were asked to."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return tokenizer


@pytest.fixture
def cutting_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, but it truncates and pads."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=12)
    return tokenizer


@pytest.fixture(scope="session")
def word_tokenizer() -> Tokenizer:
    """Six words and the unknown one."""
    words = ["[UNK]", "the", "weather", "is", "lovely", "today", "."]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


@pytest.fixture
def table(tokenizer: Tokenizer) -> StaticTable:
    return random_table(tokenizer)

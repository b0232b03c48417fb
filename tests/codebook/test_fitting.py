"""A table has a row for every id of its tokenizer, and a text has the ids of its own words only.

Protects: padding rows are trimmed and counted; added tokens without a row are an error or zeros, as asked; the special
tokens that stand in a text are text, for every kind of tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import COLUMNS, ROWS, SENTENCES, save_table
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

from wordllama_st import Codebook
from wordllama_st.errors import CodebookError
from wordllama_st.static.released import DEFAULT_MODEL, fetch
from wordllama_st.storage.tokenizer import load_tokenizer, text_tokenizer

SPECIAL = ["<unk>", "<s>", "</s>", "[CLS]", "<|endoftext|>"]


def test_rows_behind_the_last_id_are_trimmed_and_counted(tmp_path: Path, tokenizer: Tokenizer) -> None:
    table = torch.randn(ROWS + 20, COLUMNS)
    codebook = Codebook.from_pretrained(save_table(table, tmp_path / "checkpoint", tokenizer), tensor_name="table")
    assert torch.equal(codebook.weight, table[:ROWS])
    assert codebook.provenance.trimmed_rows == 20
    assert codebook.provenance.tensor_sha256 == hashlib.sha256(table.numpy().tobytes()).hexdigest()
    assert codebook.provenance.sha256 == hashlib.sha256(table[:ROWS].numpy().tobytes()).hexdigest()
    codebook.save(tmp_path / "codebook")
    assert torch.equal(Codebook.load(tmp_path / "codebook").weight, table[:ROWS])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_added_tokens_without_a_row_are_zeros_when_asked(
    dtype: torch.dtype, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    more = Tokenizer.from_str(tokenizer.to_str())
    more.add_tokens(["<tool>", AddedToken("<eot>", special=True)])
    table = torch.randn(ROWS, COLUMNS).to(dtype)
    directory = save_table(table, tmp_path / "checkpoint", more)
    with pytest.raises(CodebookError, match=r"'<tool>' \(300\), '<eot>' \(301\).*zero_added_tokens"):
        Codebook.from_pretrained(directory, tensor_name="table")
    codebook = Codebook.from_pretrained(directory, tensor_name="table", zero_added_tokens=True)
    assert codebook.provenance.zero_rows == 2
    assert torch.equal(codebook.weight, torch.cat([table, torch.zeros(2, COLUMNS, dtype=dtype)]))
    codebook.save(tmp_path / "codebook")
    assert torch.equal(Codebook.load(tmp_path / "codebook").weight, codebook.weight)
    assert codebook.tokenizer.encode("<tool>").ids == [300]
    assert 301 not in codebook.tokenizer.encode("<eot>").ids


def test_only_added_tokens_may_be_zeros(tmp_path: Path, tokenizer: Tokenizer) -> None:
    directory = save_table(torch.zeros(ROWS - 1, COLUMNS), tmp_path / "checkpoint", tokenizer)
    with pytest.raises(CodebookError, match="Use the tokenizer"):
        Codebook.from_pretrained(directory, tensor_name="table", zero_added_tokens=True)


def bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def bpe_of_whole_words() -> Tokenizer:
    definition = json.loads(bpe().to_str())
    definition["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(definition))


def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [*SPECIAL[:3], "[cls]"]  # the lower-cased text would find this one
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=100, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 20, trainer)
    return tokenizer


def llama2() -> Tokenizer:
    return load_tokenizer(fetch(DEFAULT_MODEL).tokenizer)


KINDS = [bpe, bpe_of_whole_words, wordpiece, unigram, llama2]


@pytest.mark.parametrize("build", KINDS)
@settings(max_examples=60)
@given(parts=st.lists(st.one_of(st.sampled_from([*SPECIAL, "[cls]", " ", "llama"]), st.text(max_size=5)), max_size=8))
def test_no_text_has_a_special_token(build: Callable[[], Tokenizer], parts: list[str]) -> None:
    original, tokenizer = _TOKENIZERS[build.__name__]
    special = {token_id for token_id, token in original.get_added_tokens_decoder().items() if token.content != "<unk>"}
    assert special
    assert not special & set(tokenizer.encode("".join(parts)).ids)
    assert tokenizer.get_vocab_size() == original.get_vocab_size()


_TOKENIZERS = {build.__name__: (original := build(), text_tokenizer(original)) for build in KINDS}


@pytest.mark.parametrize("build", KINDS)
def test_added_tokens_that_are_text_keep_their_ids(build: Callable[[], Tokenizer]) -> None:
    original = build()
    original.add_tokens([AddedToken("<eot>", special=True), "<tool>", AddedToken("<pad>", special=True), "<call>"])
    tokenizer = text_tokenizer(original)
    for text in ("<tool>", "<call>", "a<tool><eot>b", "<pad>"):
        theirs = original.encode(text, add_special_tokens=False).ids
        ours = tokenizer.encode(text).ids
        for token in ("<tool>", "<call>"):
            assert ours.count(original.token_to_id(token)) == theirs.count(original.token_to_id(token))
        assert not {original.token_to_id("<eot>"), original.token_to_id("<pad>")} & set(ours)


@pytest.mark.parametrize("build", KINDS)
def test_texts_without_special_tokens_are_what_they_were(build: Callable[[], Tokenizer]) -> None:
    original, tokenizer = _TOKENIZERS[build.__name__]
    for text in SENTENCES:
        assert tokenizer.encode(text).ids == original.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("ignore_merges", [False, True])
def test_merges_that_lead_to_a_special_token_are_left_out(ignore_merges: bool) -> None:
    """Without a pre-tokenizer that cuts "<s>" up, plain text would be merged into it; and tokenizers refuses a merge
    whose result was renamed, by an error of no class."""
    vocabulary = {piece: index for index, piece in enumerate(["<s>", "a", "<", "s", ">", "<s", "<s>a", "as"])}
    merges = [("a", "s"), ("<", "s"), ("<s", ">"), ("<s>", "a")]
    original = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=ignore_merges))
    original.add_special_tokens(["<s>"])
    tokenizer = text_tokenizer(original)
    assert tokenizer.encode("a<s>aas").tokens == ["a", "<s", ">", "a", "as"]
    assert tokenizer.encode("<s>").tokens == ["<s", ">"]
    assert tokenizer.get_vocab_size() == len(vocabulary)
    assert original.id_to_token(0).strip() == tokenizer.id_to_token(0).strip() == "<s>"


@pytest.mark.parametrize("build", KINDS)
def test_an_added_word_changes_no_other_words(build: Callable[[], Tokenizer]) -> None:
    """It stands for the whole word only, though the vocabulary has special tokens that are taken out."""
    original = build()
    original.add_tokens([AddedToken("<eot>", special=True), AddedToken("lam", single_word=True)])
    tokenizer = text_tokenizer(original)
    for text in ("the lam", "the lamp and lams", "1lam llamas"):
        assert tokenizer.encode(text).ids == original.encode(text, add_special_tokens=False).ids
    assert sorted(tokenizer.get_vocab().values()) == sorted(original.get_vocab().values())

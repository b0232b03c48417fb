"""Tokenizers that no tokenizer.json was written for are converted, or it is said why they cannot be.

Protects: a codebook of a checkpoint with a SentencePiece, tiktoken, BPE or WordPiece vocabulary alone gives the ids
that the library gives which the vocabulary was made with, on texts of any script, with whatever spaces; and where that
cannot be had (nothing there, damaged, named for another class, the extra missing), there is an error and no codebook
of other tokens.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from checkpoints import MODELS, gpt2_config
from texts import made_up_pairs
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    MT5Config,
    MT5EncoderModel,
    PegasusConfig,
    PegasusModel,
    T5Config,
    T5EncoderModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from wordllama_st import Codebook
from wordllama_st.errors import CodebookError, CodebookNotFoundError

sentencepiece = pytest.importorskip("sentencepiece")

SENTENCES = [text for pair in made_up_pairs(300) for text in pair]
SCRIPTS = ["Привет, мир! Γειά", "日本語のテキスト 한국어 العربية हिन्दी ไทย", "naïve café e\u0301 Straße İstanbul"]
TEXTS = [
    *SENTENCES[:20],
    *SCRIPTS,
    "",
    " ",
    " a space before",
    "and one behind ",
    "  two  spaces   and three ",
    "lines\nand\r\n\n more\tlines \n",
    "It's 1234567 or 3.14, $9,99; x+=1; [a](b) <tag> `code`",
    "\ufb01ne \uff21\uff22 \u2163",
    "🦙👩\u200d👩\u200d👧 emoji 🙂🙂",
    "\u00a0\u3000odd spaces",
]


@cache
def trained(kind: str, size: int, **options: Any) -> bytes:
    """A SentencePiece model that has seen some, but not all, of the characters of the texts."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES + SCRIPTS[:2]), model_writer=model, vocab_size=size, model_type=kind,
        minloglevel=2, num_threads=1, character_coverage=0.99, **options,
    )  # fmt: skip
    return model.getvalue()


def llama_bpe() -> bytes:
    return trained(
        "bpe", 700, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True,
    )  # fmt: skip


def normalising_bpe() -> bytes:
    return trained("bpe", 300)


def t5_unigram() -> bytes:
    return trained("unigram", 110, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)


def mt5_unigram() -> bytes:
    return trained("unigram", 350, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, byte_fallback=True)


def fairseq_unigram() -> bytes:
    return trained("unigram", 110)


def llama() -> LlamaModel:
    return LlamaModel(
        LlamaConfig(vocab_size=800, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    )


def bert_options() -> dict[str, int]:
    return {
        "vocab_size": 500, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
    }  # fmt: skip


def t5_options() -> dict[str, int]:
    return {"vocab_size": 800, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}


def pegasus() -> PegasusModel:
    return PegasusModel(
        PegasusConfig(
            vocab_size=500, d_model=8, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=8, decoder_ffn_dim=8,
            encoder_attention_heads=1, decoder_attention_heads=1,
        )
    )  # fmt: skip


LLAMA_TOKENIZER = {"tokenizer_class": "LlamaTokenizer"}
#: A model, its vocabulary, the file that has it, and tokenizer_config.json; the ids are SentencePiece's own.
SENTENCEPIECE: dict[str, tuple[Callable[[], Any], Callable[[], bytes], str, dict[str, Any] | None]] = {
    "Llama": (llama, llama_bpe, "tokenizer.model", LLAMA_TOKENIZER),
    "Llama, legacy": (llama, llama_bpe, "tokenizer.model", LLAMA_TOKENIZER | {"legacy": True, "add_bos_token": True}),
    "Llama, no class named": (llama, llama_bpe, "tokenizer.model", None),
    "Llama, without bytes": (llama, normalising_bpe, "tokenizer.model", LLAMA_TOKENIZER),
    "T5": (lambda: T5EncoderModel(T5Config(**t5_options())), t5_unigram, "spiece.model", None),
    "T5, class named": (
        lambda: T5EncoderModel(T5Config(**t5_options())),
        t5_unigram,
        "spiece.model",
        {"tokenizer_class": "T5Tokenizer"},
    ),
    "mT5, with bytes": (lambda: MT5EncoderModel(MT5Config(**t5_options())), mt5_unigram, "spiece.model", None),
}


def write(directory: Path, model: Any, content: bytes, filename: str, config: dict[str, Any] | None = None) -> Path:
    """A checkpoint as transformers writes it, and its tokenizer as its authors do."""
    model.save_pretrained(directory)
    (directory / filename).write_bytes(content)
    if config is not None:
        (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize("kind", SENTENCEPIECE)
def test_a_sentencepiece_model_gives_the_ids_it_gives(kind: str, tmp_path: Path) -> None:
    build, train, filename, config = SENTENCEPIECE[kind]
    codebook = Codebook.from_pretrained(write(tmp_path / "checkpoint", build(), train(), filename, config))
    original = sentencepiece.SentencePieceProcessor(model_proto=train())
    for text in TEXTS:
        assert codebook.tokenizer.encode(text).ids == original.encode(text), text
    # From a saved codebook too, where it is a tokenizer.json.
    codebook.save(tmp_path / "codebook")
    loaded = Codebook.load(tmp_path / "codebook")
    assert [loaded.tokenizer.encode(text).ids for text in TEXTS] == [original.encode(text) for text in TEXTS]


@pytest.mark.parametrize("named", [True, False])
def test_a_family_s_own_numbers_are_those_of_transformers(named: bool, tmp_path: Path) -> None:
    """fairseq numbers what SentencePiece numbers from 0 on from 1 on, and has special tokens in front."""
    config = {"tokenizer_class": "XLMRobertaTokenizer"} if named else None
    model = XLMRobertaModel(XLMRobertaConfig(**bert_options()))
    directory = write(tmp_path / "checkpoint", model, fairseq_unigram(), "sentencepiece.bpe.model", config)
    tokenizer = Codebook.from_pretrained(directory).tokenizer
    reference = AutoTokenizer.from_pretrained(directory)
    original = sentencepiece.SentencePieceProcessor(model_proto=fairseq_unigram())
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        assert ids == reference(text, add_special_tokens=False)["input_ids"], text
        assert ids == [3 if index == original.unk_id() else index + 1 for index in original.encode(text)], text


def test_a_family_may_have_numbers_of_its_own_and_spaces_of_sentencepiece(tmp_path: Path) -> None:
    """Pegasus has 103 rows in front of SentencePiece's, and transformers drops its space in front of a text."""
    directory = write(tmp_path / "checkpoint", pegasus(), t5_unigram(), "spiece.model")
    tokenizer = Codebook.from_pretrained(directory).tokenizer
    original = sentencepiece.SentencePieceProcessor(model_proto=t5_unigram())
    pieces = AutoTokenizer.from_pretrained(directory).get_vocab()
    assert pieces["▁the"] != original.piece_to_id("▁the")
    for text in TEXTS:
        known = [original.id_to_piece(index) for index in original.encode(text)]
        assert tokenizer.encode(text).ids == [pieces[piece] for piece in known], text


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=299, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def test_a_vocab_json_and_merges(tmp_path: Path) -> None:
    original = byte_level()
    GPT2Model(gpt2_config()).save_pretrained(tmp_path)
    original.model.save(str(tmp_path))
    assert not (tmp_path / "tokenizer.json").exists()
    tokenizer = Codebook.from_pretrained(tmp_path).tokenizer
    assert [tokenizer.encode(text).ids for text in TEXTS] == [original.encode(text).ids for text in TEXTS]
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(CodebookError, match=r"cannot make one of its vocab\.json"):
        Codebook.from_pretrained(tmp_path)


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_vocab_txt(lowercase: bool, tmp_path: Path) -> None:
    original = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    original.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    original.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    original.train_from_iterator(
        SENTENCES, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    )
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lowercase}
    (tmp_path / "vocab").mkdir()
    original.model.save(str(tmp_path / "vocab"))
    content = (tmp_path / "vocab" / "vocab.txt").read_bytes()
    directory = write(tmp_path / "a", BertModel(BertConfig(**bert_options())), content, "vocab.txt", config)
    tokenizer = Codebook.from_pretrained(directory).tokenizer
    assert [tokenizer.encode(text).ids for text in TEXTS] == [original.encode(text).ids for text in TEXTS]


#: Llama 3's, which is also what transformers takes where nothing else is said.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def test_a_tiktoken_model(tmp_path: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    byte = {letter: number for number, letter in bytes_to_unicode().items()}
    ranks = {bytes(byte[letter] for letter in token): rank for token, rank in byte_level().get_vocab().items()}
    lines = [b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in sorted(ranks.items(), key=lambda x: x[1])]
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    directory = write(tmp_path / "checkpoint", llama(), b"".join(lines), "tokenizer.model", config)
    codebook = Codebook.from_pretrained(directory)
    original = tiktoken.Encoding("llama3", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    assert codebook.num_embeddings == len(ranks)
    for text in TEXTS:
        assert codebook.tokenizer.encode(text).ids == original.encode(text), text


# What is no tokenizer


def test_no_tokenizer_at_all_is_not_found(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path)
    with pytest.raises(CodebookNotFoundError, match="There is no tokenizer"):
        Codebook.from_pretrained(tmp_path)


def cut_between_fields() -> bytes:
    """Half the pieces and nothing behind them, which is a message that can be read."""
    message = pytest.importorskip("sentencepiece.sentencepiece_model_pb2").ModelProto.FromString(t5_unigram())
    del message.pieces[50:]
    for field in ("trainer_spec", "normalizer_spec"):
        message.ClearField(field)
    return bytes(message.SerializeToString())


def with_a_bad_charsmap() -> bytes:
    """The first unit of the character map leads out of it: the tokenizers library would panic at the first text."""
    message = pytest.importorskip("sentencepiece.sentencepiece_model_pb2").ModelProto.FromString(t5_unigram())
    charsmap = bytearray(message.normalizer_spec.precompiled_charsmap)
    charsmap[4:8] = b"\0\xfe\xff\xff"
    message.normalizer_spec.precompiled_charsmap = bytes(charsmap)
    return bytes(message.SerializeToString())


DAMAGED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "one byte": lambda: b"\n",
    "cut": lambda: t5_unigram()[:-3],
    "cut in half": lambda: t5_unigram()[: len(t5_unigram()) // 2],
    "cut between fields": cut_between_fields,
    "zeros": lambda: bytes(1000),
    "an error page": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
    "a pointer to the file": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "a bad character map": with_a_bad_charsmap,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_model_is_named(kind: str, tmp_path: Path) -> None:
    directory = write(tmp_path / "a", T5EncoderModel(T5Config(**t5_options())), DAMAGED[kind](), "spiece.model")
    with pytest.raises(CodebookError, match=r"spiece\.model cannot be used"):
        Codebook.from_pretrained(directory)


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("vocab.json", b"{"),
        pytest.param("vocab.json", b"[" * 100_000, id="nested"),
        ("vocab.json", b"[]"),
        ("vocab.json", b"{}"),
        ("vocab.txt", b""),
        ("vocab.txt", b"\xff\xfe"),
    ],
)
def test_a_damaged_vocabulary_is_named(filename: str, content: bytes, tmp_path: Path) -> None:
    directory = write(tmp_path / "a", MODELS["bert"][0](), content, filename)
    with pytest.raises(CodebookError, match=rf"{filename} cannot be used"):
        Codebook.from_pretrained(directory)


def test_a_class_that_looks_for_another_file_makes_no_codebook(tmp_path: Path) -> None:
    """transformers makes a tokenizer of <unk>, <s> and </s> of it, and says nothing."""
    directory = write(tmp_path / "checkpoint", llama(), llama_bpe(), "spiece.model", LLAMA_TOKENIZER)
    with pytest.raises(CodebookError, match=r"spiece\.model: a LlamaTokenizer takes 3 of its 700 tokens"):
        Codebook.from_pretrained(directory)


def test_what_no_conversion_gives_the_tokens_of_is_no_codebook(tmp_path: Path) -> None:
    """SentencePiece does not begin anew behind a token of the user's; the tokenizers library does."""
    content = trained(
        "bpe", 700, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        user_defined_symbols="1,2,3",
    )  # fmt: skip
    directory = write(tmp_path / "checkpoint", llama(), content, "tokenizer.model", LLAMA_TOKENIZER)
    with pytest.raises(CodebookError, match=r"tokenizer\.model gives other tokens than SentencePiece does.*1234567"):
        Codebook.from_pretrained(directory)


def bad_charsmap(definition: dict[str, Any]) -> None:
    charsmap = base64.b64encode(b"\4\0\0\0\0\xfe\xff\xff").decode()
    damaged = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    definition["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}, damaged]}


def missing_unknown(definition: dict[str, Any]) -> None:
    definition["model"]["unk_token"] = "<missing>"
    definition["pre_tokenizer"] = None


def long_prefix(definition: dict[str, Any]) -> None:
    definition["model"]["continuing_subword_prefix"] = "unreasonable"


#: What the library loads, and raises or panics at some texts for; or panics at once.
BAD_DEFINITIONS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "character map": (bad_charsmap, "is not a tokenizer.json .*precompiled_charsmap is damaged"),
    "unknown token": (missing_unknown, "is no tokenizer that can read every text: .*<missing>"),
    "prefix": (long_prefix, "is not a tokenizer.json .*its merge to .* lacks the prefix 'unreasonable'"),
}


@pytest.mark.parametrize("kind", BAD_DEFINITIONS)
def test_a_tokenizer_json_that_the_library_fails_at_later_is_named(kind: str, checkpoint: Path) -> None:
    damage, message = BAD_DEFINITIONS[kind]
    definition = json.loads((checkpoint / "tokenizer.json").read_text())
    damage(definition)
    (checkpoint / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(CodebookError, match=rf"tokenizer\.json {message}"):
        Codebook.from_pretrained(checkpoint)


_HIDDEN = """
import sys, importlib.util
hidden, directory = sys.argv[1:]
original = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == hidden else original(name, package)
sys.modules[hidden] = None
from wordllama_st import Codebook
from wordllama_st.errors import MissingExtraError
try:
    Codebook.from_pretrained(directory, tensor_name="embed_tokens.weight")
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("hidden", "content"),
    [("sentencepiece", llama_bpe), ("google.protobuf", llama_bpe), ("tiktoken", lambda: b"YQ== 0\nYg== 1\n")],
)
def test_a_missing_extra_says_which_install_mends_it(hidden: str, content: Callable[[], bytes], tmp_path: Path) -> None:
    # An interpreter that cannot find the module, as one is where the extra was not installed.
    directory = write(tmp_path / "checkpoint", llama(), content(), "tokenizer.model")
    run = subprocess.run(
        [sys.executable, "-c", _HIDDEN, hidden, directory], check=True, capture_output=True, text=True, timeout=60
    )
    module = hidden.removeprefix("google.")
    assert run.stdout.strip() == f'This needs {module}: pip install "wordllama-st[sentencepiece]"'

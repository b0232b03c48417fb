"""Codebooks: GGUF files, checkpoints and their tokenizers, saved codebooks and trained models."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import sentencepiece
from safetensors.numpy import save_file
from sentencepiece import sentencepiece_model_pb2
from target import Target
from tokenizers import Tokenizer, models, pre_tokenizers

from wordllama_st.codebook import Codebook, find_table
from wordllama_st.codebook.input_embeddings import find_input_embeddings
from wordllama_st.storage.tokenizer import text_tokenizer

ROWS, COLUMNS = 64, 8
TABLE = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
INDEX, SHARD, CONFIG = "model.safetensors.index.json", "model-00001-of-00001.safetensors", "config.json"
TENSOR = "model.embed_tokens.weight"
TEXT = "Straße, e\u0301t\u00e9  \ufb01ne \uff21\u2163 日本語 한국어 हिन्दी 🦙👩\u200d👧\n\t 12 the llama </s>"
#: What SentencePiece models are trained on.
WORDS = [
    f"the {animal} {deed} there"
    for animal in ("llama", "otter")
    for deed in ("sings", "sleeps", "listens")
    for _ in "123"
]
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())[: ROWS - 1]
MERGE = (ALPHABET[-2], ALPHABET[-1])
TOKENS = [*ALPHABET, "".join(MERGE)]
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": ROWS, "hidden_size": COLUMNS,
    "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
}  # fmt: skip
BERT = {
    "architectures": ["BertModel"], "model_type": "bert", "vocab_size": ROWS, "hidden_size": COLUMNS,
    "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip


def byte_level() -> Tokenizer:
    """A byte-level BPE with a merge and a special token."""
    tokenizer = Tokenizer(models.BPE({token: token_id for token_id, token in enumerate(TOKENS)}, [MERGE]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([ALPHABET[0]])
    tokenizer.enable_truncation(500)
    tokenizer.enable_padding()
    return tokenizer


def write_checkpoint(folder: Path) -> None:
    """A small Llama in one shard with an index, and its tokenizer."""
    save_file({TENSOR: TABLE, "model.norm.weight": TABLE[0]}, folder / SHARD)
    index = {"metadata": {"total_size": 1}, "weight_map": {TENSOR: SHARD, "model.norm.weight": SHARD}}
    (folder / INDEX).write_text(json.dumps(index))
    byte_level().save(str(folder / "tokenizer.json"))


def read_checkpoint(folder: Path, name: str) -> None:
    """Take out the table, all of which is checked."""
    check(Codebook.from_pretrained(folder, tensor_name=TENSOR))


def check(codebook: Codebook) -> None:
    """See that a codebook is no larger than its file can be, and that it reads a text."""
    assert codebook.num_embeddings * codebook.embedding_dim * 2 <= 2**20
    codebook.tokenizer.encode(TEXT)


def write_gguf_files(folder: Path) -> None:
    """Models with a tokenizer of each kind; one is split into files, and one has a tokenizer.json inside."""
    fields = {"tokens": TOKENS, "token_type": [1] * ROWS, "merges": [" ".join(MERGE)], "model": "gpt2", "pre": "gpt-2"}
    write_gguf(folder / "model.gguf", fields)
    write_gguf(folder / "split.gguf", fields, split_max_tensors=1)
    write_gguf(folder / "json.gguf", fields | {"huggingface.json": byte_level().to_str()})
    words = ["[UNK]", "[CLS]", "▁the", "▁llama", "s", *(f"▁{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    write_gguf(folder / "bert.gguf", {"tokens": words, "model": "bert", "unknown_token_id": 0}, rows=len(words))
    for kind, model in (("unigram", "t5"), ("bpe", "llama")):
        message = sentencepiece_model_pb2.ModelProto.FromString(train_sentencepiece(kind))
        fields = {
            "model": model,
            "tokens": [piece.piece for piece in message.pieces],
            "scores": [piece.score for piece in message.pieces],
            "token_type": [piece.type for piece in message.pieces],
            "precompiled_charsmap": message.normalizer_spec.precompiled_charsmap,
            "remove_extra_whitespaces": True,
        }
        write_gguf(folder / f"{model}.gguf", fields)


def write_gguf(path: Path, fields: dict[str, Any], rows: int = ROWS, **options: Any) -> None:
    """The table, another tensor and a quantized one, after the metadata of a tokenizer."""
    writer = gguf.GGUFWriter(path, "llama", **options)
    for key, value in fields.items():
        add = {
            list: writer.add_array, bytes: writer.add_array, str: writer.add_string, bool: writer.add_bool,
            int: writer.add_uint32,
        }  # fmt: skip
        add[type(value)](f"tokenizer.ggml.{key}" if key != "huggingface.json" else f"tokenizer.{key}", value)
    writer.add_tensor("output_norm.weight", TABLE[0])
    writer.add_tensor("token_embd.weight", TABLE[:rows])
    quantized = gguf.quants.quantize(np.ones((2, 32), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def train_sentencepiece(kind: str) -> bytes:
    """A SentencePiece model, ``unigram`` or ``bpe``."""
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS), model_writer=content, vocab_size=ROWS, model_type=kind, minloglevel=2,
        num_threads=1, hard_vocab_limit=False,
    )  # fmt: skip
    return content.getvalue()


def read_gguf(folder: Path, name: str) -> None:
    """Find the table, read a block of it, and encode a text."""
    found = find_table(folder / name)
    found.rows.block(0, min(2, found.rows.shape[0]))
    text_tokenizer(found.tokenizer).encode(TEXT)
    assert np.prod(found.rows.shape) * 2 <= 2**20


def write_codebook(folder: Path) -> None:
    """A codebook that was saved."""
    write_checkpoint(folder)
    Codebook.from_pretrained(folder, tensor_name=TENSOR).save(folder / "codebook")


def read_codebook(folder: Path, name: str) -> None:
    """Open it, as what is trained with does."""
    codebook = Codebook.from_pretrained(folder / "codebook")
    check(codebook)
    codebook.weight.sum()
    assert repr(codebook)
    json.dumps(codebook.provenance.sha256)


def write_config(folder: Path) -> None:
    """The config.json of a small Llama and of a small BERT, which says that there is code for it."""
    for name, config in (("llama", LLAMA), ("bert", BERT | {"auto_map": {"AutoModel": "a.B"}})):
        (folder / name).mkdir()
        (folder / name / CONFIG).write_text(json.dumps(config))


def read_config(folder: Path, name: str) -> None:
    """Ask which tensor the token table is."""
    key = TENSOR if name.startswith("llama") else "embeddings.word_embeddings.weight"
    find_input_embeddings(folder / name, {key, "model.norm.weight"})


def write_vocabularies(folder: Path) -> None:
    """Checkpoints that have no tokenizer.json: with a SentencePiece model, and with BERT's vocab.txt."""
    words = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "##b"]).encode()
    for name, config, file, content in (
        ("llama", LLAMA, "tokenizer.model", train_sentencepiece("unigram")), ("bert", BERT, "vocab.txt", words)
    ):  # fmt: skip
        alone = folder / name
        alone.mkdir()
        write_checkpoint(alone)
        (alone / "tokenizer.json").unlink()
        (alone / file).write_bytes(content)
        (alone / CONFIG).write_text(json.dumps(config))
        (alone / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 512}))


def read_vocabulary(folder: Path, name: str) -> None:
    """Have transformers make a tokenizer of it, which is then compared with SentencePiece."""
    found = find_table((folder / name).parent, tensor_name=TENSOR)
    text_tokenizer(found.tokenizer).encode(TEXT)


def write_trained_model(folder: Path) -> None:
    """A model as training saves it."""
    from wordllama_st import build_model

    write_codebook(folder)
    build_model(Codebook.load(folder / "codebook"), dim=4).save_pretrained(str(folder / "model"))


def read_trained_model(folder: Path, name: str) -> None:
    """Load it."""
    from wordllama_st import model_from_pretrained

    model_from_pretrained(folder / "model", device="cpu")


GGUF = ("model", "split-00001-of-00003", "split-00002-of-00003", "json", "bert", "t5", "llama")
OF_MODEL = (
    "modules.json", "config_sentence_transformers.json", "0_LLMTokenEmbedding/config.json",
    "0_LLMTokenEmbedding/codebook.json", "1_WeightedPool/config.json", "1_WeightedPool/model.safetensors",
    "2_Projection/config.json", "2_Projection/model.safetensors",
)  # fmt: skip

TARGETS = [
    Target("gguf", write_gguf_files, [f"{name}.gguf" for name in GGUF], read_gguf),
    Target("checkpoint", write_checkpoint, (SHARD, INDEX, "tokenizer.json"), read_checkpoint),
    Target(
        "codebook", write_codebook,
        [f"codebook/{name}" for name in ("codebook.json", "codebook.safetensors", "tokenizer.json")], read_codebook,
    ),
    Target("config", write_config, (f"llama/{CONFIG}", f"bert/{CONFIG}"), read_config),
    Target(
        "vocabulary", write_vocabularies,
        ("llama/tokenizer.model", "llama/tokenizer_config.json", "bert/vocab.txt", "bert/tokenizer_config.json"),
        read_vocabulary,
    ),
    Target("trained-model", write_trained_model, [f"model/{name}" for name in OF_MODEL], read_trained_model),
]  # fmt: skip

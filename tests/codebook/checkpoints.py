"""What the tests of the codebook share: checkpoints as transformers writes them, and ways to look at files."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    PreTrainedModel,
)

ROWS, COLUMNS = 300, 16
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SENTENCES = [
    "A codebook is a table of vectors, one for every token of a vocabulary.",
    "Llamas carry their loads over the mountains without a word.",
    "Whoever reads a whole file to look at its head has time to spare.",
]
INDEX = "model.safetensors.index.json"


def llama_config(**options: bool) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=ROWS,
        hidden_size=COLUMNS,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        **options,
    )


def gpt2_config() -> GPT2Config:
    return GPT2Config(vocab_size=ROWS, n_embd=COLUMNS, n_layer=2, n_head=2, n_positions=32)


#: A model, and the key under which its checkpoint has the token table.
MODELS: dict[str, tuple[Callable[[], PreTrainedModel], str]] = {
    "llama, tied": (
        lambda: LlamaForCausalLM(llama_config(tie_word_embeddings=True)),
        "model.embed_tokens.weight",
    ),
    "llama, untied": (
        lambda: LlamaForCausalLM(llama_config(tie_word_embeddings=False)),
        "model.embed_tokens.weight",
    ),
    "llama, bare": (lambda: LlamaModel(llama_config()), "embed_tokens.weight"),
    "gpt2": (lambda: GPT2LMHeadModel(gpt2_config()), "transformer.wte.weight"),
    "gpt2, bare": (lambda: GPT2Model(gpt2_config()), "wte.weight"),
    "bert": (
        lambda: BertModel(
            BertConfig(
                vocab_size=ROWS,
                hidden_size=COLUMNS,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=32,
            )
        ),
        "embeddings.word_embeddings.weight",
    ),
}


def save_model(model: PreTrainedModel, directory: Path, tokenizer: Tokenizer, *, max_shard_size: str = "1GB") -> Path:
    """A checkpoint as transformers writes it."""
    model.save_pretrained(directory, max_shard_size=max_shard_size)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def save_table(table: torch.Tensor, directory: Path, tokenizer: Tokenizer) -> Path:
    """A checkpoint of a single tensor, ``table``, whose architecture nobody knows."""
    directory.mkdir()
    save_file({"table": table}, directory / "model.safetensors")
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def save_zeros(rows: int, columns: int, directory: Path, tokenizer: Tokenizer) -> Path:
    """As :func:`save_table`, float16 zeros that take no room on the disk."""
    size = rows * columns * 2
    header = json.dumps({"table": {"dtype": "F16", "shape": [rows, columns], "data_offsets": [0, size]}}).encode()
    directory.mkdir()
    tokenizer.save(str(directory / "tokenizer.json"))
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    return directory


def edit_config(**fields: object) -> Callable[[Path], object]:
    """Change fields of a checkpoint's config.json."""

    def edit(checkpoint: Path) -> None:
        config = json.loads((checkpoint / "config.json").read_text())
        (checkpoint / "config.json").write_text(json.dumps(config | fields))

    return edit


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def content(directory: Path) -> dict[str, str | None]:
    """Every entry below a directory, hidden ones too, and the hash of each file."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in directory.rglob("*")
    }


def mapped_file(tensor: torch.Tensor) -> str:
    """The file that a tensor's memory is a mapping of; empty for memory of the process's own."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, _permissions, _offset, _device, _inode, *file = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in addresses.split("-"))
        if start <= tensor.data_ptr() < end:
            return file[0] if file else ""
    raise AssertionError("the tensor has no memory")


def run_python(script: str, *arguments: object) -> str:
    """The standard output of a script in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout

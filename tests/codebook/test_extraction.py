"""The token table of a checkpoint is taken out exactly, and without reading the rest.

Protects: the table is the model's own ``get_input_embeddings()``, bit for bit, from whatever transformers writes; it
is mapped, not read; texts are their own tokens and no others.
"""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from checkpoints import (
    COLUMNS,
    DTYPES,
    INDEX,
    MODELS,
    ROWS,
    SENTENCES,
    edit_config,
    mapped_file,
    run_python,
    same_bits,
    save_model,
    save_table,
    save_zeros,
)
from safetensors.torch import load_file
from tokenizers import Tokenizer

from wordllama_st import Codebook
from wordllama_st.static import released

# Extraction


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("max_shard_size", ["1GB", "8KB"], ids=["one file", "shards"])
@pytest.mark.parametrize("kind", MODELS)
def test_the_table_is_the_models_own_bit_for_bit(
    kind: str, max_shard_size: str, dtype: torch.dtype, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    build, tensor_name = MODELS[kind]
    model = build().to(dtype)
    directory = save_model(model, tmp_path / "checkpoint", tokenizer, max_shard_size=max_shard_size)
    assert (directory / INDEX).is_file() == (max_shard_size == "8KB")

    codebook = Codebook.from_pretrained(directory)

    assert same_bits(codebook.weight, model.get_input_embeddings().weight.data)
    assert codebook.dtype == str(dtype).removeprefix("torch.")
    assert (codebook.num_embeddings, codebook.embedding_dim) == (ROWS, COLUMNS)
    assert codebook.provenance.tensor_name == tensor_name


@pytest.mark.parametrize(("kind", "architecture"), [("gpt2, bare", "GPT2LMHeadModel"), ("gpt2", "GPT2Model")])
def test_a_prefix_that_the_architecture_does_not_lead_one_to_expect_is_no_obstacle(
    kind: str, architecture: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = MODELS[kind][0]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    edit_config(architectures=[architecture])(directory)
    assert same_bits(Codebook.from_pretrained(directory).weight, model.get_input_embeddings().weight.data)


@pytest.mark.parametrize("architectures", [None, [], ["NoSuchModel"], ["pipeline"]])
def test_where_no_model_class_is_named_the_model_type_decides(
    architectures: list[str] | None, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = MODELS["llama, tied"][0]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    edit_config(architectures=architectures)(directory)
    assert same_bits(Codebook.from_pretrained(directory).weight, model.get_input_embeddings().weight.data)


@pytest.mark.parametrize("kind", MODELS)
def test_no_shard_but_that_of_the_table_is_needed(kind: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    build, tensor_name = MODELS[kind]
    model = build()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer, max_shard_size="8KB")
    needed = json.loads((directory / INDEX).read_text())["weight_map"][tensor_name]
    others = [shard for shard in directory.glob("*.safetensors") if shard.name != needed]
    assert others
    for shard in others:
        shard.unlink()
    assert same_bits(Codebook.from_pretrained(directory).weight, model.get_input_embeddings().weight.data)


def test_another_tensor_can_be_named_and_then_no_config_is_needed(checkpoint: Path) -> None:
    shard = json.loads((checkpoint / INDEX).read_text())["weight_map"]["lm_head.weight"]
    (checkpoint / "config.json").unlink()
    codebook = Codebook.from_pretrained(checkpoint, tensor_name="lm_head.weight")
    assert same_bits(codebook.weight, load_file(checkpoint / shard)["lm_head.weight"])
    assert codebook.provenance.tensor_name == "lm_head.weight"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_largest_and_smallest_numbers_of_a_dtype_are_no_damage(
    dtype: torch.dtype, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    numbers = torch.finfo(dtype)
    table = torch.zeros(ROWS, 4, dtype=dtype)
    table[7] = torch.tensor([numbers.max, numbers.min, numbers.smallest_normal / 2, -0.0], dtype=dtype)
    directory = save_table(table, tmp_path / "checkpoint", tokenizer)
    assert same_bits(Codebook.from_pretrained(directory, tensor_name="table").weight, table)


def test_texts_are_their_own_tokens_and_no_others(codebook: Codebook, tokenizer: Tokenizer, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    untouched = tokenizer.to_str()
    for kept in (codebook, Codebook.load(tmp_path / "codebook")):
        encoded = kept.tokenizer.encode_batch(SENTENCES)
        for sentence, encoding in zip(SENTENCES, encoded, strict=True):
            pieces = tokenizer.pre_tokenizer.pre_tokenize_str(sentence)
            own = [token.id for piece, _ in pieces for token in tokenizer.model.tokenize(piece)]
            assert encoding.ids == own
    assert tokenizer.to_str() == untouched
    saved = json.loads((tmp_path / "codebook" / "tokenizer.json").read_text())
    assert (saved["truncation"], saved["padding"], saved["post_processor"]) == (None, None, None)


# Memory


def test_the_weight_is_a_mapping_of_the_checkpoints_file(checkpoint: Path, tmp_path: Path) -> None:
    codebook = Codebook.from_pretrained(checkpoint)
    shard = json.loads((checkpoint / INDEX).read_text())["weight_map"]["model.embed_tokens.weight"]
    assert mapped_file(codebook.weight) == str(checkpoint / shard)
    codebook.save(tmp_path / "codebook")
    assert mapped_file(Codebook.load(tmp_path / "codebook").weight) == str(tmp_path / "codebook/codebook.safetensors")


_MEMORY = """
import sys
from wordllama_st import Codebook

def anonymous():
    status = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) // 1024

small, large, output = sys.argv[1:]
Codebook.from_pretrained(small, tensor_name="table")  # what the imports take
before = anonymous()
codebook = Codebook.from_pretrained(large, tensor_name="table")
print(anonymous() - before)
codebook.save(output)
print(anonymous() - before)
loaded = Codebook.load(output)
print(anonymous() - before)
assert "torch" not in sys.modules
"""


def test_a_large_table_takes_no_memory_of_the_processs_own(large_path: Path, tokenizer: Tokenizer) -> None:
    small = save_zeros(ROWS, COLUMNS, large_path / "small", tokenizer)
    large = save_zeros(ROWS, 342_000, large_path / "large", tokenizer)  # 205 MB
    for megabytes in run_python(_MEMORY, small, large, large_path / "codebook").split():
        assert int(megabytes) < 20


def test_a_copy_in_this_or_another_process_shares_the_table(codebook: Codebook, tmp_path: Path) -> None:
    assert copy.deepcopy(codebook) is codebook
    codebook.save(tmp_path / "codebook")
    sent = pickle.dumps(codebook)
    assert len(sent) < len(pickle.dumps(codebook.tokenizer)) + 2_000
    received = pickle.loads(sent)
    assert same_bits(received.weight, codebook.weight)
    assert mapped_file(received.weight) == str(tmp_path / "codebook/codebook.safetensors")


# The embedded model


@pytest.mark.parametrize("dim", [256, 128, 64])
def test_the_embedded_models_are_codebooks(dim: int) -> None:
    wheel = released.fetch(released.DEFAULT_MODEL)
    codebook = Codebook.from_pretrained(f"wordllama-l2-supercat-{dim}")
    assert same_bits(codebook.weight, load_file(wheel.weights)["embedding.weight"][:, :dim].contiguous())
    assert codebook.tokenizer.encode("llamas").tokens == ["▁llam", "as"]
    if dim == 256:
        assert mapped_file(codebook.weight) == str(wheel.weights)


_EMBEDDED = """
import sys
from wordllama_st import Codebook

codebook = Codebook.from_pretrained(sys.argv[1])
codebook.save(sys.argv[2])
print(*codebook.tokenizer.encode("llamas").tokens, codebook.dtype, codebook.embedding_dim)
print(sorted({"wordllama", "torch", "transformers", "sentence_transformers"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("dim", [256, 128])
def test_an_embedded_model_is_extracted_without_importing_wordllama_or_torch(dim: int, tmp_path: Path) -> None:
    output = run_python(_EMBEDDED, f"wordllama-l2-supercat-{dim}", tmp_path / "codebook")
    encoded, imported = output.splitlines()
    assert encoded == f"▁llam as float16 {dim}"
    assert imported == "[]"

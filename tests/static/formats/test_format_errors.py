"""What is no static model, or a damaged one: refused with a message that names the file, the fault and the mend.

Protects: models that are something else (a trained, un-baked model, a transformer, a codebook, a checkpoint) are told
apart and pointed to where they go; damage of any file is a ``ModelLoadError``, never another library's error nor a
silently wrong model; pickles are not read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file
from static_models import random_table, shared_rows
from tokenizers import Tokenizer

from wordllama_st import Codebook, StaticEncoder, build_model
from wordllama_st.errors import ModelLoadError, ModelUnavailableError
from wordllama_st.static.formats import model2vec, sentence_transformers, wordllama
from wordllama_st.static.formats.load import read_static_model

STATIC = "sentence_transformers.models.StaticEmbedding"


@pytest.fixture
def model(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A sentence-transformers directory, to be damaged."""
    sentence_transformers.write(random_table(tokenizer), tmp_path / "model", card="")
    return tmp_path / "model"


@pytest.fixture
def shared(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A model2vec directory of a quantised vocabulary, to be damaged."""
    model2vec.write(shared_rows(tokenizer), tmp_path / "shared", card="")
    return tmp_path / "shared"


def refusal(source: Path | str, *parts: str) -> str:
    """The message of the error that loading raises; it is one line and has all the parts."""
    with pytest.raises(ModelLoadError) as caught:
        read_static_model(source)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(source), *parts):
        assert part in message
    return message


def edit_json(path: Path, edit: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))


# Something else


def test_a_trained_model_is_to_be_baked(codebook: Codebook, tmp_path: Path) -> None:
    build_model(codebook, dim=2).save_pretrained(str(tmp_path / "trained"))
    refusal(tmp_path / "trained", "not baked", f"wordllama-st bake {tmp_path / 'trained'} --out OTHER")


def test_a_codebook_is_to_be_trained(codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    refusal(tmp_path / "codebook", "is a codebook", "wordllama-st train", "wordllama-st bake")


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("sentence_transformers.base.modules.transformer.Transformer", ["is a transformer", "extract"]),
        ("sentence_transformers.models.WordEmbeddings", ["not a static model", "models.WordEmbeddings"]),
        ("somebody.StaticEmbedding", ["not a static model", "somebody.StaticEmbedding"]),
    ],
)
def test_a_model_that_begins_with_another_module_is_named(kind: str, parts: list[str], model: Path) -> None:
    edit_json(model / "modules.json", lambda modules: [{**modules[0], "type": kind}])
    refusal(model, *parts)


def test_a_further_module_is_named(model: Path) -> None:
    norm = "sentence_transformers.models.LayerNorm"
    edit_json(model / "modules.json", lambda modules: [*modules, {**modules[0], "path": "1_LayerNorm", "type": norm}])
    refusal(model, norm, "SentenceTransformer runs it")


def test_a_checkpoint_is_no_static_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"embeddings.word_embeddings.weight": np.ones((4, 2), np.float32)}, tmp_path / "model.safetensors")
    refusal(tmp_path, "is no static model", "wordllama-st extract")


def test_an_empty_directory_is_no_static_model(tmp_path: Path) -> None:
    refusal(tmp_path, "is no static model", "modules.json", "model2vec", "wordllama")


@pytest.mark.parametrize("name", ["model.gguf", "pytorch_model.bin", "README"])
def test_a_file_of_another_kind_is_no_static_model(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"GGUF")
    refusal(tmp_path / name, "is no static model", "pickles are not read")


@pytest.mark.parametrize("source", ["./no/such/directory", "/no/such/directory", "~/model", "a b", "model.safetensors"])
def test_nothing_is_there(source: str) -> None:
    with pytest.raises(ModelUnavailableError, match="There is no") as caught:
        read_static_model(source)
    assert isinstance(caught.value, OSError)
    assert source in str(caught.value)


# Weights


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_weights_file_that_was_cut_short(size: int, model: Path, shared: Path) -> None:
    for weights in (model / "0_StaticEmbedding" / "model.safetensors", shared / "model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:size])
        refusal(weights, "not a readable safetensors file", "again")
    refusal(model, "not a readable safetensors file")
    refusal(shared, "not a readable safetensors file")


def test_pickles_are_refused_with_the_mend(model: Path) -> None:
    folder = model / "0_StaticEmbedding"
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refusal(model, "as a pickle only", "save it again")


def test_a_directory_of_pickles_alone(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    refusal(tmp_path, "as a pickle only", "save it again")


def test_weights_that_are_not_there(model: Path) -> None:
    (model / "0_StaticEmbedding" / "model.safetensors").unlink()
    refusal(model, "has no model.safetensors")


@pytest.mark.parametrize(
    ("tensor", "parts"),
    [
        ({"other": np.ones((300, 2), np.float32)}, ["no tensor 'embedding.weight'", "'other'"]),
        ({}, ["no tensor 'embedding.weight'", "none at all"]),
        ({"embedding.weight": np.ones((300, 2), np.int8)}, ["int8", "model2vec layout"]),
        ({"embedding.weight": np.ones((300, 2), np.int64)}, ["int64", "float32, float16, int8"]),
        ({"embedding.weight": np.ones((300, 2), np.uint16)}, ["uint16"]),
        ({"embedding.weight": np.ones(300, np.float32)}, ["shape [300]"]),
        ({"embedding.weight": np.ones((300, 2, 2), np.float32)}, ["shape [300, 2, 2]"]),
        ({"embedding.weight": np.ones((300, 0), np.float32)}, ["shape [300, 0]"]),
    ],
)
def test_weights_that_are_no_table(tensor: dict[str, Any], parts: list[str], model: Path) -> None:
    save_file(tensor, model / "0_StaticEmbedding" / "model.safetensors")
    refusal(model, *parts)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_numbers_that_are_not_finite(dtype: torch.dtype, value: float, model: Path) -> None:
    """Every text with that token would have a vector of NaN, and be nowhere in an index; the first piece has none."""
    weights = torch.full((3000, 200), -torch.finfo(torch.float16).max).to(dtype)
    file = model / "0_StaticEmbedding" / "model.safetensors"
    save_torch_file({"embedding.weight": weights}, file)
    assert len(read_static_model(model).weight) == 3000
    weights[2999, 7] = value
    save_torch_file({"embedding.weight": weights}, file)
    refusal(model, "'embedding.weight'", "not finite", "row 2999", "again")


def test_float64_that_overflows_float32(model: Path) -> None:
    weights = np.ones((300, 2))
    weights[5] = 1e39
    save_file({"embedding.weight": weights}, model / "0_StaticEmbedding" / "model.safetensors")
    refusal(model, "not finite in float32", "row 5")


@pytest.mark.parametrize("shape", [[0, 2**62], [2**62, 0], [0, 2], [0]])
def test_a_table_of_nothing(shape: list[int], model: Path) -> None:
    """NumPy has no array of the first two shapes, and says so by a ValueError."""
    header = json.dumps({"embedding.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    (model / "0_StaticEmbedding" / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    refusal(model, f"shape {shape}", "again")


def test_a_dtype_that_numpy_has_not(model: Path) -> None:
    weights = torch.ones(300, 2).to(torch.float8_e4m3fn)
    save_torch_file({"embedding.weight": weights}, model / "0_StaticEmbedding" / "model.safetensors")
    refusal(model, "F8_E4M3", "save it as float32 or float16")


def test_a_table_with_fewer_rows_than_tokens_lists_some(model: Path, tokenizer: Tokenizer) -> None:
    rows = tokenizer.get_vocab_size() - 8
    save_file({"embedding.weight": np.ones((rows, 2), np.float32)}, model / "0_StaticEmbedding" / "model.safetensors")
    listed = [f"{tokenizer.id_to_token(index)!r} ({index})" for index in range(rows, rows + 5)]
    refusal(model, f"vectors for {rows} token ids", "8 tokens beyond", *listed, "…", "tokenizer.json")


def test_a_token_far_beyond_the_rest_is_found(model: Path) -> None:
    definition = json.loads((model / "0_StaticEmbedding" / "tokenizer.json").read_text())
    definition["model"] = {"type": "WordLevel", "vocab": {"a": 0, "b": 7000}, "unk_token": "a"}
    definition["added_tokens"] = []
    (model / "0_StaticEmbedding" / "tokenizer.json").write_text(json.dumps(definition))
    refusal(model, "1 tokens beyond", "'b' (7000)")


# model2vec's mapping and weights


@pytest.mark.parametrize(
    ("name", "edit", "parts"),
    [
        ("mapping", lambda mapping: mapping + 5, ["mapping", "rows that are not there", "of 20"]),
        ("mapping", lambda mapping: mapping - 5, ["mapping", "rows that are not there", "row -"]),
        ("mapping", lambda mapping: mapping[:-1], ["for", "tokens they should be"]),
        ("mapping", lambda mapping: mapping.astype(np.float32), ["mapping is float32"]),
        ("mapping", lambda mapping: mapping[:, None], ["it should be integers, [V]"]),
        ("weights", lambda weights: weights[:-1], ["scales are float32 of shape"]),
        ("weights", lambda weights: np.where(np.arange(len(weights)) == 3, np.nan, weights), ["not finite", "row 3"]),
        ("weights", lambda weights: weights * np.inf, ["not finite", "row 0"]),
        ("weights", lambda weights: weights.astype(np.float64) * 1e300, ["not finite"]),
    ],
)
def test_parts_of_model2vec_that_do_not_fit(
    name: str, edit: Callable[[Any], Any], parts: list[str], shared: Path
) -> None:
    tensors = load_file(shared / "model.safetensors")
    tensors[name] = np.ascontiguousarray(edit(tensors[name]))
    save_file(tensors, shared / "model.safetensors")
    refusal(shared, "model.safetensors", *parts)


def test_a_mapping_for_fewer_tokens_than_the_tokenizer_has(shared: Path) -> None:
    tensors = load_file(shared / "model.safetensors")
    tensors = {name: tensor if name == "embeddings" else tensor[:-2] for name, tensor in tensors.items()}
    save_file(tensors, shared / "model.safetensors")
    refusal(shared, "2 tokens beyond")


@pytest.mark.parametrize("content", [None, "{", "[]", "null"])
def test_a_config_of_model2vec_that_is_none(content: str | None, shared: Path) -> None:
    (shared / "modules.json").unlink()
    if content is None:
        (shared / "config.json").unlink()
    else:
        (shared / "config.json").write_text(content)
    refusal(shared, "config.json", "again")


# The other files


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "\xff",
        "[" * 100_000,
        "[]",
        "{}",
        "7",
        "[7]",
        '[{"type": 1}]',
        '["a"]',
        '[{"path": "0_StaticEmbedding"}]',
    ],
)
def test_a_list_of_modules_that_is_none(content: str, model: Path) -> None:
    (model / "modules.json").write_bytes(content.encode("latin-1"))
    refusal(model, "modules.json", "again")


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "0_StaticEmbedding/../.."])
def test_folders_outside_the_model_are_not_read(path: str, model: Path) -> None:
    edit_json(model / "modules.json", lambda modules: [{**modules[0], "path": path}])
    refusal(model, "outside", path)
    assert sentence_transformers.find(model) is None


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"prompts": ["query"]}', "object"),
        ('{"prompts": {"query": 7}}', "no texts"),
        ('{"similarity_fn_name": 7}', "no texts"),
        ('{"prompts": {"a": "b"}, "default_prompt_name": "query"}', "'query' for its default prompt"),
    ],
)
def test_settings_that_are_none(content: str, part: str, model: Path) -> None:
    (model / "config_sentence_transformers.json").write_text(content)
    refusal(model, "config_sentence_transformers.json", part)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"version": "1.0", "model": {"type": "Abacus"}}', "\x00" * 50])
def test_a_tokenizer_that_is_none(content: str, model: Path) -> None:
    (model / "0_StaticEmbedding" / "tokenizer.json").write_text(content)
    refusal(model, "tokenizer.json", "tokenizers library")


def pattern(regex: str) -> dict[str, Any]:
    return {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}}


def normalization(charsmap: bytes) -> dict[str, Any]:
    return {"normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}}


@pytest.mark.parametrize(
    "broken",
    [
        pattern("("),
        normalization(b""),
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "%"}},
        normalization(b"\x10\0\0\0" + bytes(16)),  # a trie that "a" leads out of
        {"normalizer": {"type": "Sequence", "normalizers": [normalization(b"\x10\0\0\0" + bytes(16))["normalizer"]]}},
    ],
)
def test_a_tokenizer_that_panics(broken: dict[str, Any], model: Path) -> None:
    """No ``except Exception`` catches a panic of Rust code: it would end a server's worker."""
    edit_json(model / "0_StaticEmbedding" / "tokenizer.json", lambda definition: definition | broken)
    refusal(model, "tokenizer.json", "tokenizers library")


def test_a_pattern_that_panics_on_a_text(model: Path) -> None:
    """The library gives up after ten million steps back, and only a text shows it."""
    edit_json(model / "0_StaticEmbedding" / "tokenizer.json", lambda definition: definition | pattern("(a+)+$"))
    encoder = StaticEncoder.from_pretrained(model)
    assert np.isfinite(encoder.encode("a b")).all()
    bad = "a" * 40 + "!"
    for texts in (bad, ["a b", bad] * 5):
        with pytest.raises(ModelLoadError, match=r"^The model's tokenizer fails on a text: Onig.*\.$"):
            encoder.encode(texts)


def test_a_tokenizer_that_is_not_there(model: Path) -> None:
    (model / "0_StaticEmbedding" / "tokenizer.json").unlink()
    refusal(model, "no tokenizer", "tokenizer.json")
    with pytest.raises(ModelLoadError, match="no tokenizer"):
        read_static_model(model / "0_StaticEmbedding" / "model.safetensors")
    with pytest.raises(ModelLoadError, match=r"no tokenizer at nowhere\.json"):
        read_static_model(model / "0_StaticEmbedding" / "model.safetensors", tokenizer="nowhere.json")


def test_several_tables_of_wordllamas_are_not_chosen_from(tokenizer: Tokenizer, tmp_path: Path) -> None:
    wordllama.write(random_table(tokenizer), tmp_path / "cache", card="")
    weights = tmp_path / "cache" / "weights" / "custom_8.safetensors"
    weights.with_name("another.safetensors").write_bytes(weights.read_bytes())
    refusal(tmp_path / "cache", "holds 2 tables", "another.safetensors")
    assert read_static_model(weights).dim == 8

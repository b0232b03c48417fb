"""The token table is found in the checkpoints of many architectures, and is the model's own bit for bit."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import FAMILIES
from checkpoints import COLUMNS, ROWS, edit_config, same_bits, save_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from wordllama_st import Codebook
from wordllama_st.codebook import input_embeddings
from wordllama_st.codebook.input_embeddings import find_input_embeddings
from wordllama_st.errors import CodebookError, CodebookNotFoundError

LLAMA_TABLE = "model.embed_tokens.weight"
WEIGHTS = "model.safetensors"


def table_of(model: PreTrainedModel) -> torch.Tensor:
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


def found(directory: Path) -> torch.Tensor:
    """The tensor that is taken for the token table, as safetensors reads it."""
    tensors = load_file(directory / WEIGHTS)
    key, shape, _architecture = find_input_embeddings(directory / "config.json", tensors.keys())
    assert tuple(tensors[key].shape) == shape
    return tensors[key]


def rename(directory: Path, new_name: Callable[[str], str]) -> None:
    """Give the tensors of a checkpoint other names."""
    tensors = {new_name(key): tensor for key, tensor in load_file(directory / WEIGHTS).items()}
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})


def add(directory: Path, **tensors: torch.Tensor) -> None:
    save_file(load_file(directory / WEIGHTS) | tensors, directory / WEIGHTS, metadata={"format": "pt"})


def assert_is_the_codebook(table: torch.Tensor, directory: Path) -> None:
    """A codebook may leave out rows that no token has."""
    codebook = Codebook.from_pretrained(directory)
    assert same_bits(codebook.weight, table[: codebook.num_embeddings])


@pytest.fixture
def llama(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    return save_model(FAMILIES["Llama"](), tmp_path / "llama", tokenizer)


# Families


@pytest.mark.parametrize("family", FAMILIES)
def test_the_table_is_what_the_model_looks_tokens_up_in(family: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = FAMILIES[family]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    assert same_bits(found(directory), table_of(model))
    keys = load_file(directory / WEIGHTS).keys()
    assert find_input_embeddings(directory / "config.json", keys)[2] == type(model).__name__
    assert_is_the_codebook(table_of(model), directory)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Gemma 2", "GPT-2", "GPT-NeoX", "OPT", "Cohere", "T5"])
def test_a_table_is_found_whether_or_not_the_output_shares_it(
    family: str, tied: bool, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    config = FAMILIES[family]().config
    config.tie_word_embeddings = tied
    model = type(FAMILIES[family]())(config)
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    assert same_bits(found(directory), table_of(model))


def test_a_model_that_scales_its_embeddings_has_a_table_that_is_not_scaled(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = FAMILIES["Gemma 3"]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    ids = torch.arange(ROWS)
    assert torch.allclose(model.get_input_embeddings()(ids), found(directory) * COLUMNS**0.5)


def test_the_projection_that_follows_a_narrow_table_is_not_it(tmp_path: Path, tokenizer: Tokenizer) -> None:
    directory = save_model(FAMILIES["OPT"](), tmp_path / "checkpoint", tokenizer)
    assert found(directory).shape == (ROWS, 8)


# Names


@pytest.mark.parametrize("name", ["language_model.model.embed_tokens", "model.language_model.embed_tokens"])
@pytest.mark.parametrize("family", ["Llava", "Mistral3", "Gemma 3, with vision"])
def test_the_names_of_older_and_newer_versions_are_known(
    family: str, name: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = FAMILIES[family]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    rename(directory, lambda key: f"{name}.weight" if "embed_tokens" in key else key)
    assert same_bits(found(directory), table_of(model))


@pytest.mark.parametrize("name", ["model.embed_tokens", "model.language_model.embed_tokens"])
@pytest.mark.parametrize("family", ["Qwen2-VL", "Qwen2.5-VL"])
def test_so_are_those_of_a_model_that_once_had_no_tower_of_its_own_for_text(
    family: str, name: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = FAMILIES[family]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    rename(directory, lambda key: f"{name}.weight" if "embed_tokens" in key else key)
    assert same_bits(found(directory), table_of(model))


@pytest.mark.parametrize("public_only", [False, True])
@pytest.mark.parametrize(
    ("family", "prefix"), [("Llama", "model."), ("GPT-2", "transformer."), ("BERT", "bert."), ("Mamba", "backbone.")]
)
def test_a_prefix_may_be_there_or_not(
    family: str,
    prefix: str,
    public_only: bool,
    tmp_path: Path,
    tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if public_only:  # as with a version of transformers that does not say what it renames
        monkeypatch.setitem(sys.modules, "transformers.core_model_loading", None)
    model = FAMILIES[family]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    assert same_bits(found(directory), table_of(model))
    rename(directory, lambda key: key.removeprefix(prefix))
    assert same_bits(found(directory), table_of(model))


def test_tied_parameters_that_are_stored_twice_are_one(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = FAMILIES["T5"]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    add(directory, **{name: table_of(model).clone() for name in copies})
    keys = load_file(directory / WEIGHTS).keys()
    assert find_input_embeddings(directory / "config.json", keys)[0] == "shared.weight"
    rename(directory, lambda key: "dropped" if key == "shared.weight" else key)
    assert same_bits(found(directory), table_of(model))


@pytest.mark.parametrize("tied", [True, False])
def test_the_outputs_table_is_not_taken_for_it(tied: bool, llama: Path) -> None:
    edit_config(tie_word_embeddings=tied)(llama)
    add(llama, **{"lm_head.weight": torch.zeros(ROWS, COLUMNS)})
    keys = load_file(llama / WEIGHTS).keys()
    assert find_input_embeddings(llama / "config.json", keys)[0] == LLAMA_TABLE


def test_two_tensors_that_could_both_be_the_table_are_named(llama: Path) -> None:
    add(llama, **{"embed_tokens.weight": torch.zeros(ROWS, COLUMNS)})
    with pytest.raises(CodebookError, match="name the one you mean with tensor_name") as caught:
        found(llama)
    assert "'embed_tokens.weight' and 'model.embed_tokens.weight'" in str(caught.value)


@pytest.mark.parametrize("keys", [[], ["model.norm.weight"], ["adapter.embed_tokens.weight"]])
def test_where_none_is_the_table_the_names_looked_for_are_named(keys: list[str], llama: Path) -> None:
    with pytest.raises(CodebookError, match=r"no tensor 'model\.embed_tokens\.weight' or 'embed_tokens\.weight'.*name"):
        find_input_embeddings(llama / "config.json", keys)


def test_a_hundred_thousand_names_are_soon_looked_through(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a name becomes is worked out by some hundred patterns, and is not for those of numbered layers."""
    asked: list[str] = []
    loading = input_embeddings._loading

    def counted(model: PreTrainedModel) -> Callable[[str], str | None]:
        parameter_of = loading(model)
        return lambda key: asked.append(key) or parameter_of(key)  # type: ignore[func-returns-value]

    monkeypatch.setattr(input_embeddings, "_loading", counted)
    keys = [f"model.layers.{i}.mlp.experts.{j}.up_proj.weight" for i in range(500) for j in range(400)]
    assert find_input_embeddings(llama / "config.json", [*keys, LLAMA_TABLE])[0] == LLAMA_TABLE
    assert asked == [LLAMA_TABLE]


# Quantized checkpoints, whose table is not


QUANTIZED: dict[str, tuple[dict[str, Any], torch.dtype]] = {
    "fp8": (
        {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128], "fmt": "e4m3"},
        torch.float8_e4m3fn,
    ),
    "bitsandbytes 4-bit": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, torch.uint8),
    "bitsandbytes 8-bit": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, torch.int8),
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True}, torch.int32),
    "a method nobody knows": ({"quant_method": "camel"}, torch.int8),
}


@pytest.mark.parametrize("method", QUANTIZED)
def test_the_table_of_a_quantized_checkpoint_is_read(method: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    settings, dtype = QUANTIZED[method]
    model = FAMILIES["Llama"]().to(torch.bfloat16)
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    edit_config(quantization_config=settings)(directory)
    tensors = load_file(directory / WEIGHTS)
    quantized = {name: tensor.to(dtype) if "_proj" in name else tensor for name, tensor in tensors.items()}
    scales = {f"{name}_scale_inv": torch.ones(1, 1) for name in tensors if "_proj" in name}
    save_file(quantized | scales, directory / WEIGHTS)
    assert same_bits(found(directory), table_of(model))
    assert_is_the_codebook(table_of(model), directory)


# Configs that no model has


def nested(depth: int) -> str:
    return '{"model_type": "llama", "x": ' + "[" * depth + "]" * depth + "}"


HUGE = 10**9
#: Fields that would fill the memory, or take forever, if a model were built with them.
HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "layers": ("Llama", {"num_hidden_layers": HUGE}),
    "layers, listed": ("Qwen3", {"num_hidden_layers": HUGE, "layer_types": None}),
    "layers of another name": ("GPT-2", {"n_layer": HUGE}),
    "experts": ("Mixtral", {"num_local_experts": HUGE}),
    "labels": ("Llama, classifier", {"num_labels": HUGE}),
    "rows": ("Llama", {"vocab_size": HUGE}),
    "columns": ("Llama", {"hidden_size": HUGE}),
    "positions": ("GPT-2", {"n_positions": 10**12}),
    "a layer pattern": ("GPT-Neo", {"attention_types": [[["global", "local"], HUGE]]}),
    "the text tower's layers": ("Llava", {"text_config": {"model_type": "llama", "num_hidden_layers": HUGE}}),
    "the vision tower's layers": ("Qwen2-VL", {"vision_config": {"depth": HUGE}}),
}


@contextmanager
def processor_seconds(limit: float) -> Iterator[None]:
    """Time of this process's own, many times what it takes: a busy machine uses up none of it."""
    start = time.process_time()
    yield
    assert time.process_time() - start < limit


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_config_is_soon_done_with(kind: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    family, fields = HOSTILE[kind]
    directory = save_model(FAMILIES[family](), tmp_path / "checkpoint", tokenizer)
    edit_config(**fields)(directory)
    with processor_seconds(10):
        try:
            find_input_embeddings(directory / "config.json", load_file(directory / WEIGHTS).keys())
        except CodebookError as error:
            assert "tensor_name" in str(error)  # noqa: PT017 - refused or not, it must be quick


@pytest.mark.parametrize("text", [nested(100_000), nested(100), "[]", "1", "{}", " " * 20_000_000, "\x00", ""])
def test_a_file_that_is_no_config_is_refused(text: str, llama: Path) -> None:
    (llama / "config.json").write_text(text)
    with processor_seconds(10):
        if text == nested(100):  # an unknown field is no harm
            find_input_embeddings(llama / "config.json", [LLAMA_TABLE])
        else:
            with pytest.raises(CodebookError, match=r"config\.json.*tensor_name"):
                find_input_embeddings(llama / "config.json", [LLAMA_TABLE])


@pytest.mark.parametrize("architectures", [None, [], ["Camel"], ["LlamaConfig"], ["AutoModel"], "Llama", 5, [None]])
def test_the_class_that_is_named_may_be_unknown(architectures: object, llama: Path) -> None:
    edit_config(architectures=architectures)(llama)
    try:
        assert same_bits(found(llama), load_file(llama / WEIGHTS)[LLAMA_TABLE])
    except CodebookError as error:
        assert "tensor_name" in str(error)  # noqa: PT017
        assert not isinstance(architectures, list | None)


def test_without_a_config_one_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CodebookNotFoundError, match=r"no config\.json.*tensor_name"):
        find_input_embeddings(tmp_path / "config.json", [LLAMA_TABLE])


@pytest.mark.parametrize("model_type", ["vit", "wav2vec2", "clip", "resnet"])
def test_a_model_without_a_token_table_is_refused(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(CodebookError, match=r"config\.json.*tensor_name"):
        find_input_embeddings(tmp_path / "config.json", ["embeddings.weight"])


# The depth


def test_a_deep_model_is_not_built_in_its_depth(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depths: list[int] = []
    build = input_embeddings._build

    def spy(fields: dict[str, Any], checkpoint: Path) -> Any:
        depths.append(fields["num_hidden_layers"])
        return build(fields, checkpoint)

    monkeypatch.setattr(input_embeddings, "_build", spy)
    edit_config(num_hidden_layers=126)(llama)
    find_input_embeddings(llama / "config.json", [LLAMA_TABLE])
    assert depths == [input_embeddings.FEW_LAYERS]


@pytest.mark.parametrize(("layers", "is_found"), [(126, True), (HUGE, False)])
def test_a_model_that_needs_its_depth_is_built_in_it_within_reason(
    layers: int, is_found: bool, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = input_embeddings._build

    def refuse_few(fields: dict[str, Any], checkpoint: Path) -> Any:
        if fields["num_hidden_layers"] <= input_embeddings.FEW_LAYERS:
            raise ValueError("This model needs all of its layers.")
        return build(fields, checkpoint)

    monkeypatch.setattr(input_embeddings, "_build", refuse_few)
    edit_config(num_hidden_layers=layers)(llama)
    if is_found:
        assert find_input_embeddings(llama / "config.json", [LLAMA_TABLE])[0] == LLAMA_TABLE
    else:
        with pytest.raises(CodebookError, match=r"num_hidden_layers is 1000000000.*tensor_name"):
            find_input_embeddings(llama / "config.json", [LLAMA_TABLE])

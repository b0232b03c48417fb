"""The modules, one by one and in their legal orders: what they compute, what they never build, what they save.

The measure of every vector here is the slow way of computing it, [batch, length, D] and all, in float64. What the
tests protect besides: a text without tokens is the zero vector and never a NaN; nothing of the size of a batch's
positions times their width is built; a module that was saved and loaded is the same module; and the token table is
shared wherever a model is copied.
"""

from __future__ import annotations

import copy
import json
import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, processors
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from wordllama_st import Binarize, Codebook, LLMTokenEmbedding, Projection, WeightedPool, model_from_pretrained
from wordllama_st.modules.weighted_pool import ACTIVATIONS, invert_activation

DIM = 16
HIDDEN = 24

Stack = Callable[..., SentenceTransformer]
Build = Callable[[Codebook], nn.Module]

#: The fixtures are read, not changed, so that examples may share them.
property_test = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts_of_a_batch = st.lists(
    st.one_of(st.just(""), st.text(max_size=30), st.sampled_from(["The llama naps.", "llama llama llama", "  \n"])),
    min_size=1,
    max_size=8,
)

every_dtype = pytest.mark.parametrize("codebook", [torch.float32, torch.float16, torch.bfloat16], indirect=True)
with_and_without_bias = pytest.mark.parametrize("bias", [True, False])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def varied_weights(codebook: Codebook) -> Tensor:
    """Token weights of both signs; at the ones they start from, a weight that is ignored would not be noticed."""
    return torch.randn(codebook.num_embeddings)


def project_texts(codebook: Codebook, *, bias: bool = True, activation: str = "gelu") -> SentenceTransformer:
    """Pool, then project each text."""
    pool = WeightedPool(codebook.num_embeddings, varied_weights(codebook), activation)
    projection = Projection(codebook.embedding_dim, DIM, bias=bias)
    return SentenceTransformer(modules=[LLMTokenEmbedding(codebook), pool, projection], device="cpu")


def project_tokens(codebook: Codebook, *, bias: bool = True, activation: str = "gelu") -> SentenceTransformer:
    """Project each distinct token through a hidden layer, then pool."""
    pool = WeightedPool(codebook.num_embeddings, varied_weights(codebook), activation)
    projection = Projection(codebook.embedding_dim, DIM, bias=bias, hidden_features=HIDDEN)
    return SentenceTransformer(modules=[LLMTokenEmbedding(codebook), projection, pool], device="cpu")


both_stacks = pytest.mark.parametrize("stack", [project_texts, project_tokens])


def embed(model: SentenceTransformer, texts: list[str]) -> Tensor:
    embedding: Tensor = model(model.preprocess(texts))["sentence_embedding"]
    return embedding


def slowly(model: SentenceTransformer, texts: list[str]) -> Tensor:
    """What a model of either order computes, [batch, d], by way of every position's own vector, [batch, length, D].

    As WordLlama does it: also where the model pools first, here each position is projected first.
    """
    modules = {
        type(module): copy.deepcopy(module).double() for module in model if not isinstance(module, LLMTokenEmbedding)
    }
    pool, project = modules[WeightedPool], modules[Projection].project
    codebook: Codebook = model[0].codebook
    ids = [codebook.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    length = max(1, *map(len, ids))
    padded = torch.tensor([text_ids + [0] * (length - len(text_ids)) for text_ids in ids])
    mask = torch.tensor([[1.0] * len(text_ids) + [0.0] * (length - len(text_ids)) for text_ids in ids]).unsqueeze(2)

    vectors = codebook.weight.double()[padded]
    counted_for = ACTIVATIONS[pool.activation](pool.weights)[padded].unsqueeze(2)
    pools_first = isinstance(model[1], WeightedPool)
    projected = project(counted_for * vectors) if pools_first else counted_for * project(vectors)
    return (projected * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), rtol=1e-4, atol=1e-5)


# What the stacks compute


@both_stacks
@every_dtype
@with_and_without_bias
@property_test
@given(texts=texts_of_a_batch)
def test_both_orders_equal_the_slow_way(stack: Stack, codebook: Codebook, bias: bool, texts: list[str]) -> None:
    model = stack(codebook, bias=bias)
    assert_close(embed(model, texts), slowly(model, texts))


@both_stacks
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_equals_the_slow_way(stack: Stack, activation: str, codebook: Codebook) -> None:
    model = stack(codebook, activation=activation)
    texts = ["The golden llama hides.", "", "One token after another, and again one token after another."]
    assert_close(embed(model, texts), slowly(model, texts))


@both_stacks
@every_dtype
def test_gradients_equal_those_of_the_slow_way(stack: Stack, codebook: Codebook) -> None:
    model = stack(codebook)
    texts = ["The golden llama hides.", "", "llama llama llama"]
    # slowly works on copies, so its gradients are taken numerically, along a random direction of each parameter.
    direction = torch.randn(len(texts), DIM)
    (embed(model, texts) * direction).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        step = torch.randn_like(parameter)
        values = []
        for sign in (1, -1):
            moved = copy.deepcopy(model).double()
            with torch.no_grad():
                dict(moved.named_parameters())[name].add_(sign * 1e-4 * step.double())
                values.append(float((slowly(moved, texts) * direction).sum()))
        slope = (values[0] - values[1]) / 2e-4
        assert math.isclose(slope, float((parameter.grad * step).sum()), rel_tol=1e-3, abs_tol=1e-3), name


@property_test
@given(texts=texts_of_a_batch)
def test_a_linear_projection_without_bias_may_stand_on_either_side_of_the_pooling(
    codebook: Codebook, texts: list[str]
) -> None:
    tokens, pool, projection = project_texts(codebook, bias=False)
    pooled_first = SentenceTransformer(modules=[tokens, pool, projection], device="cpu")
    projected_first = SentenceTransformer(modules=[tokens, projection, pool], device="cpu")
    assert_close(embed(projected_first, texts), embed(pooled_first, texts))


@both_stacks
@every_dtype
@with_and_without_bias
@pytest.mark.parametrize("texts", [[""], ["", "", ""], ["", "llama", ""]])
def test_a_text_without_tokens_is_the_zero_vector(
    stack: Stack, codebook: Codebook, bias: bool, texts: list[str]
) -> None:
    model = stack(codebook, bias=bias)
    vectors = embed(model, texts)
    vectors.square().sum().backward()
    assert vectors.shape == (len(texts), DIM)
    for text, vector in zip(texts, vectors, strict=True):
        assert bool((vector == 0).all()) == (text == "")
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())
    assert np.array_equal(model.encode(texts), vectors.detach().numpy())


@both_stacks
def test_a_second_pass_over_the_same_features_gives_the_same(stack: Stack, codebook: Codebook) -> None:
    # Features are changed in place: nothing that the first pass leaves in them may mislead the second.
    model = stack(codebook)
    features = model.preprocess(["The golden llama hides.", "", "By the canal."])
    first = model(features)["sentence_embedding"]
    assert torch.equal(model(features)["sentence_embedding"], first)


@both_stacks
@property_test
@given(texts=texts_of_a_batch)
def test_a_text_has_the_same_vector_in_any_company(stack: Stack, codebook: Codebook, texts: list[str]) -> None:
    model = stack(codebook)
    alone = torch.cat([embed(model, [text]) for text in texts])
    assert_close(embed(model, texts), alone)


# What the stacks never do


class LargestTensor(TorchDispatchMode):
    """Records the most elements that any operation gave out, in the forward and in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        for value in output if isinstance(output, (tuple, list)) else [output]:
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.numel())
        return output


@both_stacks
@every_dtype
def test_no_tensor_has_a_vector_for_every_position(stack: Stack, codebook: Codebook) -> None:
    model = stack(codebook)
    texts = ["The golden llama hides near the canal, near the canal, near the canal. " * 4] * 40
    features = model.preprocess(texts)
    positions = features["input_ids"].numel()
    # The sizes at which the test says something: even the whole table is smaller than the narrowest such tensor.
    assert codebook.weight.numel() < positions * DIM

    with LargestTensor() as ours:
        model(features)["sentence_embedding"].square().sum().backward()
    assert 0 < ours.numel < positions * DIM

    with LargestTensor() as slow:
        slowly(model, texts).square().sum().backward()
    assert slow.numel >= positions * codebook.embedding_dim


@every_dtype
def test_a_projection_before_the_pooling_sees_each_distinct_token_once(codebook: Codebook) -> None:
    model = project_tokens(codebook)
    features = model.preprocess(["llama llama llama llama", "the llama, the canal, the llama", ""])
    rows: list[int] = []
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda _layer, inputs, _output: rows.append(len(inputs[0])))
    model(features)
    tokens = features["input_ids"][features["attention_mask"].bool()]
    assert rows == [len(set(tokens.tolist()))] * 2
    assert rows[0] < len(tokens)


# Texts


def test_token_ids_are_the_codebooks_without_special_tokens(tokenizer: Tokenizer) -> None:
    eager = Tokenizer.from_str(tokenizer.to_str())
    eager.add_special_tokens(["<s>"])
    eager.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", eager.token_to_id("<s>"))]
    )
    eager.enable_truncation(4)
    eager.enable_padding()
    assert eager.encode("llama").tokens[0] == "<s>"

    module = LLMTokenEmbedding(Codebook(torch.randn(eager.get_vocab_size(), 4), eager))
    texts = ["The golden llama hides near the canal.", "", "llama"]
    features = module.preprocess(texts)
    for text, ids, mask in zip(texts, features["input_ids"], features["attention_mask"], strict=True):
        expected = tokenizer.encode(text).ids
        assert ids[: len(expected)].tolist() == expected
        assert mask.tolist() == [1] * len(expected) + [0] * (len(mask) - len(expected))
    assert features["input_ids"].dtype == features["attention_mask"].dtype == torch.int64


@both_stacks
def test_max_seq_length_leaves_out_what_is_beyond_it(stack: Stack, codebook: Codebook) -> None:
    model = stack(codebook)
    text = "The golden llama hides near the canal."
    ids = codebook.tokenizer.encode(text).ids
    assert model.max_seq_length is None
    assert model.preprocess([text])["input_ids"].tolist() == [ids]
    whole = model.encode(text)

    model.max_seq_length = 3
    assert model.max_seq_length == 3
    assert model.preprocess([text, "llama"])["input_ids"].shape == (2, 3)
    beginning = codebook.tokenizer.decode(ids[:3])
    assert codebook.tokenizer.encode(beginning).ids == ids[:3]
    assert np.array_equal(model.encode(text), model.encode(beginning))
    assert not np.allclose(model.encode(text), whole)

    # The Trainer's own limit goes before the model's, in either direction.
    assert model.preprocess([text], max_length=2)["input_ids"].tolist() == [ids[:2]]
    assert model.preprocess([text], max_length=5)["input_ids"].tolist() == [ids[:5]]

    model.max_seq_length = None
    assert np.array_equal(model.encode(text), whole)


@both_stacks
def test_prompts_are_put_in_front_of_each_text(stack: Stack, codebook: Codebook) -> None:
    model = stack(codebook)
    texts = ["The golden llama hides.", "", "By the canal."]
    prompted = model.encode([f"query: {text}" for text in texts])
    assert np.array_equal(model.encode(texts, prompt="query: "), prompted)
    assert not np.allclose(model.encode(texts), prompted)
    model.prompts["query"] = "query: "
    assert np.array_equal(model.encode_query(texts), prompted)


# Saving, copying, sending

MODULES: dict[str, tuple[Build, dict[str, Any]]] = {
    "tokens": (LLMTokenEmbedding, {"max_seq_length": None}),
    "tokens-limited": (lambda codebook: LLMTokenEmbedding(codebook, max_seq_length=3), {"max_seq_length": 3}),
    "pool": (
        lambda codebook: WeightedPool(codebook.num_embeddings, varied_weights(codebook), "softplus"),
        {"num_embeddings": ..., "activation": "softplus"},
    ),
    "projection": (
        lambda codebook: Projection(codebook.embedding_dim, DIM, bias=False),
        {"in_features": ..., "out_features": DIM, "bias": False, "hidden_features": None},
    ),
    "hidden-projection": (
        lambda codebook: Projection(codebook.embedding_dim, DIM, hidden_features=HIDDEN),
        {"in_features": ..., "out_features": DIM, "bias": True, "hidden_features": HIDDEN},
    ),
    "binarize": (lambda _codebook: Binarize("reste"), {"estimator": "reste"}),
}


@every_dtype
@pytest.mark.parametrize("name", MODULES)
def test_a_saved_module_is_loaded_as_the_same_module(name: str, codebook: Codebook, tmp_path: Path) -> None:
    build, config = MODULES[name]
    module = build(codebook)
    sizes = {"num_embeddings": codebook.num_embeddings, "in_features": codebook.embedding_dim}
    config = {key: sizes[key] if value is ... else value for key, value in config.items()}

    module.save(str(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text()) == module.get_config_dict() == config
    assert list(config) == module.config_keys
    loaded = type(module).load(str(tmp_path))
    assert loaded.get_config_dict() == config
    for features in sample_features(codebook):
        if not isinstance(module, (Projection, Binarize)) and "input_ids" not in features:
            continue
        same_features(loaded(dict(features)), module(dict(features)))
    texts = ["The golden llama hides.", ""]
    if isinstance(module, LLMTokenEmbedding):
        same_features(loaded.preprocess(texts), module.preprocess(texts))


def sample_features(codebook: Codebook) -> list[dict[str, Any]]:
    """What a module may be handed: a batch's tokens, its texts' vectors, and these from a foreign module."""
    tokens = LLMTokenEmbedding(codebook)
    features = tokens(tokens.preprocess(["The golden llama hides.", ""]))
    vectors = torch.randn(2, codebook.embedding_dim)
    return [
        features | {"sentence_embedding": vectors},
        {"sentence_embedding": vectors, "token_counts": features["token_counts"]},
        {"sentence_embedding": vectors},
    ]


def same_features(features: dict[str, Any], expected: dict[str, Any]) -> None:
    assert features.keys() == expected.keys()
    for key, value in expected.items():
        assert features[key].dtype == value.dtype, key
        assert torch.equal(features[key], value), key


@both_stacks
@every_dtype
def test_a_saved_model_is_loaded_as_the_same_model_in_both_ways(
    stack: Stack, codebook: Codebook, tmp_path: Path
) -> None:
    model = stack(codebook)
    model.max_seq_length = 20
    model.save_pretrained(str(tmp_path / "model"))
    texts = ["The golden llama hides. " * 10, "", "By the canal."]
    stock = SentenceTransformer(str(tmp_path / "model"), trust_remote_code=True, device="cpu")
    for loaded in (stock, model_from_pretrained(tmp_path / "model", device="cpu")):
        assert loaded.max_seq_length == 20
        assert loaded[0].codebook.weight.dtype == codebook.weight.dtype
        assert loaded[0].codebook.provenance == codebook.provenance
        assert np.array_equal(loaded.encode(texts), model.encode(texts))


@both_stacks
def test_a_model_can_be_saved_where_another_one_lies(stack: Stack, codebook: Codebook, tmp_path: Path) -> None:
    # Two runs in one process that write to one place; the first model must not take the second's table for its own.
    ours, other = stack(codebook), stack(Codebook(codebook.weight + 1, codebook.tokenizer))
    ours.save_pretrained(str(tmp_path / "run"))
    other.save_pretrained(str(tmp_path / "run"))
    ours.save_pretrained(str(tmp_path / "kept"))
    assert torch.equal(model_from_pretrained(tmp_path / "run")[0].codebook.weight, other[0].codebook.weight)
    assert torch.equal(model_from_pretrained(tmp_path / "kept")[0].codebook.weight, codebook.weight)
    assert torch.equal(pickle.loads(pickle.dumps(ours))[0].codebook.weight, codebook.weight)


def test_a_model_can_be_saved_over_another_after_its_own_files_were_deleted(codebook: Codebook, tmp_path: Path) -> None:
    model = project_texts(codebook)
    project_texts(Codebook(codebook.weight + 1, codebook.tokenizer)).save_pretrained(str(tmp_path / "run"))
    model.save_pretrained(str(tmp_path / "scratch"))
    shutil.rmtree(tmp_path / "scratch")
    model.save_pretrained(str(tmp_path / "run"))
    assert torch.equal(model_from_pretrained(tmp_path / "run")[0].codebook.weight, codebook.weight)


@both_stacks
def test_a_copy_of_a_model_shares_its_table_and_nothing_else(stack: Stack, codebook: Codebook) -> None:
    model = stack(codebook)
    copied = copy.deepcopy(model)
    assert copied[0].codebook is codebook
    before = embed(model, ["llama"])
    with torch.no_grad():
        for weight in copied.parameters():
            weight.add_(1)
    assert torch.equal(embed(model, ["llama"]), before)
    assert not torch.allclose(embed(copied, ["llama"]), before)


@both_stacks
@every_dtype
def test_a_pickled_model_maps_the_table_again_instead_of_carrying_it(
    stack: Stack, codebook: Codebook, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    wide = Codebook(codebook.weight.repeat(1, 32), tokenizer)
    wide.save(tmp_path / "codebook")
    model = stack(wide)
    model.encode("llama")
    pickled = pickle.dumps(model)
    assert len(pickled) < wide.weight.nbytes / 2
    unpickled = pickle.loads(pickled)
    assert isinstance(unpickled[0].codebook._rows.table, np.memmap)
    assert Path(unpickled[0].codebook._rows.table.filename).samefile(tmp_path / "codebook" / "codebook.safetensors")
    texts = ["The golden llama hides.", ""]
    assert np.array_equal(unpickled.encode(texts), model.encode(texts))


@both_stacks
def test_a_model_whose_table_has_no_file_can_be_pickled_too(stack: Stack, codebook: Codebook) -> None:
    model = stack(codebook)
    unpickled = pickle.loads(pickle.dumps(model))
    assert np.array_equal(unpickled.encode("llama"), model.encode("llama"))


def test_modules_know_the_width_of_what_they_give(codebook: Codebook) -> None:
    assert LLMTokenEmbedding(codebook).get_embedding_dimension() == codebook.embedding_dim
    assert Projection(codebook.embedding_dim, DIM).get_embedding_dimension() == DIM
    assert Projection(codebook.embedding_dim, DIM, hidden_features=HIDDEN).get_embedding_dimension() == DIM
    pooled = SentenceTransformer(
        modules=[LLMTokenEmbedding(codebook), WeightedPool(codebook.num_embeddings)], device="cpu"
    )
    assert pooled.get_embedding_dimension() == codebook.embedding_dim == pooled.encode("llama").shape[0]
    for model in (project_texts(codebook), project_tokens(codebook)):
        model.append(Binarize())
        assert model.get_embedding_dimension() == DIM == model.encode("llama").shape[0]


# WeightedPool and its activations


@pytest.mark.parametrize("shape", [(9,), (11,), (10, 1), (1, 10), ()])
def test_weights_of_another_shape_than_the_vocabulary_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"not \[10\]"):
        WeightedPool(10, torch.ones(shape))


@pytest.mark.parametrize("activation", ["swish", "GELU", ""])
def test_an_unknown_activation_is_refused(activation: str) -> None:
    with pytest.raises(ValueError, match="gelu, relu, softplus, identity"):
        WeightedPool(10, activation=activation)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_initial_weights_are_copied_as_float32(dtype: torch.dtype) -> None:
    initial = torch.arange(10, dtype=dtype)
    pool = WeightedPool(10, initial)
    initial.zero_()
    assert pool.weights.dtype == torch.float32
    assert pool.weights.tolist() == list(range(10))
    assert WeightedPool(10).weights.tolist() == [1.0] * 10


@pytest.mark.parametrize("activation", ACTIVATIONS)
@property_test
@given(values=st.lists(st.floats(0, 1e4, width=32), min_size=1, max_size=20))
def test_inverse_finds_the_weights_an_activation_turns_into_the_values(activation: str, values: list[float]) -> None:
    wanted = torch.tensor(values)
    weights = invert_activation(activation, wanted)
    assert weights.dtype == torch.float32
    assert weights.isfinite().all()
    torch.testing.assert_close(ACTIVATIONS[activation](weights), wanted, rtol=1e-5, atol=1e-6)


# Binarize

#: The derivative of what stands for the sign, by the formula in each estimator's paper.
DERIVATIVES: dict[str, Callable[[float], float]] = {
    "ste": lambda x: 1.0 if abs(x) <= 1 else 0.0,
    "tanh": lambda x: 1 - math.tanh(x) ** 2,
    # Power 3; a straight line within 0.1 of zero; cut beyond 1.5.
    "reste": lambda x: 0.0 if abs(x) > 1.5 else max(abs(x), 0.1) ** (1 / 3 - 1) * (1 / 3 if abs(x) > 0.1 else 1),
}


@pytest.mark.parametrize("estimator", DERIVATIVES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@property_test
@given(values=st.lists(st.floats(-6e4, 6e4, width=16), min_size=1, max_size=20))
def test_signs_are_exactly_minus_one_and_one(estimator: str, dtype: torch.dtype, values: list[float]) -> None:
    x = torch.tensor([values], dtype=dtype)
    signs = Binarize(estimator)({"sentence_embedding": x.clone().requires_grad_()})["sentence_embedding"]
    assert signs.dtype == dtype
    assert signs.tolist() == [[1.0 if value > 0 else -1.0 for value in x[0].tolist()]]


@pytest.mark.parametrize("estimator", DERIVATIVES)
@pytest.mark.parametrize("x", [-40.0, -1.6, -1.4, -0.9, -0.2, -0.05, -1e-4, 1e-4, 0.05, 0.2, 0.9, 1.4, 1.6, 40.0])
def test_gradients_are_the_estimators_formula(estimator: str, x: float) -> None:
    gradient = sign_gradient(estimator, x)
    assert math.isclose(gradient, 3 * DERIVATIVES[estimator](x), rel_tol=1e-5, abs_tol=1e-6)


@pytest.mark.parametrize("estimator", DERIVATIVES)
def test_a_dimension_that_is_exactly_zero_has_a_gradient_too(estimator: str) -> None:
    assert math.isclose(sign_gradient(estimator, 0.0), 3 * DERIVATIVES[estimator](0.0), rel_tol=1e-5)


def sign_gradient(estimator: str, value: float) -> float:
    """The gradient of three times the sign."""
    x = torch.tensor([[value]], requires_grad=True)
    (3 * Binarize(estimator)({"sentence_embedding": x})["sentence_embedding"]).sum().backward()
    assert x.grad is not None
    return float(x.grad)


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(ValueError, match="ste, tanh, reste"):
        Binarize("sign")


def test_signs_agree_with_the_librarys_own_quantisation(codebook: Codebook) -> None:
    model = project_texts(codebook)
    texts = ["The golden llama hides.", "By the canal.", ""]
    packed = model.encode(texts, precision="ubinary")
    model.append(Binarize())
    assert np.array_equal(np.packbits(model.encode(texts) > 0, axis=1), packed)

"""Baking: the static model is the trained one, on every text, at every dim; what cannot be baked is refused."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import model2vec
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import LayerNorm
from texts import EMBEDDING_DIM
from tokenizers import Tokenizer
from torch import nn

from wordllama_st import Binarize, Codebook, Projection, StaticEncoder, bake, bake_dims, build_model
from wordllama_st.cli.main import main
from wordllama_st.errors import BakeError, OutputExistsError
from wordllama_st.training.supervised import retrieval_evaluator

DIM = 24
TEXTS = ["Two words", "", "Ещё раз, 再来一次", "def f(x):\n\treturn x", "a b " * 200]


def trained(codebook: Codebook, *behind: nn.Module, hidden_features: int | None = None) -> SentenceTransformer:
    """A model whose every weight is something a training run might have left there."""
    model = build_model(codebook, DIM, hidden_features=hidden_features)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return SentenceTransformer(modules=[*model, *behind])


def assert_same_vectors(actual: np.ndarray, expected: np.ndarray) -> None:
    assert np.isfinite(actual).all()
    lengths = np.maximum(np.linalg.norm(expected, axis=1), 1e-3)
    assert (np.linalg.norm(actual - expected, axis=1) / lengths).max() < 1e-5


@pytest.mark.parametrize("hidden_features", [None, 48])
@pytest.mark.parametrize("codebook", [torch.float32, torch.float16, torch.bfloat16], indirect=True)
def test_both_stacks_over_a_table_of_any_dtype_bake_to_the_same_vectors(
    codebook: Codebook, hidden_features: int | None, tmp_path: Path
) -> None:
    model = trained(codebook, hidden_features=hidden_features)
    static = bake(model, tmp_path / "static")
    expected = model.encode(TEXTS)
    assert_same_vectors(static.encode(TEXTS), expected)
    assert_same_vectors(SentenceTransformer(str(tmp_path / "static")).encode(TEXTS), expected)
    assert (static.encode("") == 0).all()
    assert (model.encode("") == 0).all()


@given(text=st.text(max_size=60))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_for_every_text_baked_and_trained_vectors_agree(
    text: str, static_and_trained: tuple[SentenceTransformer, SentenceTransformer]
) -> None:
    static, model = static_and_trained
    text = text.encode("utf-8", "ignore").decode()  # a lone surrogate is no text for a tokenizer
    assert_same_vectors(static.encode([text]), model.encode([text]))


@pytest.fixture(scope="module")
def static_and_trained(tokenizer: Tokenizer) -> tuple[SentenceTransformer, SentenceTransformer]:
    table = torch.randn(tokenizer.get_vocab_size(), EMBEDDING_DIM, generator=torch.Generator().manual_seed(0))
    model = trained(Codebook(table, tokenizer))
    return bake(model), model


def test_a_last_normalize_is_kept_behind_the_table(codebook: Codebook, tmp_path: Path) -> None:
    model = trained(codebook, Normalize())
    bake(model, tmp_path / "static")
    static = SentenceTransformer(str(tmp_path / "static"))
    assert [type(module).__name__ for module in static] == ["StaticEmbedding", "Normalize"]
    assert_same_vectors(static.encode(TEXTS), model.encode(TEXTS))
    assert np.linalg.norm(static.encode("one"), axis=-1) == pytest.approx(1)


def test_a_last_binarize_is_left_to_the_library_which_finds_the_same_signs(codebook: Codebook) -> None:
    model = trained(codebook, Binarize())
    packed = bake(model).encode(TEXTS, precision="ubinary")
    assert (packed == np.packbits(model.encode(TEXTS) > 0, axis=1)).all()


def test_several_dims_are_the_first_columns_saved_beside_each_other(codebook: Codebook, tmp_path: Path) -> None:
    model = trained(codebook)
    static = bake_dims(model, tmp_path / "static", [16, 8])
    assert list(static) == [16, 8]
    whole = model.encode(TEXTS)
    for dim in (16, 8):
        loaded = SentenceTransformer(str(tmp_path / f"static-{dim}"))
        assert loaded.get_embedding_dimension() == dim
        assert_same_vectors(loaded.encode(TEXTS), whole[:, :dim])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["static-16", "static-8"]


def test_a_half_precision_table_is_half_the_size_and_close(codebook: Codebook, tmp_path: Path) -> None:
    model = trained(codebook)
    bake(model, tmp_path / "half", dtype="float16")
    half = SentenceTransformer(str(tmp_path / "half")).encode(TEXTS)
    assert half.dtype == np.float16
    assert half.astype(np.float32) == pytest.approx(model.encode(TEXTS), abs=5e-3)


def test_an_int8_table_keeps_its_scales_in_every_runtime(codebook: Codebook, tmp_path: Path) -> None:
    model = trained(codebook, Normalize())
    in_memory = bake(model, tmp_path / "int8", dtype="int8")
    encoder = StaticEncoder.from_pretrained(tmp_path / "int8")
    assert encoder.table.weight.dtype == np.int8
    vectors = encoder.encode(TEXTS)
    assert (vectors * model.encode(TEXTS)).sum(axis=1)[[0, 2, 3, 4]] == pytest.approx(1, abs=1e-3)
    assert_same_vectors(in_memory.encode(TEXTS), vectors)
    assert_same_vectors(SentenceTransformer(str(tmp_path / "int8")).encode(TEXTS), vectors)
    toolkit = model2vec.StaticModel.from_pretrained(tmp_path / "int8")
    assert (toolkit.encode(TEXTS[:1]) * vectors[:1]).sum() == pytest.approx(1, abs=1e-5)
    size = sum(path.stat().st_size for path in (tmp_path / "int8").glob("*.safetensors"))
    assert size < 0.4 * codebook.num_embeddings * DIM * 4


def test_a_training_time_limit_on_length_does_not_reach_the_static_model(codebook: Codebook) -> None:
    model = trained(codebook)
    whole = model.encode(TEXTS)
    model.max_seq_length = 3
    assert_same_vectors(bake(model).encode(TEXTS), whole)


def test_a_half_precision_model_is_baked_in_single_precision(codebook: Codebook) -> None:
    static = bake(trained(codebook).to(torch.bfloat16))
    assert static.encode(TEXTS).dtype == np.float32


def test_prompts_and_similarity_are_carried_over(codebook: Codebook, tmp_path: Path) -> None:
    model = trained(codebook)
    model.prompts = {"query": "find: ", "document": ""}
    model.similarity_fn_name = "dot"
    bake(model, tmp_path / "static")
    static = SentenceTransformer(str(tmp_path / "static"))
    assert static.similarity_fn_name == "dot"
    assert_same_vectors(static.encode_query(TEXTS), model.encode_query(TEXTS))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (Projection(DIM, 8, hidden_features=16), "Projection"),
        (LayerNorm(DIM), "LayerNorm"),
        (Dense(DIM, 8), "Dense"),
        # Affine for every text but the empty one, which it gives a direction.
        (Dense(DIM, 8, activation_function=None), "Dense"),
    ],
)
def test_a_module_that_no_table_can_stand_for_is_named_and_nothing_is_written(
    module: nn.Module, name: str, codebook: Codebook, tmp_path: Path
) -> None:
    with pytest.raises(BakeError, match=rf"{name} \(module 3\) cannot be baked"):
        bake(trained(codebook, module), tmp_path / "static")
    assert list(tmp_path.iterdir()) == []


def test_a_normalize_in_the_middle_is_to_blame_not_what_follows_it(codebook: Codebook) -> None:
    with pytest.raises(BakeError, match=r"Normalize \(module 3\)"):
        bake(trained(codebook, Normalize(), Projection(DIM, 8)))


def test_a_linear_module_of_the_librarys_is_baked(codebook: Codebook) -> None:
    model = trained(codebook, Dense(DIM, 8, bias=False, activation_function=None))
    assert_same_vectors(bake(model).encode(TEXTS), model.encode(TEXTS))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("modules.json", content) for content in ("", "[]", "{}", "7", '["a"]', '[{"type": 1, "path": 2}]')),
        *(("config_sentence_transformers.json", content) for content in ("", "[]", "7", '{"prompts": 7}')),
        ("config_sentence_transformers.json", '{"similarity_fn_name": "camel"}'),
        *((name, "[" * 100_000) for name in ("modules.json", "config_sentence_transformers.json")),
    ],
    ids=lambda value: value[:40],
)
def test_a_damaged_model_is_one_line_to_who_bakes_it(
    name: str, content: str, codebook: Codebook, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(codebook).save_pretrained(str(tmp_path / "model"))
    (tmp_path / "model" / name).write_text(content)
    assert main(["bake", str(tmp_path / "model"), "--out", str(tmp_path / "static")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("wordllama-st bake: error: ")
    assert not (tmp_path / "static").exists()


def test_a_model_that_does_not_begin_with_a_codebook_is_refused(codebook: Codebook) -> None:
    with pytest.raises(BakeError, match="begins with StaticEmbedding"):
        bake(bake(trained(codebook)))


@pytest.mark.parametrize("dim", [0, DIM + 1, [8, DIM + 1], []])
def test_a_dim_that_the_model_lacks_is_refused(dim: int | list[int], codebook: Codebook, tmp_path: Path) -> None:
    baking = partial(bake, dim=dim) if isinstance(dim, int) else partial(bake_dims, dims=dim)
    with pytest.raises(BakeError, match=f"have {DIM} dimensions|no dim"):
        baking(trained(codebook), tmp_path / "static")
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_of_a_later_dim_is_removed_though_the_first_is_there(
    codebook: Codebook, tmp_path: Path
) -> None:
    bake(trained(codebook), tmp_path / "static-16", dim=16)
    (tmp_path / ".static-8.abcdefgh.partial").mkdir()
    with pytest.raises(OutputExistsError, match="static-16 already exists"):
        bake_dims(trained(codebook), tmp_path / "static", [16, 8])
    assert [path.name for path in tmp_path.iterdir()] == ["static-16"]


def test_a_diverged_model_is_refused(codebook: Codebook, tmp_path: Path) -> None:
    model = trained(codebook)
    with torch.no_grad():
        model[1].weights[5] = torch.nan
    with pytest.raises(BakeError):
        bake(model, tmp_path / "static")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_is_refused_before_any_work_and_replaced_on_purpose(
    codebook: Codebook, tmp_path: Path
) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "precious.txt").write_text("mine")
    for overwrite in (False, True):  # what is no model is not overwritten, not even on purpose
        with pytest.raises(OutputExistsError):
            bake(trained(codebook), tmp_path / "static", overwrite=overwrite)
    assert (tmp_path / "static" / "precious.txt").read_text() == "mine"
    (tmp_path / "static" / "modules.json").write_text("[]")
    with pytest.raises(OutputExistsError, match=r"also holds precious\.txt"):
        bake(trained(codebook), tmp_path / "static", overwrite=True)
    (tmp_path / "static" / "precious.txt").rename(tmp_path / "precious.txt")
    (tmp_path / "static" / "2_Normalize").mkdir()
    bake(trained(codebook), tmp_path / "static", overwrite=True)
    assert not (tmp_path / "static" / "2_Normalize").exists()


def test_the_saved_layout_is_the_one_that_every_version_since_3_2_reads(codebook: Codebook, tmp_path: Path) -> None:
    bake(trained(codebook, Normalize()), tmp_path / "static")
    modules = json.loads((tmp_path / "static" / "modules.json").read_text())
    assert [(module["path"], module["type"]) for module in modules] == [
        ("0_StaticEmbedding", "sentence_transformers.models.StaticEmbedding"),
        ("1_Normalize", "sentence_transformers.models.Normalize"),
    ]
    tokenizer = json.loads((tmp_path / "static" / "0_StaticEmbedding" / "tokenizer.json").read_text())
    assert [tokenizer[key] for key in ("truncation", "padding", "post_processor")] == [None, None, None]


def test_the_card_says_what_it_was_made_from_and_how_it_scored_at_its_own_dim(
    codebook: Codebook, tmp_path: Path
) -> None:
    model = build_model(codebook, 48)
    for name, dim in (("mine-48", None), ("sts-12", None), ("mine-32", 32)):
        retrieval_evaluator(["a b", "c"], ["b a", "d"], name, truncate_dim=dim)(model)
    bake_dims(model, tmp_path / "static", [48, 32])
    card = (tmp_path / "static-48" / "README.md").read_text()
    assert codebook.provenance.sha256 in card
    assert [name in card for name in ("mine 48", "sts 12", "mine 32")] == [True, True, False]
    card = (tmp_path / "static-32" / "README.md").read_text()
    assert [name in card for name in ("mine 48", "sts 12", "mine 32")] == [False, False, True]

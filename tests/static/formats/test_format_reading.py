"""Reading static models as other people's libraries write them.

Protects: each layout of sentence-transformers, model2vec and wordllama, in each of its dtypes, gives the vectors that
the library gives which wrote it; every token counts, however long the text and unknown the word; tables stay in their
dtype and stay mapped; what lies on disk wins over a name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from model2vec import StaticModel
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from static_models import DIM, TEXTS, embed, random_table, shared_rows, tolerance
from tokenizers import Tokenizer

from wordllama_st.errors import ArgumentError, UnknownModelError
from wordllama_st.static import released
from wordllama_st.static.formats import sentence_transformers, wordllama
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.table import StaticTable

#: The class by the names that versions of the library have given it, and where they put its files.
STOCK_LAYOUTS = {
    "root, 6.x": ("", "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding"),
    "root, public name": ("", "sentence_transformers.models.StaticEmbedding"),
    "folder, 3.x": ("0_StaticEmbedding", "sentence_transformers.models.StaticEmbedding"),
    "folder, 5.x": ("0_StaticEmbedding", "sentence_transformers.models.StaticEmbedding.StaticEmbedding"),
}


def is_mapped(array: npt.NDArray[Any]) -> bool:
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


def stock(directory: Path) -> npt.NDArray[Any]:
    """The texts' vectors by the stock class."""
    return SentenceTransformer(str(directory), device="cpu").encode(TEXTS)


def write_stock(directory: Path, tokenizer: Tokenizer, *others: Any, **options: Any) -> Path:
    """A static model saved by the library itself."""
    weights = random_table(tokenizer).weight
    SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=weights), *others], device="cpu", **options
    ).save(str(directory))
    return directory


# sentence-transformers


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("layout", STOCK_LAYOUTS)
def test_every_layout_of_the_stock_library(layout: str, normalize: bool, tokenizer: Tokenizer, tmp_path: Path) -> None:
    directory = write_stock(tmp_path / "model", tokenizer, *([Normalize()] if normalize else []))
    expected = stock(directory)
    folder, kind = STOCK_LAYOUTS[layout]
    modules = json.loads((directory / "modules.json").read_text())
    modules[0] |= {"path": folder, "type": kind}
    (directory / "modules.json").write_text(json.dumps(modules))
    if folder:
        (directory / folder).mkdir()
        for name in ("model.safetensors", "tokenizer.json"):
            (directory / name).rename(directory / folder / name)

    table = read_static_model(directory)
    assert table.normalize is normalize
    assert is_mapped(table.weight)
    np.testing.assert_allclose(embed(table, TEXTS), expected, atol=1e-6)


def test_prompts_and_similarity_come_along(tokenizer: Tokenizer, tmp_path: Path) -> None:
    prompts = {"query": "find: ", "document": ""}
    directory = write_stock(
        tmp_path / "model", tokenizer, prompts=prompts, default_prompt_name="query", similarity_fn_name="dot"
    )
    table = read_static_model(str(directory))
    assert table.prompts == prompts
    assert table.default_prompt_name == "query"
    assert table.similarity_fn_name == "dot"


def test_settings_that_are_not_there_are_the_librarys_defaults(tokenizer: Tokenizer, tmp_path: Path) -> None:
    directory = write_stock(tmp_path / "model", tokenizer)
    (directory / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": None, "similarity_fn_name": None})
    )
    table = read_static_model(directory)
    assert (table.prompts, table.default_prompt_name, table.similarity_fn_name) == ({}, None, "cosine")
    (directory / "config_sentence_transformers.json").unlink()
    assert read_static_model(directory).prompts == {}


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (torch.float32, np.float32),
        (torch.float16, np.float16),
        (torch.float64, np.float32),
        (torch.bfloat16, np.float32),
    ],
)
def test_every_dtype_of_a_stock_table(dtype: torch.dtype, kept: type, tokenizer: Tokenizer, tmp_path: Path) -> None:
    directory = write_stock(tmp_path / "model", tokenizer)
    weights = torch.from_numpy(random_table(tokenizer).weight).to(dtype)
    save_torch_file({"embedding.weight": weights}, directory / "model.safetensors")
    table = read_static_model(directory)
    assert table.weight.dtype == kept
    assert is_mapped(table.weight) is (dtype in (torch.float32, torch.float16))
    np.testing.assert_array_equal(table.expanded(), weights.float())
    np.testing.assert_allclose(embed(table, TEXTS[:3]), embed(random_table(tokenizer), TEXTS[:3]), atol=2e-2)


def test_truncation_and_padding_in_the_tokenizers_file_are_undone(
    cutting_tokenizer: Tokenizer, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    directory = write_stock(tmp_path / "model", tokenizer)
    cutting_tokenizer.save(str(directory / "tokenizer.json"))
    np.testing.assert_array_equal(embed(read_static_model(directory), TEXTS), embed(random_table(tokenizer), TEXTS))


# model2vec


def write_model2vec(directory: Path, table: StaticTable) -> Path:
    """A static model saved by model2vec itself."""
    StaticModel(
        table.weight, table.tokenizer, normalize=table.normalize, weights=table.scales, token_mapping=table.mapping
    ).save_pretrained(directory)
    return directory


def as_dtype(dtype: str) -> Callable[[Tokenizer], StaticTable]:
    return lambda tokenizer: replace(
        random_table(tokenizer), weight=(random_table(tokenizer).weight * 40).clip(-127, 127).astype(dtype)
    )


MODEL2VEC: dict[str, Callable[[Tokenizer], StaticTable]] = {
    "float32": as_dtype("float32"),
    "float16": as_dtype("float16"),
    "int8": as_dtype("int8"),
    "normalized": lambda tokenizer: replace(random_table(tokenizer), normalize=True),
    "shared rows": shared_rows,
    "shared rows, normalized": lambda tokenizer: replace(shared_rows(tokenizer), normalize=True),
    "shared rows, no weights": lambda tokenizer: replace(shared_rows(tokenizer), scales=None),
    "shared rows, int32": lambda tokenizer: replace(
        shared_rows(tokenizer), mapping=shared_rows(tokenizer).mapping.astype(np.int32)
    ),
    "weights alone": lambda tokenizer: replace(random_table(tokenizer), scales=shared_rows(tokenizer).scales),
}


@pytest.mark.parametrize("with_modules", [True, False], ids=["modules.json", "config.json alone"])
@pytest.mark.parametrize("kind", MODEL2VEC)
def test_model2vecs_models_give_its_own_vectors(
    kind: str, with_modules: bool, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    written = MODEL2VEC[kind](tokenizer)
    directory = write_model2vec(tmp_path / "model", written)
    theirs = StaticModel.from_pretrained(directory).encode(TEXTS)
    if with_modules and kind != "int8":  # which the stock class cannot read without weights
        np.testing.assert_allclose(stock(directory), theirs, rtol=tolerance(written), atol=tolerance(written))
    if not with_modules:
        (directory / "modules.json").unlink()

    table = read_static_model(directory)
    assert table.weight.dtype == written.weight.dtype
    assert is_mapped(table.weight)
    assert table.normalize == written.normalize
    np.testing.assert_allclose(embed(table, TEXTS), theirs, rtol=tolerance(written), atol=tolerance(written))


def test_float64_of_model2vec_becomes_float32(tokenizer: Tokenizer, tmp_path: Path) -> None:
    shared = shared_rows(tokenizer)
    directory = tmp_path / "model"
    StaticModel(
        shared.weight.astype(np.float64),
        tokenizer,
        weights=None if shared.scales is None else shared.scales.astype(np.float64),
        token_mapping=shared.mapping,
    ).save_pretrained(directory)
    table = read_static_model(directory)
    assert (table.weight.dtype, table.scales.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(embed(table, TEXTS), stock(directory), atol=1e-6)


def test_every_token_counts_where_model2vec_cuts(tokenizer: Tokenizer, tmp_path: Path) -> None:
    table = random_table(tokenizer)
    directory = write_model2vec(tmp_path / "model", table)
    text = TEXTS[-1] * 100
    expected = StaticModel.from_pretrained(directory, max_length=None).encode([text], max_length=None)
    assert not np.allclose(expected, StaticModel.from_pretrained(directory).encode([text]), atol=1e-3)
    np.testing.assert_allclose(embed(read_static_model(directory), [text]), expected, atol=1e-5)


def test_unknown_words_count_as_in_the_stock_class(word_tokenizer: Tokenizer, tmp_path: Path) -> None:
    directory = write_model2vec(tmp_path / "model", random_table(word_tokenizer))
    np.testing.assert_allclose(embed(read_static_model(directory), TEXTS), stock(directory), atol=1e-6)


# WordLlama


@pytest.mark.parametrize("given", ["beside", "explicitly", "in tokenizers/"])
def test_a_weights_file_and_its_tokenizer(given: str, table: StaticTable, tmp_path: Path) -> None:
    weights = tmp_path / "weights" / "llm_8.safetensors"
    tokenizer = {
        "beside": tmp_path / "weights" / "tokenizer.json",
        "explicitly": tmp_path / "elsewhere" / "some.json",
        "in tokenizers/": tmp_path / "tokenizers" / "llm_tokenizer_config.json",
    }[given]
    for path in (weights, tokenizer):
        path.parent.mkdir(exist_ok=True)
    save_file({"embedding.weight": table.weight.astype(np.float16)}, weights)
    tokenizer.write_text(table.tokenizer.to_str())

    loaded = read_static_model(weights, tokenizer=tokenizer if given == "explicitly" else None)
    assert loaded.weight.dtype == np.float16
    assert is_mapped(loaded.weight)
    np.testing.assert_allclose(embed(loaded, TEXTS), embed(table, TEXTS), atol=4e-3)


def test_the_wheels_own_file_by_its_path() -> None:
    files = released.fetch(released.DEFAULT_MODEL)
    np.testing.assert_array_equal(
        read_static_model(files.weights).weight, read_static_model(released.DEFAULT_MODEL).weight
    )


@pytest.mark.parametrize("dim", [256, 128, 64])
def test_a_released_name_keeps_the_dtype_of_the_file(dim: int) -> None:
    name = f"wordllama-l2-supercat-{dim}"
    table = read_static_model(name)
    assert table.weight.dtype == np.float16
    assert table.weight.shape == (32000, dim)
    assert is_mapped(table.weight) is (dim == 256)
    as_float32 = wordllama.read_released(released.fetch(name))
    assert as_float32.weight.dtype == np.float32
    np.testing.assert_array_equal(table.expanded(), as_float32.weight)


def test_a_local_directory_wins_over_a_released_name(
    table: StaticTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sentence_transformers.write(table, released.DEFAULT_MODEL, card="")
    assert read_static_model(released.DEFAULT_MODEL).dim == DIM
    shutil.rmtree(released.DEFAULT_MODEL)
    assert read_static_model(released.DEFAULT_MODEL).dim == 256


def test_a_name_like_a_released_models_is_not_looked_for_on_the_hub() -> None:
    with pytest.raises(UnknownModelError, match="wordllama-l9"):
        read_static_model("wordllama-l9")


def test_a_tokenizer_cannot_be_given_to_what_has_its_own(table: StaticTable, tmp_path: Path) -> None:
    sentence_transformers.write(table, tmp_path / "model", card="")
    with pytest.raises(ArgumentError, match="has a tokenizer of its own"):
        read_static_model(tmp_path / "model", tokenizer=tmp_path / "tokenizer.json")
    with pytest.raises(ArgumentError, match="has a tokenizer of its own"):
        read_static_model(released.DEFAULT_MODEL, tokenizer=tmp_path / "tokenizer.json")

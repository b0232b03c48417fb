"""Static models of two factors: a table [V, d], and a Dense that projects the mean to D dimensions.

Protects: the embeddings are those of the stock class, and of the table [V, D], in every dtype, layout, dim and on the
query side of an asymmetric model; a Dense that is more than a product, or that does not fit, is refused.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Router
from static_models import DIM, TEXTS, random_table, shared_rows
from tokenizers import Tokenizer
from torch import nn

from wordllama_st import Codebook, StaticEncoder, explain, static_model_from_pretrained
from wordllama_st.errors import ArgumentError, ModelLoadError
from wordllama_st.evaluation.models import open_model
from wordllama_st.modules.stock import projection_of, static_modules
from wordllama_st.static.dataset.encode import _model_sha256
from wordllama_st.static.formats import model2vec, sentence_transformers, wordllama
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.table import StaticTable
from wordllama_st.training.static_model import save_static_model

WIDTH = 20


@pytest.fixture
def table(tokenizer: Tokenizer) -> StaticTable:
    return projected(random_table(tokenizer))


def projected(table: StaticTable) -> StaticTable:
    projection = np.random.default_rng(2).standard_normal((DIM, WIDTH), dtype=np.float32)
    return replace(table, projection=projection, normalize=True)


def assert_close(actual: npt.NDArray[Any], expected: npt.NDArray[Any], relative: float = 1e-6) -> None:
    """Compare embeddings [n, d], relative to their lengths."""
    assert actual.shape == expected.shape
    distances = np.linalg.norm(actual.astype(float) - expected, axis=1)
    assert (distances <= relative * np.linalg.norm(expected.astype(float), axis=1)).all(), distances.max()


# The same embeddings


@pytest.mark.parametrize("normalize", [False, True])
def test_the_stock_class_gives_the_same_embeddings(normalize: bool, table: StaticTable, tmp_path: Path) -> None:
    table = replace(table, normalize=normalize, prompts={"query": "find: "}, default_prompt_name="query")
    sentence_transformers.write(table, tmp_path / "model", card="")
    names = ["StaticEmbedding", "Dense", *(["Normalize"] if normalize else [])]
    modules = json.loads((tmp_path / "model" / "modules.json").read_text())
    assert [module["type"].rpartition(".")[2] for module in modules] == names
    stock = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    encoder = StaticEncoder.from_pretrained(tmp_path / "model")
    assert encoder.dim == stock.get_embedding_dimension() == WIDTH
    for texts in (TEXTS, TEXTS * 9):  # few at a time, and many
        assert_close(encoder.encode(texts), stock.encode(texts))
    assert_close(np.stack([encoder.encode(text) for text in TEXTS]), stock.encode(TEXTS))
    np.testing.assert_array_equal(encoder.table.projection, table.projection)


def test_no_torch_is_imported(table: StaticTable, tmp_path: Path) -> None:
    sentence_transformers.write(table, tmp_path / "model", card="")
    code = (
        "import sys; from wordllama_st import StaticEncoder; StaticEncoder.from_pretrained(sys.argv[1]).encode('a');"
        "assert not {'torch', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "model")], check=True)


@pytest.mark.parametrize("make", [random_table, shared_rows])
def test_the_one_table_gives_the_same_embeddings(
    make: Callable[[Tokenizer], StaticTable], tokenizer: Tokenizer
) -> None:
    table = projected(make(tokenizer))
    one = table.multiplied()
    assert one.projection is None
    assert table.dim == one.dim == WIDTH
    assert_close(table.expanded(), one.expanded())
    np.testing.assert_array_equal(table.rows([5, 0, 5]), table.expanded()[[5, 0, 5]])
    np.testing.assert_array_equal(table.dense(), one.dense())
    assert_close(StaticEncoder(table).encode(TEXTS), StaticEncoder(one).encode(TEXTS))
    assert one.multiplied() is one


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("make", [random_table, shared_rows])
def test_it_is_held_in_every_dtype(
    dtype: Any, make: Callable[[Tokenizer], StaticTable], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    table = projected(make(tokenizer))
    expected = StaticEncoder(table).encode(TEXTS)
    encoder = StaticEncoder(table, dtype=dtype)
    assert encoder.table.weight.dtype == dtype
    assert_close(encoder.encode(TEXTS), expected, 0.02)
    assert_close(encoder.encode(TEXTS * 9)[: len(TEXTS)], encoder.encode(TEXTS))
    assert_close(StaticEncoder(encoder.table.multiplied()).encode(TEXTS), encoder.encode(TEXTS), 0.02)
    texts = TEXTS[1:]  # of float16, the stock class divides a text without tokens by zero
    model = SentenceTransformer(modules=static_modules(encoder.table), device="cpu")
    assert_close(model.encode(texts), encoder.encode(texts), 0.01 if dtype == "float16" else 1e-6)
    if dtype == "int8":
        with pytest.raises(ArgumentError, match="needs its scales"):
            encoder.save_pretrained(tmp_path / "model")
    else:
        encoder.save_pretrained(tmp_path / "model")
        assert_close(StaticEncoder.from_pretrained(tmp_path / "model").encode(TEXTS), expected, 0.01)
        stock = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(texts)
        assert_close(stock, expected[1:], 0.01)


@pytest.mark.parametrize(("layout", "dtypes"), [("model2vec", ["float32", "int8"]), ("wordllama", ["float32"])])
def test_layouts_without_a_place_for_it_have_the_product(
    layout: Any, dtypes: list[Any], table: StaticTable, tmp_path: Path
) -> None:
    for dtype in dtypes:
        encoder = StaticEncoder(table, dtype=dtype)
        encoder.save_pretrained(tmp_path / dtype, format=layout)
        loaded = read_static_model(tmp_path / dtype)
        assert loaded.projection is None
        assert loaded.weight.shape == (table.num_tokens, WIDTH)
        embeddings = StaticEncoder(replace(loaded, normalize=True)).encode(TEXTS)
        assert_close(embeddings, encoder.encode(TEXTS), 0.02 if dtype == "int8" else 1e-6)


@pytest.mark.parametrize("dim", [3, DIM, DIM + 1, WIDTH])
def test_it_is_truncated(dim: int, table: StaticTable) -> None:
    table = replace(table, normalize=False)
    encoder = StaticEncoder(table, truncate_dim=dim)
    assert encoder.dim == dim
    assert encoder.table.weight.shape[1] == min(dim, DIM)
    for normalize in (False, True):
        options: dict[str, Any] = {"normalize_embeddings": normalize}
        whole = StaticEncoder(table).encode(TEXTS, truncate_dim=dim, **options)
        assert_close(encoder.encode(TEXTS, **options), whole, 2e-6)  # of sums that may cancel
    with pytest.raises(ArgumentError, match="have 20 dimensions; they cannot be cut to 21"):
        table.truncated(WIDTH + 1)


def test_it_is_explained_scored_and_told_apart(table: StaticTable, tmp_path: Path) -> None:
    encoder, (first, second) = StaticEncoder(table), (TEXTS[1], TEXTS[4])
    similarity = encoder.similarity(encoder.encode(first), encoder.encode(second))[0, 0]
    assert explain(encoder, first, second).score == pytest.approx(float(similarity), abs=1e-6)
    assert encoder.token_vectors(first).vectors.shape[1] == WIDTH
    sentence_transformers.write(replace(table, prompts={"query": "find: "}), tmp_path / "model", card="")
    assert_close(open_model(str(tmp_path / "model")).encode(TEXTS), encoder.encode(TEXTS))
    assert table.projection is not None
    assert _model_sha256(table) != _model_sha256(replace(table, projection=2 * table.projection))


# In other models


def test_the_query_side_of_an_asymmetric_model(table: StaticTable, tokenizer: Tokenizer, tmp_path: Path) -> None:
    documents: list[Any] = static_modules(projected(random_table(tokenizer, seed=3)).multiplied())
    queries: list[Any] = static_modules(table)
    router = Router.for_query_document(query_modules=queries, document_modules=documents)
    SentenceTransformer(modules=[router]).save_pretrained(str(tmp_path / "pair"))
    encoder = StaticEncoder.from_pretrained(tmp_path / "pair")
    assert encoder.table.asymmetric
    np.testing.assert_array_equal(encoder.table.projection, table.projection)
    pair = SentenceTransformer(str(tmp_path / "pair"), device="cpu")
    assert_close(encoder.encode(TEXTS), pair.encode_query(TEXTS))


def test_a_model_in_memory_keeps_it(table: StaticTable, tmp_path: Path) -> None:
    model = static_model_from_pretrained(SentenceTransformer(modules=static_modules(table), device="cpu"))
    np.testing.assert_array_equal(projection_of(model), table.projection)
    save_static_model(model, tmp_path / "model", [])
    assert_close(StaticEncoder.from_pretrained(tmp_path / "model").encode(TEXTS), model.encode(TEXTS))
    assert "in 8 dimensions, projected to 20." in (tmp_path / "model" / "README.md").read_text()
    trained = static_model_from_pretrained(tmp_path / "model")  # every row of one table
    assert [type(module).__name__ for module in trained] == ["StaticEmbedding", "Normalize"]
    assert_close(trained.encode(TEXTS), model.encode(TEXTS))
    assert Codebook.from_pretrained(tmp_path / "model").weight.shape[1] == DIM


@pytest.mark.parametrize("further", [Dense(WIDTH, 2), Dense(WIDTH, 2, bias=False, activation_function=nn.Identity())])
def test_a_model_in_memory_with_more_than_it_is_refused(further: Dense, table: StaticTable) -> None:
    with pytest.raises(ArgumentError, match="one Dense there at most, without bias and activation"):
        static_model_from_pretrained(SentenceTransformer(modules=[*static_modules(table)[:2], further]))


# Refused


@pytest.mark.parametrize(
    ("projection", "message"),
    [
        (np.ones((DIM + 1, 4), np.float32), r"float32 of shape \[9, 4\]; for rows of 8 dimensions"),
        (np.ones(DIM, np.float32), r"shape \[8\]"),
        (np.ones((DIM, 0), np.float32), r"shape \[8, 0\]"),
        (np.ones((DIM, 4)), "float64"),
    ],
)
def test_a_projection_that_does_not_fit_the_table(
    projection: npt.NDArray[Any], message: str, table: StaticTable
) -> None:
    with pytest.raises(ArgumentError, match=message):
        replace(table, projection=projection)


def refusal(model: Path) -> str:
    """The message of the error that loading raises, one line; the stock class need not refuse the model."""
    with pytest.raises(ModelLoadError) as caught:
        read_static_model(model)
    assert "\n" not in str(caught.value)
    assert str(model) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def model(table: StaticTable, tmp_path: Path) -> Path:
    """A directory, to be damaged."""
    sentence_transformers.write(table, tmp_path / "model", card="")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "dense",
    [
        Dense(DIM, WIDTH, activation_function=nn.Identity()),
        Dense(DIM, WIDTH, bias=False),
        Dense(DIM, WIDTH, bias=False, activation_function=nn.Identity(), use_residual=True),
        Dense(DIM, WIDTH, bias=False, activation_function=nn.Identity(), module_output_name="other"),
    ],
)
def test_a_dense_that_is_more_than_a_product(dense: Dense, table: StaticTable, tmp_path: Path) -> None:
    embedding = static_modules(table)[0]
    SentenceTransformer(modules=[embedding, dense]).save_pretrained(str(tmp_path / "model"))
    assert "without bias and activation. SentenceTransformer runs it." in refusal(tmp_path / "model")


@pytest.mark.parametrize("setting", ["bias", "activation_function"])
def test_a_setting_that_is_not_there_is_the_stock_classs_own(setting: str, model: Path) -> None:
    path = model / "1_Dense" / "config.json"
    settings = json.loads(path.read_text())
    del settings[setting]
    path.write_text(json.dumps(settings))
    assert f"for {setting}; the Dense" in refusal(model)


@pytest.mark.parametrize("content", ["", "[]", "7"])
def test_settings_that_are_none(content: str, model: Path) -> None:
    (model / "1_Dense" / "config.json").write_text(content)
    assert "1_Dense/config.json" in refusal(model)


@pytest.mark.parametrize(
    ("tensors", "part"),
    [
        ({"linear.weight": np.ones((WIDTH, DIM + 1), np.float32)}, "does not fit"),
        ({"linear.weight": np.ones((WIDTH - 1, DIM), np.float32)}, "does not fit"),
        ({"linear.weight": np.ones(DIM, np.float32)}, "does not fit"),
        ({"linear.weight": np.ones((WIDTH, DIM), np.int32)}, "does not fit"),
        ({"linear.weight": np.full((WIDTH, DIM), np.nan, np.float32)}, "not finite"),
        ({"other": np.ones((WIDTH, DIM), np.float32)}, "no tensor 'linear.weight'"),
    ],
)
def test_a_matrix_that_is_none(tensors: dict[str, npt.NDArray[Any]], part: str, model: Path) -> None:
    save_file(tensors, model / "1_Dense" / "model.safetensors")
    assert part in refusal(model)


def test_a_matrix_behind_other_rows(model: Path, tokenizer: Tokenizer) -> None:
    rows = np.ones((tokenizer.get_vocab_size(), DIM + 1), np.float32)
    save_file({"embedding.weight": rows}, model / "0_StaticEmbedding" / "model.safetensors")
    assert "behind rows of 9 dimensions" in refusal(model)


def test_files_that_are_not_there(model: Path) -> None:
    (model / "1_Dense" / "model.safetensors").unlink()
    assert "has no model.safetensors" in refusal(model)
    (model / "1_Dense" / "config.json").unlink()
    assert "config.json cannot be read" in refusal(model)


def test_it_stands_between_the_table_and_a_normalize_and_inside_the_model(model: Path) -> None:
    path = model / "modules.json"
    table, dense, normalize = json.loads(path.read_text())
    path.write_text(json.dumps([table, normalize, dense]))
    assert "models.Dense behind its token vectors" in refusal(model)
    path.write_text(json.dumps([table, dense, dense, normalize]))
    assert "models.Dense behind its token vectors" in refusal(model)
    path.write_text(json.dumps([table, {**dense, "path": "../1_Dense"}]))
    assert "outside the model's" in refusal(model)


def test_the_normalize_that_the_stock_class_writes(table: StaticTable, tmp_path: Path) -> None:
    SentenceTransformer(modules=[*static_modules(replace(table, normalize=False)), Normalize()]).save_pretrained(
        str(tmp_path / "model")
    )
    loaded = read_static_model(tmp_path / "model")
    assert loaded.normalize
    np.testing.assert_array_equal(loaded.projection, table.projection)
    wordllama.write(loaded, tmp_path / "other", card="")
    model2vec.write(loaded, tmp_path / "another", card="")

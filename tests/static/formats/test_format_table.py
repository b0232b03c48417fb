"""The static table: what its parts mean, and what it refuses.

Protects: a token's vector is its row times its scale whichever of the two there are; int8 is as near as 1/127 of a
row's largest number allows; parts that do not fit together are refused, by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from static_models import TABLES, random_table, shared_rows
from tokenizers import Tokenizer

from wordllama_st.errors import ArgumentError
from wordllama_st.static.table import StaticTable


def test_weight_tokenizer_and_normalize_are_all_that_a_table_needs(tokenizer: Tokenizer) -> None:
    table = StaticTable(np.eye(3, dtype=np.float32), tokenizer, True)
    assert table.normalize
    assert (table.num_tokens, table.dim) == (3, 3)
    assert (table.mapping, table.scales, table.prompts, table.default_prompt_name) == (None, None, {}, None)
    assert table.similarity_fn_name == "cosine"


@pytest.mark.parametrize("kind", TABLES)
def test_a_tokens_vector_is_its_row_times_its_scale(kind: str, tokenizer: Tokenizer) -> None:
    table = TABLES[kind](tokenizer)
    rows = range(table.num_tokens) if table.mapping is None else table.mapping
    scales = np.ones(table.num_tokens) if table.scales is None else table.scales
    expected = [table.weight[row].astype(float) * scale for row, scale in zip(rows, scales, strict=True)]
    assert table.num_tokens == len(expected)
    assert table.expanded().dtype == np.float32
    np.testing.assert_allclose(table.expanded(), expected, rtol=1e-6)
    ids = [5, 0, 5, table.num_tokens - 1]
    assert table.rows(ids).dtype == np.float32
    np.testing.assert_array_equal(table.rows(ids), table.expanded()[ids])
    assert table.rows([]).shape == (0, table.dim)


def test_a_plain_float32_table_is_not_copied(table: StaticTable) -> None:
    assert np.shares_memory(table.expanded(), table.weight)
    assert np.shares_memory(table.dense(), table.weight)


@pytest.mark.parametrize("kind", TABLES)
def test_truncating_keeps_the_first_dimensions_and_everything_else(kind: str, tokenizer: Tokenizer) -> None:
    table = TABLES[kind](tokenizer)
    short = table.truncated(3)
    np.testing.assert_array_equal(short.expanded(), table.expanded()[:, :3])
    assert short.weight.flags.c_contiguous
    assert replace(short, weight=table.weight) == table


@pytest.mark.parametrize("dim", [0, -1, 9])
def test_there_is_nothing_to_cut_to_outside_the_vectors(dim: int, table: StaticTable) -> None:
    with pytest.raises(ArgumentError, match=f"8 dimensions; they cannot be cut to {dim}"):
        table.truncated(dim)


@pytest.mark.parametrize("kind", ["float32", "float16", "shared rows", "shared rows, no scales", "normalized"])
def test_int8_is_off_by_half_a_step_of_each_row(kind: str, tokenizer: Tokenizer) -> None:
    table = TABLES[kind](tokenizer)
    quantized = table.quantized()
    assert quantized.weight.dtype == np.int8
    assert quantized.scales is not None
    assert quantized.scales.dtype == np.float32
    assert quantized.scales.shape == (table.num_tokens,)
    assert np.abs(quantized.weight.astype(int)).max(axis=1).tolist() == [127] * len(table.weight)
    exact = table.expanded()
    steps = np.abs(exact).max(axis=1, keepdims=True) / 127
    assert (np.abs(quantized.expanded() - exact) <= steps * 0.5001).all()
    assert quantized.normalize == table.normalize
    assert quantized.quantized() is quantized


def test_rows_of_zeros_stay_zero_in_int8(table: StaticTable) -> None:
    table.weight[[0, 7]] = 0
    assert not table.quantized().rows([0, 7]).any()
    assert np.isfinite(table.quantized().expanded()).all()


def test_int8_without_scales_is_taken_as_it_is(table: StaticTable) -> None:
    table = replace(table, weight=np.ones(table.weight.shape, np.int8))
    np.testing.assert_array_equal(table.quantized().expanded(), table.weight)


def test_what_is_not_finite_has_no_int8(table: StaticTable) -> None:
    table.weight[3, 3] = np.nan
    with pytest.raises(ArgumentError, match="not finite"):
        table.quantized()


def test_int8_has_no_dense_form_and_is_told_where_to_go(table: StaticTable) -> None:
    with pytest.raises(ArgumentError, match="model2vec layout"):
        table.quantized().dense()


def test_dense_keeps_the_dtype_where_no_scales_call_for_another(tokenizer: Tokenizer) -> None:
    assert TABLES["shared rows, no scales"](tokenizer).dense().dtype == np.float16
    halves = replace(shared_rows(tokenizer), weight=random_table(tokenizer, rows=20).weight.astype(np.float16))
    assert halves.dense().dtype == np.float32


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"weight": np.ones(4, np.float32)}, r"shape \[4\]"),
        ({"weight": np.ones((0, 4), np.float32)}, r"shape \[0, 4\]"),
        ({"weight": np.ones((4, 2), np.int16)}, "vectors are int16"),
        ({"mapping": np.ones(4, np.float32)}, "mapping is float32"),
        ({"mapping": np.ones((4, 1), np.int32)}, r"mapping is int32 of shape \[4, 1\]"),
        ({"mapping": np.array([0, 1, 4, 9])}, "2 tokens to rows that are not there, token 2 first: to row 4 of 4"),
        ({"mapping": np.array([0, -1, 2])}, "token 1 first: to row -1 of 4"),
        ({"scales": np.ones(3, np.float32)}, r"scales are float32 of shape \[3\]; for 4 tokens"),
        ({"mapping": np.array([0, 1]), "scales": np.ones(4, np.float32)}, "for 2 tokens"),
        ({"scales": np.array([1, np.nan, np.inf, 1], np.float32)}, "2 of the scales are not finite, that of token 1"),
        ({"scales": np.ones(4)}, "scales are float64"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    parts: dict[str, npt.NDArray[Any]], message: str, tokenizer: Tokenizer
) -> None:
    with pytest.raises(ArgumentError, match=message):
        StaticTable(**{"weight": np.ones((4, 2), np.float32), "tokenizer": tokenizer, **parts})

"""Tables of one vocabulary stand side by side, exactly, without being held in memory.

Protects: the numbers; the comparison of vocabularies; scales; what is recorded.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from checkpoints import DTYPES, ROWS, content
from tokenizers import AddedToken, Tokenizer

from wordllama_st import Codebook
from wordllama_st.cli.main import main
from wordllama_st.errors import ArgumentError, CodebookError


def table(columns: int, seed: int, dtype: torch.dtype = torch.float32, rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_joined_tables_are_their_columns_side_by_side(dtype: torch.dtype, tokenizer: Tokenizer, tmp_path: Path) -> None:
    tables = [table(columns, columns, dtype) for columns in (16, 24, 8)]
    joined = Codebook.concat([Codebook(part, tokenizer) for part in tables])
    assert (joined.num_embeddings, joined.embedding_dim) == (ROWS, 48)
    joined.save(tmp_path / "joined")
    for codebook in (joined, Codebook.load(tmp_path / "joined")):
        assert codebook.weight.dtype == dtype
        assert torch.equal(codebook.weight, torch.cat(tables, dim=1))
    assert joined.tokenizer.encode("llamas").ids


def test_a_joined_table_can_be_used_before_it_is_saved(tokenizer: Tokenizer) -> None:
    tables = [table(16, 0), table(8, 1)]
    joined = Codebook.concat([Codebook(part, tokenizer) for part in tables])
    assert torch.equal(joined.weight, torch.cat(tables, dim=1))


def test_different_dtypes_join_in_float32(tokenizer: Tokenizer) -> None:
    tables = [table(16, 0, torch.float16), table(8, 1, torch.bfloat16)]
    joined = Codebook.concat([Codebook(part, tokenizer) for part in tables])
    assert torch.equal(joined.weight, torch.cat([part.float() for part in tables], dim=1))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scaled_tables_have_rows_of_one_length(dtype: torch.dtype, tokenizer: Tokenizer) -> None:
    tables = [table(16, 0, dtype) * 100, table(64, 1, dtype) / 100]
    joined = Codebook.concat([Codebook(part, tokenizer) for part in tables], scale="rms").weight.float()
    for part in (joined[:, :16], joined[:, 16:]):
        assert part.square().sum(dim=1).mean().sqrt().item() == pytest.approx(1, rel=1e-2)
    by_hand = Codebook.concat([Codebook(part, tokenizer) for part in tables], scale=[2, 0.5]).weight
    assert torch.equal(by_hand, torch.cat([tables[0] * 2, tables[1] * 0.5], dim=1))


@pytest.mark.parametrize("scale", ["loud", [1.0], [1.0, 0.0], [1.0, float("nan")]])
def test_a_scale_that_is_none_is_refused(scale: str | list[float], tokenizer: Tokenizer) -> None:
    parts = [Codebook(table(16, 0), tokenizer), Codebook(table(16, 1), tokenizer)]
    with pytest.raises(ArgumentError):
        Codebook.concat(parts, scale=scale)


def test_a_scale_too_large_for_the_dtype_is_refused_and_nothing_is_written(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    joined = Codebook.concat([Codebook(table(16, 0, torch.float16), tokenizer)], scale=[1e6])
    with pytest.raises(CodebookError, match="too large for float16"):
        joined.save(tmp_path / "joined")
    assert content(tmp_path) == {}


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(ArgumentError, match="nothing to join"):
        Codebook.concat([])


def changed(tokenizer: Tokenizer, names: dict[str, str]) -> Tokenizer:
    """The tokenizer with other names for some of its tokens."""
    definition = json.loads(tokenizer.to_str())
    vocabulary = definition["model"]["vocab"]
    definition["model"]["vocab"] = {names.get(token, token): token_id for token, token_id in vocabulary.items()}
    definition["model"]["merges"] = []
    for token in definition["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    definition["post_processor"] = None
    return Tokenizer.from_str(json.dumps(definition))


def test_special_tokens_may_differ_and_that_is_told(tokenizer: Tokenizer, tmp_path: Path) -> None:
    other = changed(tokenizer, {"<s>": "<|begin|>"})
    other.add_special_tokens([AddedToken("<|tool|>", special=True)])
    parts = [Codebook(table(16, 0), tokenizer), Codebook(table(8, 1, rows=ROWS + 1), other)]
    joined = Codebook.concat(parts)
    assert joined.num_embeddings == ROWS
    assert joined.provenance.tolerated == (
        "0: '<s>' in table 1, '<|begin|>' in table 2",
        "300: none in table 1, '<|tool|>' in table 2",
    )
    # Saved and loaded ones know their special tokens too; and a row that one lacks is zeros.
    for number, part in enumerate(parts):
        part.save(tmp_path / str(number))
    turned = Codebook.concat([Codebook.load(tmp_path / "1"), Codebook.load(tmp_path / "0")])
    assert turned.num_embeddings == ROWS + 1
    assert not turned.weight[ROWS, 8:].any()


def test_real_differences_are_an_error_that_shows_the_first_ten(tokenizer: Tokenizer) -> None:
    tokens = [tokenizer.id_to_token(token_id) for token_id in range(270, 290)]
    other = changed(tokenizer, {token: f"{token}!" for token in tokens})
    with pytest.raises(CodebookError, match="differ in 20 tokens") as caught:
        Codebook.concat([Codebook(table(16, 0), tokenizer), Codebook(table(16, 1), other)])
    assert str(caught.value).count(" in table 2") == 10
    assert "and 10 more" in str(caught.value)


def test_the_command_joins_and_records_the_parts(
    tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, columns in {"a": 16, "b": 8}.items():
        Codebook(table(columns, columns), tokenizer).save(tmp_path / name)
    sources = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["extract", *sources, "--out", str(tmp_path / "joined"), "--scale", "rms"]) == 0
    assert f"{tmp_path / 'joined'}: [300, 24] float32" in capsys.readouterr().out
    assert sorted(content(tmp_path / "joined")) == ["codebook.json", "codebook.safetensors", "tokenizer.json"]
    loaded = Codebook.load(tmp_path / "joined")
    assert [part["shape"] for part in loaded.provenance.parts] == [[300, 16], [300, 8]]
    assert all(0 < float(str(part["scale"])) < 1 for part in loaded.provenance.parts)

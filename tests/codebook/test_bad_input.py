"""Every kind of bad input is refused under its own class of error, with the name of what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import (
    COLUMNS,
    DTYPES,
    INDEX,
    ROWS,
    content,
    edit_config,
    save_table,
)
from tokenizers import Tokenizer

from wordllama_st import Codebook
from wordllama_st.codebook import find_table
from wordllama_st.errors import CodebookError, CodebookNotFoundError

# Bad input: checkpoints


def remove(name: str) -> Callable[[Path], object]:
    return lambda checkpoint: (checkpoint / name).unlink()


def write(name: str, text: str | bytes) -> Callable[[Path], object]:
    return lambda checkpoint: (checkpoint / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def edit_index(shard_of_table: str | None) -> Callable[[Path], object]:
    """Say that the token table is in another shard."""

    def edit(checkpoint: Path) -> None:
        index = json.loads((checkpoint / INDEX).read_text())
        index["weight_map"]["model.embed_tokens.weight"] = shard_of_table
        (checkpoint / INDEX).write_text(json.dumps(index))

    return edit


def edit_table_shard(edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change the bytes of the shard with the token table."""

    def damage(checkpoint: Path) -> None:
        shard = checkpoint / json.loads((checkpoint / INDEX).read_text())["weight_map"]["model.embed_tokens.weight"]
        shard.write_bytes(edit(shard.read_bytes()))

    return damage


def name_code(checkpoint: Path) -> None:
    """Ask for the checkpoint's own code to be run; it would leave a file."""
    (checkpoint / "camel.py").write_text(
        "open(__file__ + '.ran', 'w')\nfrom transformers import LlamaConfig as Camel\n"
    )
    edit_config(model_type="camel", auto_map={"AutoConfig": "camel.Camel"})(checkpoint)


def empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def keep_only_pickles(checkpoint: Path) -> None:
    for path in [*checkpoint.glob("*.safetensors"), checkpoint / INDEX]:
        path.unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(b"\x80\x02}.")


#: What is done to a good checkpoint, and how it is then refused.
BAD_CHECKPOINTS: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "missing": (shutil.rmtree, CodebookNotFoundError, r"no directory .*checkpoint"),
    "empty": (empty, CodebookNotFoundError, r"checkpoint has no weights.*model\.safetensors"),
    "no config": (remove("config.json"), CodebookNotFoundError, r"no config\.json.*tensor_name"),
    "no tokenizer": (remove("tokenizer.json"), CodebookNotFoundError, r"no tokenizer at .*tokenizer\.json"),
    "pickles only": (keep_only_pickles, CodebookError, r"pickles only \(pytorch_model\.bin\)"),
    "no index": (remove(INDEX), CodebookNotFoundError, r"safetensors files, but no model\.safetensors\.index\.json"),
    "index is no JSON": (write(INDEX, "{"), CodebookError, r"index\.json is not an index"),
    "index is nested deep": (write(INDEX, "[" * 100_000), CodebookError, r"index\.json is not an index"),
    "index is another JSON": (write(INDEX, "[1]"), CodebookError, r"index\.json is not an index"),
    "shard missing": (edit_index("9.safetensors"), CodebookNotFoundError, r"9\.safetensors, which is missing"),
    "shard outside": (edit_index("../x.safetensors"), CodebookError, r"names a shard '\.\./x\.safetensors'"),
    "shard at the root": (edit_index("/etc/passwd"), CodebookError, r"names a shard '/etc/passwd'"),
    "shard is the parent": (edit_index(".."), CodebookNotFoundError, r"\.\., which is missing"),
    "shard is no name": (edit_index(None), CodebookError, r"names a shard None"),
    "shard empty": (edit_table_shard(lambda _: b""), CodebookError, r"not a readable safetensors file"),
    "shard cut short": (edit_table_shard(lambda data: data[:-1]), CodebookError, r"not a readable safetensors file"),
    "shard with a huge header": (
        edit_table_shard(lambda data: b"\xff" * 8 + data[8:]), CodebookError, r"not a readable safetensors file",
    ),
    "shard of something else": (
        edit_table_shard(lambda _: b"PK\x03\x04" * 50), CodebookError, r"not a readable safetensors file",
    ),
    "shard without the table": (
        edit_table_shard(lambda data: data.replace(b"model.embed_tokens.weight", b"model.embed_tokens.wxxxxx")),
        CodebookError,
        r"no tensor 'model\.embed_tokens\.weight'",
    ),
    "tokenizer is no JSON": (write("tokenizer.json", "<html>"), CodebookError, r"not a tokenizer\.json"),
    "tokenizer is another JSON": (write("tokenizer.json", "{}"), CodebookError, r"not a tokenizer\.json"),
    "config is no JSON": (write("config.json", "{"), CodebookError, r"config\.json.*tensor_name"),
    "config of an unknown kind": (
        write("config.json", '{"model_type": "camel"}'), CodebookError, r"config\.json.*tensor_name"
    ),
    "config with a word for a number": (edit_config(vocab_size="many"), CodebookError, r"config\.json.*tensor_name"),
    "config with a number that cannot be": (edit_config(vocab_size=-1), CodebookError, r"config\.json.*tensor_name"),
    "config that names code": (name_code, CodebookError, r"config\.json.*custom code.*tensor_name"),
    "config of sixteen megabytes": (write("config.json", " " * 16_000_001), CodebookError, r"too large for a config"),
    "config of many modules": (
        write("config.json", '{"model_type": "musicgen_decoder", "num_codebooks": 200000}'),
        CodebookError,
        r"num_codebooks is 200000, which no model has",
    ),
    "config of another model": (edit_config(vocab_size=ROWS + 1), CodebookError, r"belong to different models"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_refused_by_name(kind: str, checkpoint: Path) -> None:
    spoil, error, message = BAD_CHECKPOINTS[kind]
    spoil(checkpoint)
    before = content(checkpoint.parent)
    with pytest.raises(error, match=message):
        Codebook.from_pretrained(checkpoint)
    assert content(checkpoint.parent) == before


def test_a_file_is_not_a_checkpoint(checkpoint: Path) -> None:
    with pytest.raises(CodebookNotFoundError, match=r"config\.json is not a directory"):
        Codebook.from_pretrained(checkpoint / "config.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.such.weight", r"no tensor 'no\.such\.weight'"),
        ("model.norm.weight", r"'model\.norm\.weight' .* shape \[16\]"),
    ],
)
def test_a_named_tensor_that_is_no_table_is_refused(name: str, message: str, checkpoint: Path) -> None:
    with pytest.raises(CodebookError, match=message):
        Codebook.from_pretrained(checkpoint, tensor_name=name)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.zeros(ROWS, COLUMNS, dtype=torch.int64), "I64"),
        (torch.zeros(ROWS, COLUMNS, dtype=torch.float64), "F64"),
        (torch.zeros(ROWS, 0), r"\[300, 0\]"),
        (torch.zeros(2, ROWS, COLUMNS), r"\[2, 300, 16\]"),
    ],
)
def test_a_table_of_another_kind_is_refused(
    table: torch.Tensor, message: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    directory = save_table(table, tmp_path / "checkpoint", tokenizer)
    with pytest.raises(CodebookError, match=message):
        Codebook.from_pretrained(directory, tensor_name="table")
    with pytest.raises(CodebookError, match="token table is"):
        Codebook(table, tokenizer)


def test_tokens_without_a_row_are_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    table = torch.zeros(297, COLUMNS)
    directory = save_table(table, tmp_path / "checkpoint", tokenizer)
    beyond = [f"{tokenizer.id_to_token(token_id)!r} ({token_id})" for token_id in (297, 298, 299)]
    for build in (
        lambda: Codebook.from_pretrained(directory, tensor_name="table"),
        lambda: Codebook(table, tokenizer),
    ):
        with pytest.raises(CodebookError, match="has 297 rows") as caught:
            build()
        assert ", ".join(beyond) in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_that_is_not_finite_is_named(
    dtype: torch.dtype, value: float, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    table = torch.randn(ROWS, COLUMNS).to(dtype)
    table[17, 3] = table[290, 0] = value
    directory = save_table(table, tmp_path / "checkpoint", tokenizer)
    message = f"Row 17 ({tokenizer.id_to_token(17)!r}) of the table in "
    with pytest.raises(CodebookError) as caught:
        Codebook.from_pretrained(directory, tensor_name="table")
    assert str(caught.value).startswith(f"{message}{directory}")
    with pytest.raises(CodebookError) as caught:
        Codebook(table, tokenizer)
    assert str(caught.value).startswith(f"{message}memory")


def test_the_row_is_named_in_a_table_that_is_read_in_pieces(tmp_path: Path, tokenizer: Tokenizer) -> None:
    table = torch.zeros(ROWS, 32_768)  # 42 MB
    table[298, 32_767] = float("nan")
    with pytest.raises(CodebookError, match="Row 298 "):
        Codebook(table, tokenizer)


# Bad input: saved codebooks


@pytest.mark.parametrize("name", ["codebook.json", "codebook.safetensors", "tokenizer.json"])
def test_a_saved_codebook_that_lacks_a_file_is_refused(name: str, codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    (tmp_path / "codebook" / name).unlink()
    with pytest.raises(CodebookNotFoundError, match=f"no {name}"):
        Codebook.load(tmp_path / "codebook")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"shape": 5}',
        '{"shape": [300, 16], "colour": "red"}',
        pytest.param("[" * 100_000, id="nested"),
    ],
)
def test_a_provenance_that_is_none_is_refused(text: str, codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    (tmp_path / "codebook/codebook.json").write_text(text)
    with pytest.raises(CodebookError, match=r"codebook\.json is not a codebook's provenance"):
        Codebook.load(tmp_path / "codebook")


def test_files_of_different_codebooks_are_not_taken_for_one(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for name, table in {"one": torch.zeros(ROWS, COLUMNS), "two": torch.zeros(ROWS, 8)}.items():
        Codebook(table, tokenizer).save(tmp_path / name)
    shutil.copy(tmp_path / "two/codebook.safetensors", tmp_path / "one")
    with pytest.raises(CodebookError, match="belong to different codebooks"):
        Codebook.load(tmp_path / "one")


def test_an_id_that_no_table_has_a_row_for_is_refused_before_the_vocabulary_is_written_down(checkpoint: Path) -> None:
    """The tokenizers library would want gigabytes for it, and end the process where there are none."""
    definition = json.loads((checkpoint / "tokenizer.json").read_text())
    token = next(iter(definition["model"]["vocab"]))
    definition["model"]["vocab"][token] = 2**31
    (checkpoint / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(CodebookError, match="2,147,483,648"):
        find_table(checkpoint)

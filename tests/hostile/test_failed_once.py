"""Inputs that once ended in another error than this package's, or in none for hours; fuzzing found most of them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hostile_files import TENSOR, edit_json, random_table, write_checkpoint
from matplotlib.figure import Figure
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models

from wordllama_st import Codebook, StaticEncoder, build_model
from wordllama_st.codebook import find_table
from wordllama_st.data.corpus import read_corpus, read_vectors
from wordllama_st.data.datasets import read_training_data
from wordllama_st.data.documents import read_documents
from wordllama_st.errors import CodebookError, CodebookNotFoundError, DatasetError, DocumentError, ModelLoadError
from wordllama_st.evaluation.reading import read_retrieval
from wordllama_st.static.dataset.inputs import find_inputs
from wordllama_st.static.dataset.output import Manifest
from wordllama_st.static.dataset.reading import read_outline
from wordllama_st.static.formats import sentence_transformers
from wordllama_st.training.checkpoints import RUN_FILE, START, check_or_record_run, last_complete_checkpoint
from wordllama_st.training.load import model_from_pretrained

# Static models


@pytest.fixture
def model(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    sentence_transformers.write(random_table(tokenizer), tmp_path / "model", card="")
    return tmp_path / "model"


@pytest.mark.parametrize("default", [[], ["a"], {}, 0, False])
def test_a_default_prompt_that_is_no_text(default: object, model: Path) -> None:
    edit_json(model / "config_sentence_transformers.json", lambda settings: settings | {"default_prompt_name": default})
    with pytest.raises(ModelLoadError, match="default_prompt_name"):
        StaticEncoder.from_pretrained(model)


@pytest.mark.parametrize("content", ['{"dim": 1e999, "cosine": 1}', f'{{"dim": 4, "cosine": 1{"0" * 400}}}'])
def test_a_space_with_a_number_that_is_too_large(content: str, model: Path) -> None:
    (model / "vector_space.json").write_text(content)
    with pytest.raises(ModelLoadError, match=r"vector_space\.json"):
        StaticEncoder.from_pretrained(model)


@pytest.mark.parametrize("key", ["continuing_subword_prefix", "continuing_subword\\u005Fprefix"])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("merge", [["a", "é"], "a é"])
def test_a_merge_without_the_prefix_of_tokens_within_words(key: str, twice: bool, merge: object, model: Path) -> None:
    """The tokenizers library cuts off the prefix within a character, and ends the process."""
    damaged = {"type": "BPE", "vocab": {"a": 0, "é": 1}, "merges": [merge], "prefix": "x"}
    harmless = ', "model": {"type": "BPE", "vocab": {}, "merges": []}' if twice else ""
    definition = f'{{"version": "1.0", "added_tokens": [], "model": {json.dumps(damaged)}{harmless}}}'
    (model / "0_StaticEmbedding" / "tokenizer.json").write_text(definition.replace('"prefix"', f'"{key}"'))
    with pytest.raises(ModelLoadError, match="its merge to 'é' lacks the prefix 'x'"):
        StaticEncoder.from_pretrained(model)


def test_a_folder_whose_name_is_too_long(model: Path) -> None:
    edit_json(model / "modules.json", lambda modules: [{**modules[0], "path": "x" * 300}])
    with pytest.raises(ModelLoadError, match="the model is not complete"):
        StaticEncoder.from_pretrained(model)


def test_a_character_that_has_no_token(model: Path, tokenizer: Tokenizer) -> None:
    """The tokenizer has no unknown token, and tokenizers raises a bare Exception."""
    tokens = [(f"{number}", -1.0) for number in range(10)]
    Tokenizer(models.Unigram(tokens)).save(str(model / "0_StaticEmbedding" / "tokenizer.json"))
    encoder = StaticEncoder.from_pretrained(model)
    for texts in ("x", ["x"] * 20):
        with pytest.raises(ModelLoadError, match=r"The model's tokenizer fails on a text: .*unk_id"):
            encoder.encode(texts)


_ENDS = """
import sys
from pathlib import Path
from wordllama_st.errors import WordLlamaSTError
{}
try:
    print(read(Path(sys.argv[1])))
except WordLlamaSTError as error:
    print(error)
"""
_READ_STATIC = "from wordllama_st.static.formats.load import read_static_model as read"
_READ_TABLE = "from wordllama_st.codebook import find_table as read"


def said_by(reader: str, path: Path) -> str:
    """What comes of a reader in a process of its own, which must not end by a signal."""
    command = [sys.executable, "-c", _ENDS.format(reader), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.mark.parametrize("piece", ["a" * 300_000, '"' * 300_000, "\\" * 300_000, "é" * 300_000])
def test_a_piece_of_a_vocabulary_that_ends_the_process(piece: str, model: Path) -> None:
    """The tokenizers library frees it by recursion."""
    edit_json(
        model / "0_StaticEmbedding" / "tokenizer.json",
        lambda definition: (
            definition
            | {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], [piece, -1.0]]}, "added_tokens": []}
        ),
    )
    assert "it has a token of more than 4,096 bytes" in said_by(_READ_STATIC, model)


def test_a_piece_of_a_gguf_file_that_ends_the_process(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_string("tokenizer.ggml.model", "t5")
    writer.add_array("tokenizer.ggml.tokens", ["<unk>", "a" * 300_000])
    writer.add_array("tokenizer.ggml.scores", [0.0, -1.0])
    writer.add_array("tokenizer.ggml.token_type", [2, 1])
    writer.add_tensor("token_embd.weight", np.ones((2, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert "has a token of 300,000 bytes" in said_by(_READ_TABLE, tmp_path / "model.gguf")


# Codebooks


def two_tokens_of_one_id(definition: dict[str, Any]) -> dict[str, Any]:
    vocabulary = definition["model"]["vocab"]
    merged = "".join(definition["model"]["merges"][0])
    vocabulary[merged] = vocabulary["a"]
    return definition


def test_two_tokens_of_one_id(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """The tokenizers library reads this, but not what it then writes."""
    write_checkpoint(tmp_path / "checkpoint", tokenizer)
    edit_json(tmp_path / "checkpoint" / "tokenizer.json", two_tokens_of_one_id)
    with pytest.raises(CodebookError, match="would not be read again"):
        Codebook.from_pretrained(tmp_path / "checkpoint", tensor_name=TENSOR)


def test_a_shard_whose_name_is_too_long(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write_checkpoint(tmp_path / "checkpoint", tokenizer)
    index = tmp_path / "checkpoint" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {TENSOR: "x" * 300}}))
    with pytest.raises(CodebookNotFoundError, match="which is missing"):
        find_table(tmp_path / "checkpoint", tensor_name=TENSOR)


def test_a_vocabulary_without_its_unknown_token(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write_checkpoint(tmp_path / "checkpoint", tokenizer)
    (tmp_path / "checkpoint" / "tokenizer.json").unlink()
    (tmp_path / "checkpoint" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "checkpoint" / "tokenizer_config.json").write_text('{"unk_token": "the"}')
    (tmp_path / "checkpoint" / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(CodebookError):
        find_table(tmp_path / "checkpoint", tensor_name=TENSOR).tokenizer.encode("x")


def test_a_vocabulary_with_a_token_that_is_not_utf8(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """protobuf gives its bytes, where a text is expected."""
    from sentencepiece import sentencepiece_model_pb2

    write_checkpoint(tmp_path / "checkpoint", tokenizer)
    (tmp_path / "checkpoint" / "tokenizer.json").unlink()
    message = sentencepiece_model_pb2.ModelProto(trainer_spec={}, pieces=[{"piece": "café", "score": 0.0}])
    damaged = message.SerializeToString().replace("é".encode(), b"\xff\xfe")
    (tmp_path / "checkpoint" / "tokenizer.model").write_bytes(damaged)
    with pytest.raises(CodebookError, match="it has a token that is not UTF-8"):
        find_table(tmp_path / "checkpoint", tensor_name=TENSOR)


def test_a_table_that_is_refused_is_read_no_more(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Its hash is computed in a thread, which ended the process when the file was written anew."""
    write_checkpoint(tmp_path / "checkpoint", tokenizer)
    weights = tmp_path / "checkpoint" / "1.safetensors"
    rows = load_file(weights)[TENSOR]
    table = np.resize(rows, (2**22, rows.shape[1]))
    table[0] = np.nan
    save_file({TENSOR: table}, weights)
    code = """
import os, sys, time
from pathlib import Path
from wordllama_st.codebook.token_table import ArrayRows, CheckedRows
from wordllama_st.errors import CodebookError
rows = CheckedRows(ArrayRows.from_file(Path(sys.argv[1]), sys.argv[2]), str)
try:
    rows.block(0, rows.shape[0])
except CodebookError:
    os.truncate(sys.argv[1], 0)
    time.sleep(0.2)
    print("refused")
"""
    command = [sys.executable, "-c", code, str(weights), TENSOR]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "refused\n"


def test_a_trained_model_whose_folder_has_a_name_that_is_too_long(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write_checkpoint(tmp_path / "checkpoint", tokenizer)
    trained = build_model(Codebook.from_pretrained(tmp_path / "checkpoint", tensor_name=TENSOR), dim=8)
    trained.save_pretrained(str(tmp_path / "model"))
    edit_json(tmp_path / "model" / "modules.json", lambda modules: [{**modules[0], "path": "1" * 300}, *modules[1:]])
    with pytest.raises(ModelLoadError, match="does not hold a LLMTokenEmbedding"):
        model_from_pretrained(tmp_path / "model", device="cpu")


# Documents


def test_an_encoding_whose_name_has_a_zero(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(b'<meta charset="utf\0-8"><p>gr\xfcn')
    with pytest.raises(DocumentError, match="not UTF-8"):
        read_documents(tmp_path / "page.html")


def test_a_pdf_whose_title_is_no_text(tmp_path: Path) -> None:
    figure, content = Figure(), io.BytesIO()
    for row in range(3):
        figure.text(0.1, 0.8 - 0.1 * row, "Llamas hum to their young.")
    figure.savefig(content, format="pdf", metadata={"Title": "xxxx"})
    assert b"/Title (xxxx)" in content.getvalue()
    (tmp_path / "page.pdf").write_bytes(content.getvalue().replace(b"/Title (xxxx)", b"/Title <<  >>"))
    (section,) = read_documents(tmp_path / "page.pdf").documents[0].sections
    assert section.headings == ("page",)


@pytest.mark.parametrize("encoding", ["punycode", "IDNA"])
def test_an_encoding_that_takes_hours(encoding: str, tmp_path: Path) -> None:
    """As the square of the length: a minute for half a megabyte."""
    (tmp_path / "code.py").write_bytes(
        f"# coding: {encoding}\n".encode() + b"a = '" + b"a" * 500_000 + b"-" + b"99" * 250_000
    )
    start = time.process_time()
    with pytest.raises(DocumentError, match="an encoding of domain names"):
        read_documents(tmp_path / "code.py")
    assert time.process_time() - start < 5


# Tables


def write_parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False)
    return path


def replace_bytes(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def no_utf8(path: Path) -> Path:
    write_parquet(
        path, text=["a llama sings", "two", "three"], other=["four", "five", "six"], vectors=[[1.0], [2.0], [3.0]]
    )
    replace_bytes(path, b"a llama sings", b"\xff llama sings")
    return path


def test_texts_of_parquet_that_are_no_utf8(tmp_path: Path) -> None:
    """Arrow does not look at them, and Python cannot read them."""
    path = no_utf8(tmp_path / "texts.parquet")
    for read in (
        lambda: read_corpus(path, text_column="text"),
        lambda: read_corpus(path, text_column="text", vectors_column="vectors"),
        lambda: read_training_data(str(path), ["text", "other"]),
    ):
        with pytest.raises(DatasetError, match=r"texts\.parquet cannot be read: .*UTF8"):
            read()


def test_a_page_of_parquet_that_is_damaged(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "texts.parquet", text=["a llama sings"] * 3)
    content = bytearray(path.read_bytes())
    content[4:20] = b"\xff" * 16  # the header of the first page, behind the file's own
    path.write_bytes(bytes(content))
    with pytest.raises(DatasetError, match=r"texts\.parquet cannot be read"):
        read_corpus(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"}", b" "),  # which tokenize.TokenError tells of
        (b"'<f4'", b"'|O8'"),
        (b"(3, 2)", b"(3,-2)"),
        (b"(3, 2)", b"(2**9)"),
        (b"(3, 2), }", b"(9**99, )}"),
        (b"(3, 2), }           ", b"(4611686018427387904"),
    ],
)
def test_a_header_of_vectors_that_is_damaged(old: bytes, new: bytes, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.ones((3, 2), np.float32))
    replace_bytes(tmp_path / "vectors.npy", old, new)
    with pytest.raises(DatasetError, match=r"vectors\.npy cannot be read as \.npy"):
        read_vectors(tmp_path / "vectors.npy")


def test_scores_that_float32_has_not(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "pairs.parquet", a=["x", "y"], b=["z", "w"], score=[2**63 - 1, 1])
    with pytest.raises(DatasetError, match=r"pairs\.parquet: the scores are no numbers that float32 has"):
        read_training_data(str(path))


@pytest.mark.parametrize("entry", [{"_id": "\ud800", "text": "a"}, {"_id": "a", "text": "\udfff"}])
def test_half_a_character_in_a_corpus(entry: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text(json.dumps(entry))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "a"}))
    (tmp_path / "qrels.tsv").write_text("query\tdocument\tgrade\nq\ta\t1\n")
    with pytest.raises(DatasetError, match=r"corpus\.jsonl, line 1"):
        read_retrieval(str(tmp_path))


@pytest.mark.parametrize("grade", [10**9, -(10**9), 2**31, 2**63])
def test_a_grade_that_takes_gigabytes(grade: int, tmp_path: Path) -> None:
    """Eight of them; larger ones are taken for others, or are a SystemError."""
    for name in ("corpus", "queries"):
        entries = [{"_id": identity, "text": identity} for identity in "ab"]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, entries)))
    (tmp_path / "qrels.tsv").write_text(f"query\tdocument\tgrade\na\ta\t1\nb\tb\t{grade}\n")
    with pytest.raises(DatasetError, match=f"'b' has a document of grade {grade}"):
        read_retrieval(str(tmp_path))


def test_a_column_whose_name_is_no_utf8(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "texts.parquet", texts=["a", "b"], other=["c", "d"])
    replace_bytes(path, b"texts", b"t\xffxts")
    (file,) = find_inputs([path], tmp_path / "out")
    for read in (lambda: read_outline(file), lambda: read_corpus(path), lambda: read_training_data(str(path))):
        with pytest.raises(DatasetError, match=r"texts\.parquet cannot be read"):
            read()


# Records


@pytest.mark.parametrize("damage", [{"skipped": None}, {"skipped": [{}]}, {"parts": 3}, {"parts": [{"name": "a"}]}])
def test_a_manifest_that_is_damaged(damage: dict[str, Any], tmp_path: Path) -> None:
    Manifest.open(tmp_path, {"part_rows": 1}, "a model", overwrite=False).finish([])
    edit_json(tmp_path / "manifest.json", lambda content: content | damage)
    with pytest.raises(ModelLoadError, match=r"manifest\.json is damaged"):
        Manifest.open(tmp_path, {"part_rows": 1}, "a model", overwrite=False)


def test_a_manifest_that_is_no_text_is_overwritten_only_if_it_is_ours(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b'\xff{"part_rows": 1}')
    Manifest.open(tmp_path, {"part_rows": 1}, "a model", overwrite=True)
    (tmp_path / "manifest.json").write_bytes(b"\xff")
    with pytest.raises(ModelLoadError, match=r"manifest\.json is damaged"):
        Manifest.open(tmp_path, {"part_rows": 1}, "a model", overwrite=True)


@pytest.mark.parametrize("start", [[[10**400]], 10**400, None, "a"])
def test_a_start_of_a_run_that_is_no_numbers(start: object, tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    check_or_record_run(tmp_path, {"seed": 1}, layer)
    edit_json(tmp_path / RUN_FILE, lambda run: run | {START: start})
    with pytest.raises(ValueError, match="of a run with another start"):
        check_or_record_run(tmp_path, {"seed": 1}, layer)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def of_several_disks(path: Path) -> None:
    """A zip file that says so is an error of its own."""
    content = path.read_bytes()
    end = b"PK\x06\x07" + bytes(12) + (2).to_bytes(4, "little")  # the ZIP64 locator: two disks
    place = content.rindex(b"PK\x05\x06")
    path.write_bytes(content[:place] + end + content[place:])


@pytest.mark.parametrize("damage", [cut_short, of_several_disks])
def test_a_checkpoint_whose_optimizer_is_no_whole_archive(damage: Callable[[Path], None], tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-3"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_text("{}")
    for name in ("optimizer.pt", "scheduler.pt"):
        with zipfile.ZipFile(checkpoint / name, "w") as file:
            file.writestr("a", "b")
    (tmp_path / "checkpoint-best").symlink_to(checkpoint)
    assert last_complete_checkpoint(tmp_path) == checkpoint
    damage(checkpoint / "optimizer.pt")
    assert last_complete_checkpoint(tmp_path) is None

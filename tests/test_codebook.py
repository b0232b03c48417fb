"""The codebook: the token table of a checkpoint, taken out exactly, without reading the rest, and kept safely.

Protects: the table is the model's own ``get_input_embeddings()``, bit for bit, from whatever transformers writes; it
is mapped, not read; texts are their own tokens and no others; every kind of bad input is refused under its own class
with the name of what is wrong; and a save that fails, by a full disk or a killed process, leaves what was there.
"""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    PreTrainedModel,
)

from wordllama_st import Codebook, models
from wordllama_st.errors import CodebookError, CodebookNotFoundError, OutputExistsError

ROWS, COLUMNS = 320, 16
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SENTENCES = [
    "A codebook is a table of vectors, one for every token of a vocabulary.",
    "Llamas carry their loads over the mountains without a word.",
    "Whoever reads a whole file to look at its head has time to spare.",
]
INDEX = "model.safetensors.index.json"


def llama_config(**options: bool) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=ROWS,
        hidden_size=COLUMNS,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        **options,
    )


def gpt2_config() -> GPT2Config:
    return GPT2Config(vocab_size=ROWS, n_embd=COLUMNS, n_layer=2, n_head=2, n_positions=32)


#: A model, and the key under which its checkpoint has the token table.
MODELS: dict[str, tuple[Callable[[], PreTrainedModel], str]] = {
    "llama, tied": (
        lambda: LlamaForCausalLM(llama_config(tie_word_embeddings=True)),
        "model.embed_tokens.weight",
    ),
    "llama, untied": (
        lambda: LlamaForCausalLM(llama_config(tie_word_embeddings=False)),
        "model.embed_tokens.weight",
    ),
    "llama, bare": (lambda: LlamaModel(llama_config()), "embed_tokens.weight"),
    "gpt2": (lambda: GPT2LMHeadModel(gpt2_config()), "transformer.wte.weight"),
    "gpt2, bare": (lambda: GPT2Model(gpt2_config()), "wte.weight"),
    "bert": (
        lambda: BertModel(
            BertConfig(
                vocab_size=ROWS,
                hidden_size=COLUMNS,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=32,
            )
        ),
        "embeddings.word_embeddings.weight",
    ),
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer that adds special tokens, truncates and pads, as a checkpoint's own may."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=12, pad_id=2, pad_token="<pad>")
    return tokenizer


@pytest.fixture
def checkpoint(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A small Llama checkpoint in several shards."""
    return save_model(MODELS["llama, untied"][0](), tmp_path / "checkpoint", tokenizer, max_shard_size="8KB")


@pytest.fixture
def large_path(tmp_path: Path) -> Iterator[Path]:
    """A directory for files that pytest should not keep for the next three runs, as it does with ``tmp_path``."""
    path = tmp_path / "large"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def codebook(tokenizer: Tokenizer) -> Codebook:
    """A codebook in memory, different at every call."""
    return Codebook(torch.randn(ROWS, COLUMNS), tokenizer)


def save_model(model: PreTrainedModel, directory: Path, tokenizer: Tokenizer, *, max_shard_size: str = "1GB") -> Path:
    """A checkpoint as transformers writes it."""
    model.save_pretrained(directory, max_shard_size=max_shard_size)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def save_table(table: torch.Tensor, directory: Path, tokenizer: Tokenizer) -> Path:
    """A checkpoint of a single tensor, ``table``, whose architecture nobody knows."""
    directory.mkdir()
    save_file({"table": table}, directory / "model.safetensors")
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def save_zeros(rows: int, columns: int, directory: Path, tokenizer: Tokenizer) -> Path:
    """As :func:`save_table`, float16 zeros that take no room on the disk."""
    size = rows * columns * 2
    header = json.dumps({"table": {"dtype": "F16", "shape": [rows, columns], "data_offsets": [0, size]}}).encode()
    directory.mkdir()
    tokenizer.save(str(directory / "tokenizer.json"))
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    return directory


def edit_config(**fields: object) -> Callable[[Path], object]:
    """Change fields of a checkpoint's config.json."""

    def edit(checkpoint: Path) -> None:
        config = json.loads((checkpoint / "config.json").read_text())
        (checkpoint / "config.json").write_text(json.dumps(config | fields))

    return edit


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def content(directory: Path) -> dict[str, str | None]:
    """Every entry below a directory, hidden ones too, and the hash of each file."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in directory.rglob("*")
    }


def mapped_file(tensor: torch.Tensor) -> str:
    """The file that a tensor's memory is a mapping of; empty for memory of the process's own."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, _permissions, _offset, _device, _inode, *file = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in addresses.split("-"))
        if start <= tensor.data_ptr() < end:
            return file[0] if file else ""
    raise AssertionError("the tensor has no memory")


def run_python(script: str, *arguments: object) -> str:
    """The standard output of a script in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# Extraction


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("max_shard_size", ["1GB", "8KB"], ids=["one file", "shards"])
@pytest.mark.parametrize("kind", MODELS)
def test_the_table_is_the_models_own_bit_for_bit(
    kind: str, max_shard_size: str, dtype: torch.dtype, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    build, tensor_name = MODELS[kind]
    model = build().to(dtype)
    directory = save_model(model, tmp_path / "checkpoint", tokenizer, max_shard_size=max_shard_size)
    assert (directory / INDEX).is_file() == (max_shard_size == "8KB")

    codebook = Codebook.from_pretrained(directory)

    assert same_bits(codebook.weight, model.get_input_embeddings().weight.data)
    assert codebook.dtype == str(dtype).removeprefix("torch.")
    assert (codebook.num_embeddings, codebook.embedding_dim) == (ROWS, COLUMNS)
    assert codebook.provenance.tensor_name == tensor_name


@pytest.mark.parametrize(("kind", "architecture"), [("gpt2, bare", "GPT2LMHeadModel"), ("gpt2", "GPT2Model")])
def test_a_prefix_that_the_architecture_does_not_lead_one_to_expect_is_no_obstacle(
    kind: str, architecture: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = MODELS[kind][0]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    edit_config(architectures=[architecture])(directory)
    assert same_bits(Codebook.from_pretrained(directory).weight, model.get_input_embeddings().weight.data)


@pytest.mark.parametrize("architectures", [None, [], ["NoSuchModel"], ["pipeline"]])
def test_where_no_model_class_is_named_the_model_type_decides(
    architectures: list[str] | None, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = MODELS["llama, tied"][0]()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer)
    edit_config(architectures=architectures)(directory)
    assert same_bits(Codebook.from_pretrained(directory).weight, model.get_input_embeddings().weight.data)


@pytest.mark.parametrize("kind", MODELS)
def test_no_shard_but_that_of_the_table_is_needed(kind: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    build, tensor_name = MODELS[kind]
    model = build()
    directory = save_model(model, tmp_path / "checkpoint", tokenizer, max_shard_size="8KB")
    needed = json.loads((directory / INDEX).read_text())["weight_map"][tensor_name]
    others = [shard for shard in directory.glob("*.safetensors") if shard.name != needed]
    assert others
    for shard in others:
        shard.unlink()
    assert same_bits(Codebook.from_pretrained(directory).weight, model.get_input_embeddings().weight.data)


def test_another_tensor_can_be_named_and_then_no_config_is_needed(checkpoint: Path) -> None:
    shard = json.loads((checkpoint / INDEX).read_text())["weight_map"]["lm_head.weight"]
    (checkpoint / "config.json").unlink()
    codebook = Codebook.from_pretrained(checkpoint, tensor_name="lm_head.weight")
    assert same_bits(codebook.weight, load_file(checkpoint / shard)["lm_head.weight"])
    assert codebook.provenance.tensor_name == "lm_head.weight"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_largest_and_smallest_numbers_of_a_dtype_are_no_damage(
    dtype: torch.dtype, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    numbers = torch.finfo(dtype)
    table = torch.zeros(ROWS, 4, dtype=dtype)
    table[7] = torch.tensor([numbers.max, numbers.min, numbers.smallest_normal / 2, -0.0], dtype=dtype)
    directory = save_table(table, tmp_path / "checkpoint", tokenizer)
    assert same_bits(Codebook.from_pretrained(directory, tensor_name="table").weight, table)


def test_texts_are_their_own_tokens_and_no_others(codebook: Codebook, tokenizer: Tokenizer, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    untouched = tokenizer.to_str()
    for kept in (codebook, Codebook.load(tmp_path / "codebook")):
        encoded = kept.tokenizer.encode_batch(SENTENCES)
        for sentence, encoding in zip(SENTENCES, encoded, strict=True):
            pieces = tokenizer.pre_tokenizer.pre_tokenize_str(sentence)
            own = [token.id for piece, _ in pieces for token in tokenizer.model.tokenize(piece)]
            assert encoding.ids == own
    assert tokenizer.to_str() == untouched
    saved = json.loads((tmp_path / "codebook" / "tokenizer.json").read_text())
    assert (saved["truncation"], saved["padding"], saved["post_processor"]) == (None, None, None)


# Memory


def test_the_weight_is_a_mapping_of_the_checkpoints_file(checkpoint: Path, tmp_path: Path) -> None:
    codebook = Codebook.from_pretrained(checkpoint)
    shard = json.loads((checkpoint / INDEX).read_text())["weight_map"]["model.embed_tokens.weight"]
    assert mapped_file(codebook.weight) == str(checkpoint / shard)
    codebook.save(tmp_path / "codebook")
    assert mapped_file(Codebook.load(tmp_path / "codebook").weight) == str(tmp_path / "codebook/codebook.safetensors")


_MEMORY = """
import sys
from wordllama_st import Codebook

def anonymous():
    status = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) // 1024

small, large, output = sys.argv[1:]
Codebook.from_pretrained(small, tensor_name="table")  # what the imports take
before = anonymous()
codebook = Codebook.from_pretrained(large, tensor_name="table")
print(anonymous() - before)
codebook.save(output)
print(anonymous() - before)
loaded = Codebook.load(output)
print(anonymous() - before)
assert "torch" not in sys.modules
"""


def test_a_large_table_takes_no_memory_of_the_processs_own(large_path: Path, tokenizer: Tokenizer) -> None:
    small = save_zeros(ROWS, COLUMNS, large_path / "small", tokenizer)
    large = save_zeros(50_000, 2_048, large_path / "large", tokenizer)  # 205 MB
    for megabytes in run_python(_MEMORY, small, large, large_path / "codebook").split():
        assert int(megabytes) < 20


def test_a_copy_in_this_or_another_process_shares_the_table(codebook: Codebook, tmp_path: Path) -> None:
    assert copy.deepcopy(codebook) is codebook
    codebook.save(tmp_path / "codebook")
    sent = pickle.dumps(codebook)
    assert len(sent) < len(pickle.dumps(codebook.tokenizer)) + 2_000
    received = pickle.loads(sent)
    assert same_bits(received.weight, codebook.weight)
    assert mapped_file(received.weight) == str(tmp_path / "codebook/codebook.safetensors")


# The embedded model


@pytest.mark.parametrize("dim", [256, 128, 64])
def test_the_embedded_models_are_codebooks(dim: int) -> None:
    wheel = models.fetch(models.DEFAULT_MODEL)
    codebook = Codebook.from_pretrained(f"wordllama-l2-supercat-{dim}")
    assert same_bits(codebook.weight, load_file(wheel.weights)["embedding.weight"][:, :dim].contiguous())
    assert codebook.tokenizer.encode("llamas").tokens == ["▁llam", "as"]
    if dim == 256:
        assert mapped_file(codebook.weight) == str(wheel.weights)


_EMBEDDED = """
import sys
from wordllama_st import Codebook

codebook = Codebook.from_pretrained(sys.argv[1])
codebook.save(sys.argv[2])
print(*codebook.tokenizer.encode("llamas").tokens, codebook.dtype, codebook.embedding_dim)
print(sorted({"wordllama", "torch", "transformers", "sentence_transformers"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("dim", [256, 128])
def test_an_embedded_model_is_extracted_without_importing_wordllama_or_torch(dim: int, tmp_path: Path) -> None:
    output = run_python(_EMBEDDED, f"wordllama-l2-supercat-{dim}", tmp_path / "codebook")
    encoded, imported = output.splitlines()
    assert encoded == f"▁llam as float16 {dim}"
    assert imported == "[]"


# Keeping


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_saved_codebook_loads_with_the_same_bits_and_tokens(
    dtype: torch.dtype, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    table = torch.randn(ROWS, COLUMNS).to(dtype)
    Codebook(table, tokenizer).save(tmp_path / "codebook")
    for loaded in (Codebook.load(tmp_path / "codebook"), Codebook.from_pretrained(tmp_path / "codebook")):
        assert same_bits(loaded.weight, table)
        assert loaded.tokenizer.get_vocab() == tokenizer.get_vocab()


def test_a_codebook_keeps_its_provenance(checkpoint: Path, tmp_path: Path) -> None:
    codebook = Codebook.from_pretrained(checkpoint)
    expected = {
        "source": str(checkpoint),
        "tensor_name": "model.embed_tokens.weight",
        "shape": [ROWS, COLUMNS],
        "dtype": "float32",
        "sha256": hashlib.sha256(codebook.weight.numpy().tobytes()).hexdigest(),
    }
    codebook.save(tmp_path / "first")
    Codebook.load(tmp_path / "first").save(tmp_path / "second")
    assert sorted(content(tmp_path / "first")) == ["codebook.json", "codebook.safetensors", "tokenizer.json"]
    for directory in ("first", "second"):
        assert json.loads((tmp_path / directory / "codebook.json").read_text()) == expected


def test_saves_of_one_codebook_share_one_file(codebook: Codebook, tmp_path: Path) -> None:
    def inode(directory: str) -> int:
        return (tmp_path / directory / "codebook.safetensors").stat().st_ino

    codebook.save(tmp_path / "first")
    codebook.save(tmp_path / "second")
    Codebook.load(tmp_path / "second").save(tmp_path / "third")
    assert inode("first") == inode("second") == inode("third")

    # As a training run does that keeps its last few checkpoints.
    shutil.rmtree(tmp_path / "first")
    codebook.save(tmp_path / "fourth")
    assert inode("fourth") == inode("second")

    # Replacing one of them leaves the others what they were.
    other = Codebook(codebook.weight + 1, codebook.tokenizer)
    other.save(tmp_path / "second", overwrite=True)
    assert same_bits(Codebook.load(tmp_path / "second").weight, other.weight)
    assert same_bits(Codebook.load(tmp_path / "third").weight, codebook.weight)


def test_a_codebook_outlives_the_files_it_came_from(checkpoint: Path, tmp_path: Path) -> None:
    codebook = Codebook.from_pretrained(checkpoint)
    weight = codebook.weight.clone()
    codebook.save(tmp_path / "first")
    shutil.rmtree(checkpoint)
    shutil.rmtree(tmp_path / "first")
    codebook.save(tmp_path / "second")
    assert same_bits(Codebook.load(tmp_path / "second").weight, weight)


def test_a_codebook_can_be_saved_over_itself(codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    before = content(tmp_path)
    Codebook.load(tmp_path / "codebook").save(tmp_path / "codebook", overwrite=True)
    assert content(tmp_path) == before


def test_existing_output_is_refused_and_left_as_it_is(codebook: Codebook, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(OutputExistsError, match="directory already exists"):
        codebook.save(tmp_path / "directory")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="file is a file"):
            codebook.save(tmp_path / "file", overwrite=overwrite)
    assert issubclass(OutputExistsError, FileExistsError)
    assert content(tmp_path) == before


def test_an_empty_directory_is_filled_and_a_full_one_replaced_when_told_to(codebook: Codebook, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    codebook.save(tmp_path / "empty")
    codebook.save(tmp_path / "full")
    (tmp_path / "full/notes.txt").write_text("not wanted any more")
    codebook.save(tmp_path / "full", overwrite=True)
    assert content(tmp_path / "full") == content(tmp_path / "empty")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty", "full"]


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
        (torch.zeros(ROWS, 0), r"\[320, 0\]"),
        (torch.zeros(2, ROWS, COLUMNS), r"\[2, 320, 16\]"),
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
    table = torch.zeros(9_000, 1_024)  # 37 MB
    table[8_765, 1_023] = float("nan")
    with pytest.raises(CodebookError, match="Row 8765 "):
        Codebook(table, tokenizer)


# Bad input: saved codebooks


@pytest.mark.parametrize("name", ["codebook.json", "codebook.safetensors", "tokenizer.json"])
def test_a_saved_codebook_that_lacks_a_file_is_refused(name: str, codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    (tmp_path / "codebook" / name).unlink()
    with pytest.raises(CodebookNotFoundError, match=f"no {name}"):
        Codebook.load(tmp_path / "codebook")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"shape": 5}', '{"shape": [320, 16], "colour": "red"}'])
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


# Saves that fail half-way


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse, as a full disk does, to let a file of this process grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a file system takes root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_write_error_leaves_the_old_codebook(codebook: Codebook, tokenizer: Tokenizer, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    before = content(tmp_path)
    large = Codebook(torch.zeros(ROWS, 1_000), tokenizer)
    for target in ("codebook", "new"):
        with largest_file(100_000), pytest.raises(OSError, match="File too large"):
            large.save(tmp_path / target, overwrite=True)
    assert content(tmp_path) == before


def test_a_write_error_behind_the_table_is_an_os_error_too(codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    before = content(tmp_path)
    # The table is linked, so that it is the tokenizer's file that does not fit.
    with largest_file(1_000), pytest.raises(OSError, match="File too large"):
        codebook.save(tmp_path / "codebook", overwrite=True)
    assert content(tmp_path) == before


def test_a_full_disk_leaves_the_old_codebook(codebook: Codebook, tokenizer: Tokenizer, small_disk: Path) -> None:
    codebook.save(small_disk / "codebook")
    before = content(small_disk)
    large = Codebook(torch.zeros(ROWS, 1_000), tokenizer)
    for target in ("codebook", "new"):
        with pytest.raises(OSError, match="No space left on device"):
            large.save(small_disk / target, overwrite=True)
    assert content(small_disk) == before
    assert same_bits(Codebook.load(small_disk / "codebook").weight, codebook.weight)


def test_a_codebook_is_copied_where_it_cannot_be_linked(codebook: Codebook, small_disk: Path, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codebook")
    codebook.save(small_disk / "codebook")
    assert content(small_disk / "codebook") == content(tmp_path / "codebook")


_SAVE = """
import signal, sys
from wordllama_st import Codebook

checkpoint, output, end, renames = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])

def end_before_rename(event, arguments):
    global renames
    if event == "os.rename":
        renames -= 1
        if renames == 0:
            signal.raise_signal(end)

codebook = Codebook.from_pretrained(checkpoint, tensor_name="table")
sys.addaudithook(end_before_rename)
codebook.save(output, overwrite=True)
"""


def test_a_process_killed_while_it_writes_leaves_the_old_codebook(
    codebook: Codebook, tokenizer: Tokenizer, large_path: Path
) -> None:
    output = large_path / "output" / "codebook"
    codebook.save(output)
    before = content(output)
    large = save_zeros(100_000, 2_048, large_path / "checkpoint", tokenizer)  # 410 MB
    with subprocess.Popen([sys.executable, "-c", _SAVE, large, output, "0", "0"]) as process:
        while process.poll() is None:
            if any(path.stat().st_size > 2**20 for path in output.parent.glob(".*.partial/codebook/.*.partial")):
                process.kill()
                break
            time.sleep(0.001)
    assert process.returncode == -signal.SIGKILL
    assert content(output) == before
    assert same_bits(Codebook.load(output).weight, codebook.weight)
    # What the killed process left beside it is in nobody's way.
    Codebook(codebook.weight + 1, tokenizer).save(output, overwrite=True)
    assert same_bits(Codebook.load(output).weight, codebook.weight + 1)


#: The renames of a save: of the three files, of the old directory out of the way, of the new one into place.
RENAMES = [1, 2, 3, 4, 5]


def end_save(end: signal.Signals, rename: int, output: Path, directory: Path, tokenizer: Tokenizer) -> None:
    """Save a codebook over ``output`` in a process that a signal ends before its ``rename``-th rename."""
    new = save_table(torch.ones(ROWS, COLUMNS), directory / "checkpoint", tokenizer)
    arguments = [new, output, str(end.value), str(rename)]
    process = subprocess.run([sys.executable, "-c", _SAVE, *arguments], capture_output=True, check=False)
    assert process.returncode == -end


@pytest.mark.parametrize("rename", RENAMES)
def test_a_process_killed_between_any_two_steps_leaves_a_whole_codebook(
    rename: int, codebook: Codebook, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    output = tmp_path / "output" / "codebook"
    codebook.save(output)
    before = content(output)
    end_save(signal.SIGKILL, rename, output, tmp_path, tokenizer)
    if rename == 5:
        # Two directories cannot change places in one step: for this moment the old one stands where it stepped aside.
        (output,) = output.parent.glob(".codebook.*.partial/replaced")
    assert content(output) == before
    assert same_bits(Codebook.load(output).weight, codebook.weight)


@pytest.mark.parametrize("rename", RENAMES)
def test_an_interrupt_between_any_two_steps_leaves_everything_as_it_was(
    rename: int, codebook: Codebook, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    output = tmp_path / "output" / "codebook"
    codebook.save(output)
    before = content(output.parent)
    end_save(signal.SIGINT, rename, output, tmp_path, tokenizer)
    assert content(output.parent) == before

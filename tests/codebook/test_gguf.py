"""Token tables and tokenizers out of GGUF files.

Protected here: a table of every type that the gguf package can read has the package's numbers, bit for bit, whatever
rows are asked for, and is mapped where it is stored as it is kept; a tokenizer built from the metadata gives the ids
that the one it was made from gives; a model split into several files is read from any of them; and a damaged file is
refused by name, at once, without reading beyond its end.
"""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from texts import made_up_pairs
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from wordllama_st import Codebook
from wordllama_st.codebook.gguf_file import GgufHeader, QuantizedRows, open_gguf
from wordllama_st.codebook.gguf_tokenizer import tokenizer_from_metadata
from wordllama_st.codebook.token_table import ArrayRows
from wordllama_st.errors import CodebookError, CodebookNotFoundError
from wordllama_st.storage.charsmap import is_sound_charsmap

gguf = pytest.importorskip("gguf")
Kind = gguf.GGMLQuantizationType

ROWS, COLUMNS = 40, 512
SENTENCES = [text for pair in made_up_pairs(300) for text in pair]
TEXTS = [
    *SENTENCES[:20],
    "",
    " ",
    "  two  spaces   and three ",
    "lines\nand\r\n\n more\tlines \n",
    "It's WE'LL they'Ve 1234567 3.14 $9,99 x+=1; [a](b) <tag> `code`",
    "naïve café e\u0301 Straße İstanbul ΣΑΣ",
    "日本語のテキスト 한국어 العربية हिन्दी",
    "🦙👩‍👩‍👧 emoji 🙂🙂",
    "\u00a0\u3000odd\u200bspaces\x00\x07",
]

#: What stands for a tokenizer where only the table matters.
TOKENS = ["t", "1", *(f"t{i}" for i in range(ROWS - 2))]
Value: TypeAlias = str | bool | int | bytes | list[Any]
TOKENIZER: dict[str, Value] = {"model": "gpt2", "pre": "gpt-2", "tokens": TOKENS, "merges": ["t 1"]}


def write_gguf(
    path: Path, table: np.ndarray[Any, Any], kind: Any = None, fields: dict[str, Value] | None = None, **options: Any
) -> Path:
    """A file as the gguf package writes it: the table between two other tensors, after ``fields`` of the tokenizer."""
    writer = gguf.GGUFWriter(path, "llama")
    if "alignment" in options:
        writer.add_custom_alignment(options["alignment"])
    writer.add_array("llama.some.layers", [1, 2, 3])
    writer.add_array("llama.some.names", ["a", "b"])
    for key, value in (TOKENIZER if fields is None else fields).items():
        name = key if "." in key else f"tokenizer.ggml.{key}"
        if isinstance(value, (list, bytes)):
            writer.add_array(name, value)
        elif isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        else:
            writer.add_string(name, value)
    writer.add_tensor("before.weight", np.ones((3, 5), np.float32))
    writer.add_tensor(options.get("name", "token_embd.weight"), table, raw_dtype=kind)
    writer.add_tensor("output_norm.weight", np.ones(7, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def metadata(**fields: Value) -> dict[str, Any]:
    """A tokenizer's metadata as the reader hands it over."""
    return {
        f"tokenizer.ggml.{key}": np.array(value) if isinstance(value, list) and not isinstance(value[0], str) else value
        for key, value in fields.items()
    }


def raw_blocks(kind: Any) -> np.ndarray[Any, Any]:
    """Random blocks whose scales, wherever in the block they are, are finite: no byte has all bits of an exponent."""
    size: tuple[int, ...] = gguf.quants.quant_shape_to_byte_shape((ROWS, COLUMNS), kind)
    return np.random.default_rng(0).integers(0, 0x3C, size, dtype=np.uint8)


READABLE = sorted(gguf.quants._type_traits, key=lambda kind: kind.name)


@pytest.mark.parametrize("kind", [kind for kind in READABLE if kind.name != "BF16"], ids=lambda kind: kind.name)
def test_quantised_rows_are_the_package_s_own(kind: Any, tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).standard_normal((ROWS, COLUMNS), np.float32)
    try:
        raw = gguf.quants.quantize(numbers, kind)
    except NotImplementedError:
        raw = raw_blocks(kind)
    rows = open_gguf(write_gguf(tmp_path / "a.gguf", raw, kind)).rows
    assert isinstance(rows, QuantizedRows)
    assert (rows.shape, rows.dtype) == ((ROWS, COLUMNS), "float32")
    expected = gguf.quants.dequantize(raw, kind)
    for start, stop in [
        (0, ROWS),
        (0, 1),
        (4, 4),
        (7, 8),
        (5, 30),
        (ROWS - 1, ROWS),
        *((i, i + 3) for i in range(0, 36, 3)),
    ]:
        block = rows.block(start, stop)
        assert block.dtype == np.float32
        assert block.shape == (stop - start, COLUMNS)
        assert block.flags.c_contiguous
        assert block.tobytes() == expected[start:stop].tobytes()


@pytest.mark.parametrize("alignment", [8, 32, 256])
@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_plain_tables_are_mapped(name: str, alignment: int, tmp_path: Path) -> None:
    table = gguf.quants.quantize(np.random.default_rng(0).standard_normal((ROWS, COLUMNS), np.float32), Kind[name])
    found = open_gguf(write_gguf(tmp_path / "a.gguf", table, Kind[name], alignment=alignment))
    assert isinstance(found.rows, ArrayRows)
    assert isinstance(found.rows.table, np.memmap)
    assert found.rows.dtype == {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[name]
    assert found.rows.shape == (ROWS, COLUMNS)
    assert found.rows.block(3, 9).tobytes() == table[3:9].tobytes()
    assert (found.source, found.tensor_name) == (str(tmp_path / "a.gguf"), "token_embd.weight")
    assert found.architecture == "llama"


def test_another_tensor_may_be_named(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf", np.ones((ROWS, 4), np.float32), name="other.weight")
    assert open_gguf(path, "other.weight").rows.shape == (ROWS, 4)
    with pytest.raises(CodebookError, match=r"a\.gguf holds no tensor 'token_embd\.weight'.*40 tokens.*'other"):
        open_gguf(path)
    with pytest.raises(CodebookError, match=r"'output_norm\.weight' .* shape \[7\]"):
        open_gguf(path, "output_norm.weight")


def test_a_type_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodebookError, match=r"a\.gguf is stored as I8"):
        open_gguf(write_gguf(tmp_path / "a.gguf", np.ones((ROWS, 4), np.int8)))


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(CodebookNotFoundError, match=r"no file .*a\.gguf"):
        open_gguf(tmp_path / "a.gguf")


def write_split(directory: Path, table: np.ndarray[Any, Any], before: int) -> list[Path]:
    """A model in three parts as the gguf package splits it, with ``before`` small tensors in front of the table."""
    writer = gguf.GGUFWriter(directory / "model.gguf", "llama", split_max_tensors=2, use_temp_file=False)
    for key, value in TOKENIZER.items():
        (writer.add_array if isinstance(value, list) else writer.add_string)(f"tokenizer.ggml.{key}", value)
    names = [*(f"before.{i}.weight" for i in range(before)), "token_embd.weight"]
    names += [f"behind.{i}.weight" for i in range(6 - len(names))]
    for name in names:
        writer.add_tensor(name, table if name == "token_embd.weight" else np.ones(3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return [directory / f"model-{number:05}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.mark.parametrize("before", [0, 2, 5])
def test_a_table_is_found_in_whichever_part_of_a_split_model(before: int, tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((ROWS, 4), np.float32)
    parts = write_split(tmp_path, table, before)
    assert sorted(tmp_path.iterdir()) == parts
    for part in parts:
        found = open_gguf(part)
        assert np.array_equal(found.rows.block(0, ROWS), table)
        assert found.tokenizer.get_vocab_size() == ROWS
        assert (found.source, found.architecture) == (str(part), "llama")
    codebook = Codebook.from_pretrained(parts[1])
    assert codebook.weight.numpy().tobytes() == table.tobytes()
    # Neither part that has nothing to do with the table is needed.
    for part in parts[1:]:
        if part != parts[before // 2]:
            part.unlink()
    assert np.array_equal(open_gguf(parts[0]).rows.block(0, ROWS), table)


def test_a_missing_part_of_a_split_model_is_named(tmp_path: Path) -> None:
    parts = write_split(tmp_path, np.ones((ROWS, 4), np.float32), before=2)
    with pytest.raises(CodebookError, match=r"model-00003-of-00003\.gguf holds no tensor 'no\.weight'"):
        open_gguf(parts[2], "no.weight")
    parts[1].rename(tmp_path / "away")
    with pytest.raises(CodebookNotFoundError, match=r"split into 3 files.*'token_embd\.weight'.*model-00002-of-00003"):
        open_gguf(parts[0])
    (tmp_path / "away").rename(parts[1])
    parts[0].unlink()  # which has the tokenizer
    with pytest.raises(CodebookNotFoundError, match=r"tokenizer is in one that is missing: \S+model-00001-of-00003"):
        open_gguf(parts[1])


@pytest.mark.parametrize("name", ["model.gguf", "model-00002-of-00004.gguf"])
def test_a_part_under_another_name_is_refused(name: str, tmp_path: Path) -> None:
    part = write_split(tmp_path, np.ones((ROWS, 4), np.float32), before=2)[1].rename(tmp_path / name)
    with pytest.raises(CodebookError, match=rf"{name} is one of 3 parts .*NAME-00001-of-00003\.gguf"):
        open_gguf(part)


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)


def byte_level(split: str | None = None, special: Iterable[str] = ()) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split is not None:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES + TEXTS, trainer)
    return tokenizer


#: The patterns of the models' own tokenizer.json.
OWN_PATTERNS = {
    "gpt-2": None,
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "gpt-4o": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}


@pytest.mark.parametrize("pre", OWN_PATTERNS)
def test_byte_level_bpe_is_the_original(pre: str, tmp_path: Path) -> None:
    original = byte_level(OWN_PATTERNS[pre], ["<|end|>"])
    original.add_tokens(["<tool>"])
    tokens = vocabulary(original)
    merges = [" ".join(pair) for pair in json.loads(original.to_str())["model"]["merges"]]
    types = [3, *[1] * (len(tokens) - 2), 4]
    fields: dict[str, Value] = {"model": "gpt2", "pre": pre, "tokens": tokens, "token_type": types, "merges": merges}
    path = write_gguf(tmp_path / "a.gguf", np.ones((len(tokens), 4), np.float32), fields=fields)
    tokenizer = open_gguf(path).tokenizer
    for text in [*TEXTS, "a<|end|>b <tool> c"]:
        assert tokenizer.encode(text).ids == original.encode(text).ids, text
    assert [tokenizer.id_to_token(index) for index in range(len(tokens))] == tokens
    assert tokenizer.decode(tokenizer.encode(TEXTS[-2]).ids) == TEXTS[-2]
    assert tokenizer.decode(tokenizer.encode("<|end|>a<tool>").ids) == "a<tool>"


def train_sentencepiece(kind: str, vocab_size: int, **options: Any) -> Any:
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES + TEXTS[20:27]), model_writer=model, vocab_size=vocab_size, model_type=kind,
        minloglevel=2, num_threads=1, **options,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def sentencepiece_fields(model: str, original: Any, **more: Value) -> dict[str, Value]:
    """What llama.cpp's converter takes from a SentencePiece model."""
    ids = range(original.vocab_size())

    def kind(index: int) -> int:
        tests = {2: original.is_unknown, 3: original.is_control, 5: original.is_unused, 6: original.is_byte}
        return next((kind for kind, test in tests.items() if test(index)), 1)

    return {
        "model": model,
        "tokens": [original.id_to_piece(index) for index in ids],
        "scores": [original.get_score(index) for index in ids],
        "token_type": [kind(index) for index in ids],
        **more,
    }


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_bpe_is_the_original(prefix: bool, tmp_path: Path) -> None:
    original = train_sentencepiece(
        "bpe",
        700,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=prefix,
        character_coverage=0.99,
        split_digits=True,
    )
    fields = sentencepiece_fields("llama", original, add_space_prefix=prefix, unknown_token_id=0)
    path = write_gguf(tmp_path / "a.gguf", np.ones((700, 4), np.float32), fields=fields)
    tokenizer = open_gguf(path).tokenizer
    for text in TEXTS:
        assert tokenizer.encode(text).ids == original.encode(text), text
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert [tokenizer.id_to_token(index) for index in range(700)] == fields["tokens"]
    assert tokenizer.encode("</s>").tokens[-1] == "</s>"


def test_user_defined_tokens_are_found_with_their_spaces() -> None:
    fields = metadata(
        model="llama", tokens=["<unk>", "▁▁", "a", "▁", "<0x0A>"], scores=[0.0, 0.0, -1.0, -2.0, 0.0],
        token_type=[2, 4, 1, 1, 6], add_space_prefix=False,
    )  # fmt: skip
    tokenizer = tokenizer_from_metadata(fields, "a.gguf")
    assert tokenizer.encode("a  a a\nb").ids == [2, 1, 2, 3, 2, 4, 0]


@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc_cf"])
def test_unigram_is_the_original(rule: str, tmp_path: Path) -> None:
    original = train_sentencepiece("unigram", 140, normalization_rule_name=rule)
    fields = sentencepiece_fields("t5", original, remove_extra_whitespaces=True)
    if charsmap := normalisation(original):
        fields["precompiled_charsmap"] = charsmap
    tokenizer = open_gguf(write_gguf(tmp_path / "a.gguf", np.ones((140, 4), np.float32), fields=fields)).tokenizer
    for text in [*SENTENCES[:50], "  two  spaces   and three ", "\ufb01ne \uff21\uff22 Straße", "", " "]:
        assert tokenizer.encode(text).ids == original.encode(text), text


def normalisation(original: Any) -> bytes:
    """The compiled character map of a SentencePiece model."""
    proto = pytest.importorskip("sentencepiece.sentencepiece_model_pb2").ModelProto()
    proto.ParseFromString(original.serialized_model_proto())
    return bytes(proto.normalizer_spec.precompiled_charsmap)


@pytest.mark.parametrize("rule", ["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf"])
def test_sentencepiece_s_own_character_maps_are_sound(rule: str) -> None:
    assert is_sound_charsmap(normalisation(train_sentencepiece("unigram", 140, normalization_rule_name=rule)))


def test_a_character_map_of_megabytes_is_refused_before_it_is_walked() -> None:
    sound = normalisation(train_sentencepiece("unigram", 140))
    assert is_sound_charsmap(sound + b"a" * 1000)
    assert not is_sound_charsmap(sound + b"a" * 2**22)


def test_a_damaged_character_map_is_refused_or_does_no_harm() -> None:
    """The tokenizers library panics, which no ``except Exception`` catches, when a text leads out of the map."""
    characters = [chr(point) for point in range(0x3000) if not 0xD800 <= point < 0xE000]
    text = "".join(characters) + "e\u0301 \uac00\u11a8 ".join(characters[0xA0:0x500])
    good = normalisation(train_sentencepiece("unigram", 140, normalization_rule_name="nmt_nfkc"))
    trie_size = int.from_bytes(good[:4], "little")
    random = np.random.default_rng(0)
    refused = 0
    for index in range(150):
        charsmap = bytearray(good)
        for position in random.integers(0, [4, 64, trie_size, len(good)][index % 4], 1 + index % 3):
            charsmap[position] = random.integers(0, 256)
        if index % 10 == 9:
            del charsmap[int(random.integers(0, len(charsmap))) :]
        if not is_sound_charsmap(bytes(charsmap)):
            refused += 1
            continue
        try:
            normalizer = normalizers.Precompiled(bytes(charsmap))
        except Exception as error:  # the library raises bare Exception, for texts that are not UTF-8
            assert "precompiled_charsmap" in str(error)  # noqa: PT017
        else:
            normalizer.normalize_str(text)
    assert refused > 50


BAD_CHARSMAPS = {
    "one byte": b"\1",
    "a huge trie": b"\xff\xff\xff\xff" + bytes(64),
    "no trie": bytes(64),
    "a first step out of the map": struct.pack("<II", 4, 0xFFFF_FE00),
    "a leaf out of the map": struct.pack("<I256I", 1024, *[0x400 | 0x100 | index ^ 1 for index in range(256)]),
}


@pytest.mark.parametrize("kind", BAD_CHARSMAPS)
@pytest.mark.parametrize("inside", [True, False])
def test_a_bad_character_map_is_refused_by_its_key(kind: str, inside: bool) -> None:
    charsmap = BAD_CHARSMAPS[kind]
    fields = metadata(model="t5", tokens=["<unk>", "a"], scores=[0.0, -1.0], token_type=[2, 1])
    fields["tokenizer.ggml.precompiled_charsmap"] = np.frombuffer(charsmap, np.uint8)
    key = "precompiled_charsmap"
    if inside and len(charsmap) > 4 and charsmap[:4] != b"\xff" * 4:  # else the library sees it itself
        tokenizer = Tokenizer(models.BPE({"a": 0}, []))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Precompiled(charsmap)])
        fields, key = (
            {"tokenizer.huggingface.json": tokenizer.to_str()},
            r"huggingface\.json is no tokenizer.*precompiled_charsmap is damaged",
        )
    with pytest.raises(CodebookError, match=rf"a\.gguf cannot be used.*{key}"):
        tokenizer_from_metadata(fields, "a.gguf")


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_is_the_original(lowercase: bool, tmp_path: Path) -> None:
    original = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    original.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    original.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    original.train_from_iterator(SENTENCES, trainer)
    tokens = vocabulary(original)
    types = [3, 2, 3, *[1] * (len(tokens) - 3)]
    # As llama.cpp's converter writes them: marked are the starts of words, not the rest of them.
    phantom = [
        token if kind != 1 else token[2:] if token.startswith("##") else "▁" + token
        for token, kind in zip(tokens, types, strict=True)
    ]
    fields: dict[str, Value] = {"model": "bert", "tokens": phantom, "token_type": types, "unknown_token_id": 1}
    path = write_gguf(tmp_path / "a.gguf", np.ones((len(tokens), 4), np.float32), fields=fields)
    tokenizer = open_gguf(path).tokenizer
    assert vocabulary(tokenizer) == tokens
    for text in [*TEXTS, "a [CLS] b"]:
        assert tokenizer.encode(text, add_special_tokens=False).ids == original.encode(text).ids, text


def test_a_tokenizer_json_inside_is_taken_as_it_is(tmp_path: Path) -> None:
    original = byte_level()
    fields: dict[str, Value] = {"tokenizer.huggingface.json": original.to_str()}
    path = write_gguf(tmp_path / "a.gguf", np.ones((ROWS, 4), np.float32), fields=fields)
    assert open_gguf(path).tokenizer.to_str() == original.to_str()


BAD_TOKENIZERS: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": None}, r"tokenizer\.ggml\.model is 'None'"),
    "an unknown model": ({"model": "rwkv"}, r"tokenizer\.ggml\.model is 'rwkv'.*gpt2, llama"),
    "no tokens": ({"tokens": None}, r"tokenizer\.ggml\.tokens is missing"),
    "tokens of numbers": ({"tokens": np.ones(2)}, r"tokenizer\.ggml\.tokens is no list of strings"),
    "a token twice": ({"tokens": ["a", "b", "a"]}, r"tokenizer\.ggml\.tokens has 'a' twice"),
    "too few types": ({"token_type": np.ones(1)}, r"tokenizer\.ggml\.token_type has 1 entries for 3"),
    "no pre": ({"pre": None}, r"tokenizer\.ggml\.pre is 'None'"),
    "an unknown pre": ({"pre": "martian"}, r"tokenizer\.ggml\.pre is 'martian'"),
    "no merges": ({"merges": None}, r"tokenizer\.ggml\.merges is missing"),
    "a merge of one": ({"merges": ["ab"]}, r"tokenizer\.ggml\.merges has 'ab'"),
    "a merge of others": ({"merges": ["a x"]}, r"'gpt2' tokenizer in a\.gguf cannot be built: .*x"),
    "no scores": ({"model": "llama"}, r"tokenizer\.ggml\.scores is missing"),
    "too few scores": ({"model": "llama", "scores": np.ones(1)}, r"scores has not one number for each of 3"),
    "a token of many characters": (
        {"model": "llama", "tokens": ["a", "a" * 1025], "scores": np.ones(2)}, r"tokens has a token of 1,025 characters"
    ),
    "no unknown piece": ({"model": "t5", "scores": np.ones(3)}, r"tokenizer\.ggml\.unknown_token_id is missing"),
    "no unknown word": ({"model": "bert"}, r"tokens is no vocabulary of a BERT"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_TOKENIZERS)
def test_a_bad_tokenizer_is_refused_by_its_key(kind: str) -> None:
    changes, message = BAD_TOKENIZERS[kind]
    good: dict[str, Any] = {"model": "gpt2", "pre": "gpt-2", "tokens": ["a", "b", "ab"], "merges": ["a b"]}
    fields = {f"tokenizer.ggml.{key}": value for key, value in (good | changes).items() if value is not None}
    with pytest.raises(CodebookError, match=message) as caught:
        tokenizer_from_metadata(fields, "a.gguf")
    assert "a.gguf" in str(caught.value)


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def file_of(pairs: list[bytes], tensors: list[bytes], data: int = 64, version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs + tensors)
    return head + bytes(-len(head) % 32 + data)


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...] = (2, 4), kind: int = 0, offset: int = 0) -> bytes:
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, offset)


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + content


HUGE = 2**63
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "does not begin with GGUF"),
    "something else": (b"PK\x03\x04" * 50, "does not begin with GGUF"),
    "version 1": (file_of([], [], version=1), "of version 1"),
    "version 4": (file_of([], [], version=4), "of version 4"),
    "big-endian": (file_of([], [], version=3 << 24), "big-endian, version 3"),
    "only a prefix": (b"GGUF\x03\0\0\0", "ends inside the number of tensors"),
    "huge tensor count": (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0) + bytes(64), "claims 9,.* tensors"),
    "huge key count": (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE) + bytes(64), "claims 9,.* key-values"),
    "huge key": (file_of([struct.pack("<Q", HUGE) + bytes(16)], []), "string of 9,.* bytes in key 0"),
    "huge string": (file_of([pair("general.a", 8, struct.pack("<Q", HUGE))], []), "string of 9,.* in 'general.a'"),
    "huge array": (file_of([pair("a", 9, array(4, HUGE))], []), "claims 9,.* elements of 'a'"),
    "huge array of strings": (file_of([pair("a", 9, array(8, HUGE))], []), "claims 9,.* elements of 'a'"),
    "huge array of arrays": (file_of([pair("a", 9, array(9, HUGE))], []), "claims 9,.* elements of 'a'"),
    "deep array": (file_of([pair("a", 9, array(9, 1) * 50 + array(4, 0))], []), "more than 4 deep"),
    "unknown type": (file_of([pair("a", 77, bytes(8))], []), "'a' is of type 77"),
    "unknown type in an array": (file_of([pair("a", 9, array(77, 1, bytes(8)))], []), "'a' is of type 77"),
    "key is not UTF-8": (file_of([pair(b"\xff", 4, bytes(4))], []), "key 0 is not UTF-8"),
    "value is not UTF-8": (file_of([pair("general.a", 8, string(b"\xff"))], []), "'general.a' is not UTF-8"),
    "key twice": (file_of([pair("a", 4, bytes(4))] * 2, []), "key 'a' twice"),
    "no alignment": (file_of([pair("general.alignment", 4, bytes(4))], []), "alignment is 0"),
    "odd alignment": (file_of([pair("general.alignment", 4, b"\x18\0\0\0")], []), "alignment is 24"),
    "alignment of text": (file_of([pair("general.alignment", 8, string("32"))], []), "alignment' is of type 8"),
    "tensor twice": (file_of([], [tensor("a")] * 2), "tensor 'a' twice"),
    "tensor without dimensions": (file_of([], [tensor("a", ())]), "'a' has 0 dimensions"),
    "tensor of many dimensions": (file_of([], [tensor("a", (1,) * 99)]), "'a' has 99 dimensions"),
    "tensor misaligned": (file_of([], [tensor("a", offset=3)]), "'a' lies at offset 3"),
    "tensor too far": (file_of([], [tensor("a", offset=HUGE)]), "'a' ends at byte 9,.* cut short"),
    "tensor too large": (file_of([], [tensor("a", (2**62, 2**62))]), "'a' ends at byte .* cut short"),
    "tensor over another": (file_of([], [tensor("a", (2, 8)), tensor("b", offset=32)]), "'b' overlaps 'a'"),
    "row of half a block": (file_of([], [tensor("a", (1, 40), kind=8)]), "'a' have 40 numbers.* 32"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    content, message = BAD_FILES[kind]
    (tmp_path / "bad.gguf").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(CodebookError, match=message) as caught:
        open_gguf(tmp_path / "bad.gguf")
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "bad.gguf" in str(caught.value)
    assert allocated < 2**20  # whatever sizes the file claims


def test_a_type_from_the_future_matters_only_for_the_table(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(file_of([], [tensor("new", kind=9999), tensor("old", (2, 4), offset=32)]))
    assert set(GgufHeader(path).tensors) == {"new", "old"}
    with pytest.raises(CodebookError, match=r"'new' .* is of type 9999"):
        open_gguf(path, "new")


def damaged(data: bytes, edit: Callable[[bytearray], object]) -> bytes:
    content = bytearray(data)
    edit(content)
    return bytes(content)


def test_every_cut_and_many_flips_are_refused_or_read(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf", np.ones((ROWS, 8), np.float32))
    data = path.read_bytes()
    end = max(data.find(b"output_norm.weight") + 18, 0)
    for length in [*range(0, end + 40, 3), *range(end + 40, len(data) - 64, 97)]:
        path.write_bytes(data[:length])
        with pytest.raises(CodebookError, match=r"a\.gguf"):
            open_gguf(path)
    random = np.random.default_rng(0)
    for position, value in zip(random.integers(0, end + 40, 400), random.integers(0, 256, 400), strict=True):
        path.write_bytes(damaged(data, lambda content, at=position, to=value: content.__setitem__(at, to)))  # type: ignore[misc]
        try:
            found = open_gguf(path)
        except CodebookError as error:
            assert "a.gguf" in str(error)  # noqa: PT017 - a flip may also leave a good file
        else:
            assert len(found.rows.block(0, 1)) == 1

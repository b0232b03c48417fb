"""Damage a checkpoint in every way that is cheap to think of, and see that nothing worse comes of it than an error.

    python tests/codebook/fuzzing.py SECONDS [SEED]

Each round damages one file of a good checkpoint or GGUF file, opens it, and has its tokenizer read a text. What may
come of it is the table as it was, or an error of this package's; anything else ends the run with the seed and the round
that repeat it. The process may allocate a gigabyte and spend five seconds of processor time on a round.
"""

from __future__ import annotations

import io
import json
import logging
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import sentencepiece
from safetensors.numpy import save_file
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, pre_tokenizers

from wordllama_st.codebook import find_table
from wordllama_st.codebook.input_embeddings import find_input_embeddings
from wordllama_st.errors import WordLlamaSTError
from wordllama_st.storage.tokenizer import text_tokenizer

ROWS, COLUMNS = 64, 8
TABLE = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
INDEX, SHARD, CONFIG = "model.safetensors.index.json", "model-00001-of-00001.safetensors", "config.json"
SPIECE = "sentencepiece"
TENSOR = "model.embed_tokens.weight"
TEXT = "Straße, e\u0301t\u00e9  \ufb01ne \uff21\u2163 日本語 한국어 हिन्दी 🦙👩\u200d👧\n\t 12 the llama </s>"
WORDS = [
    f"the {animal} {deed} there"
    for animal in ("llama", "otter")
    for deed in ("sings", "sleeps", "listens")
    for _ in "123"
]
INTERESTING = [0, -1, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 1e308, True, None, "", "x", [], {}, [[]], "../../x"]
MEMORY = 2**30
SECONDS_PER_ROUND = 5
LEAST_ROUNDS = 500


def write_checkpoint(directory: Path) -> None:
    """A small Llama in one shard with an index, and the same table as GGUF, with tokenizers of several kinds."""
    save_file({TENSOR: TABLE, "model.norm.weight": TABLE[0]}, directory / SHARD)
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {TENSOR: SHARD, "model.norm.weight": SHARD},
    }
    (directory / INDEX).write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": ROWS, "hidden_size": COLUMNS,
        "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    }  # fmt: skip
    (directory / CONFIG).write_text(json.dumps(config))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[: ROWS - 1]
    tokens, merge = [*alphabet, alphabet[-2] + alphabet[-1]], (alphabet[-2], alphabet[-1])
    tokenizer = Tokenizer(models.BPE({token: token_id for token_id, token in enumerate(tokens)}, [merge]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([alphabet[0]])
    tokenizer.save(str(directory / "tokenizer.json"))

    byte_level = {
        "tokens": tokens, "token_type": [1] * ROWS, "merges": [" ".join(merge)], "model": "gpt2", "pre": "gpt-2",
    }  # fmt: skip
    write_gguf(directory / "model.gguf", byte_level)
    write_gguf(directory / "split.gguf", byte_level, split_max_tensors=1)
    write_sentencepiece(directory)


def write_gguf(path: Path, fields: dict[str, Any], **options: Any) -> None:
    """The table and another tensor, after the metadata of a tokenizer."""
    writer = gguf.GGUFWriter(path, "llama", **options)
    for key, value in fields.items():
        add = {list: writer.add_array, bytes: writer.add_array, str: writer.add_string, bool: writer.add_bool}
        add[type(value)](f"tokenizer.ggml.{key}", value)
    writer.add_tensor("output_norm.weight", TABLE[0])
    writer.add_tensor("token_embd.weight", TABLE)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_sentencepiece(directory: Path) -> None:
    """The same checkpoint with a SentencePiece model alone, and GGUF files with what llama.cpp takes from such."""
    alone = directory / SPIECE
    shutil.copytree(directory, alone, ignore=shutil.ignore_patterns("*.gguf", "tokenizer.json"))
    for kind, model in (("unigram", "t5"), ("bpe", "llama")):
        content = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(WORDS), model_writer=content, vocab_size=ROWS, model_type=kind, minloglevel=2,
            num_threads=1, hard_vocab_limit=False,
        )  # fmt: skip
        if kind == "unigram":
            (alone / "tokenizer.model").write_bytes(content.getvalue())
        message = sentencepiece_model_pb2.ModelProto.FromString(content.getvalue())
        fields = {
            "model": model,
            "tokens": [piece.piece for piece in message.pieces],
            "scores": [piece.score for piece in message.pieces],
            "token_type": [piece.type for piece in message.pieces],
            "precompiled_charsmap": message.normalizer_spec.precompiled_charsmap,
            "remove_extra_whitespaces": True,
        }
        write_gguf(directory / f"{model}.gguf", fields)


def damage_bytes(data: bytes, chance: random.Random) -> bytes:
    """Change, drop, repeat or insert a few bytes, most of them near the beginning, where headers are."""
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        reach = max(1, chance.choice([8, 64, 400, len(damaged)]))
        place = chance.randrange(min(reach, max(1, len(damaged))))
        kind = chance.randrange(5)
        if kind == 0:
            damaged[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del damaged[place : place + chance.choice([1, 8, 1000])]
        elif kind == 2:
            damaged[place:place] = damaged[place : place + chance.choice([1, 8, 100])]
        elif kind == 3:
            value = chance.choice([0, 1, 2**16, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
            damaged[place : place + 8] = struct.pack("<Q", value)
        else:
            del damaged[place:]
    return bytes(damaged)


def damage_anywhere(data: bytes, chance: random.Random) -> bytes:
    """Change a few bytes, wherever they are: in what is long and looks the same all over, such as a character map."""
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 3, 10, 100])):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def damage_json(data: bytes, chance: random.Random) -> bytes:
    """Put something that does not belong there in a place of a JSON document."""
    document = json.loads(data)
    node = document
    for _ in range(chance.randrange(1, 6)):
        if isinstance(node, dict) and node:
            key: object = chance.choice(sorted(node))
        elif isinstance(node, list) and node:
            key = chance.randrange(len(node))
        else:
            break
        child = node[key]
        if not isinstance(child, (dict, list)) or chance.random() < 0.3:
            kind = chance.randrange(3)
            if kind == 0 and isinstance(node, dict):
                node[chance.choice(["", "x", "/etc/passwd", str(key) * 2])] = node.pop(key)
            elif kind == 1:
                del node[key]
            else:
                node[key] = chance.choice(INTERESTING)
            break
        node = child
    return json.dumps(document).encode()


def damage_header(data: bytes, chance: random.Random) -> bytes:
    """Damage the JSON in a safetensors file and keep its length right, so that the rest is looked at too."""
    (length,) = struct.unpack("<Q", data[:8])
    header = damage_json(data[8 : 8 + length], chance)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


Damage = Callable[[bytes, random.Random], bytes]
DAMAGES: list[tuple[str, Damage]] = [
    (SHARD, damage_bytes), (SHARD, damage_header), (INDEX, damage_bytes), (INDEX, damage_json),
    ("tokenizer.json", damage_bytes), ("tokenizer.json", damage_json), (CONFIG, damage_bytes), (CONFIG, damage_json),
    ("model.gguf", damage_bytes), ("model.gguf", damage_bytes),
    ("split-00001-of-00002.gguf", damage_bytes), ("split-00002-of-00002.gguf", damage_bytes),
    ("t5.gguf", damage_bytes), ("t5.gguf", damage_anywhere), ("llama.gguf", damage_bytes),
    (f"{SPIECE}/tokenizer.model", damage_bytes), (f"{SPIECE}/tokenizer.model", damage_anywhere),
]  # fmt: skip


def open_damaged(directory: Path, name: str) -> str:
    """Open what was damaged.

    Returns:
        What came of it.

    Raises:
        AssertionError: If a table came that is not the one that was written.
    """
    try:
        if name == CONFIG:
            find_input_embeddings(directory / CONFIG, {TENSOR, "model.norm.weight"})
            return "read"
        if name.endswith(".gguf"):
            found = find_table(directory / name)
        else:
            found = find_table((directory / name).parent, tensor_name=TENSOR)
        shape = found.rows.shape
        block = found.rows.block(0, min(2, shape[0]))
    except WordLlamaSTError:
        return "refused"
    text_tokenizer(found.tokenizer).encode(TEXT)
    assert np.prod(shape) * 2 <= 2**20, "a table is not larger than its file"
    return "read" if found.rows.dtype == "float32" and np.array_equal(block, TABLE[:2, : shape[1]]) else "read, changed"


def main(seconds: float, seed: int) -> int:
    """Damage and open until the time is over."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    chance, outcomes = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch:
        good, damaged = Path(scratch, "good"), Path(scratch, "damaged")
        good.mkdir()
        write_checkpoint(good)
        for name, _ in DAMAGES:  # what is imported once is not a round's time or memory
            assert open_damaged(good, name) == "read", name
        shutil.copytree(good, damaged)
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, in_use + MEMORY))
        end, rounds = time.monotonic() + seconds, 0
        while time.monotonic() < end or rounds <= LEAST_ROUNDS:  # also on a machine that is busy with other things
            name, damage = chance.choice(DAMAGES)
            (damaged / name).write_bytes(damage((good / name).read_bytes(), chance))
            signal.setitimer(signal.ITIMER_PROF, SECONDS_PER_ROUND)  # of its own: others may keep the machine busy
            try:
                outcomes[open_damaged(damaged, name)] += 1
            except BaseException:
                print(f"seed {seed}, round {rounds}: {name} by {damage.__name__}", file=sys.stderr)
                raise
            signal.setitimer(signal.ITIMER_PROF, 0)
            shutil.copyfile(good / name, damaged / name)
            rounds += 1
    print(f"seed {seed}: {rounds} rounds, {dict(outcomes)}")
    return 0


if __name__ == "__main__":
    sys.exit(
        main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**6))
    )

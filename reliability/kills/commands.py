"""The commands that are killed, and their small inputs."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path

HUB_MODEL, RELEASED = "made-up/llama", "wordllama-l3-supercat-64"
VOCABULARY, WIDTH, TEXTS = 400, 32, 2000


@dataclass(frozen=True)
class Command:
    """A command, run in an empty directory.

    Attributes:
        name: Of the row in the table.
        arguments: Of the command line.
        outputs: The names that it writes, relative to the directory.
        state: Directories beside them that keep work for the next run: caches and checkpoints.
        in_parts: Whether its output is a directory that fills with finished parts.
        shares_cache: Whether runs with other outputs use the same cache, of a teacher or of the Hub.
        varying: Files with times and a history of the run in them, which no two runs have alike.
    """

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    state: tuple[str, ...] = field(default=())
    in_parts: bool = False
    shares_cache: bool = False
    varying: frozenset[str] = frozenset()


def make_commands(inputs: Path, out: Path) -> list[Command]:
    """Make the commands that read from ``inputs`` and write to ``out``."""
    codebook, static, trained, teacher = (str(inputs / name) for name in ("codebook", "static", "trained", "teacher"))
    pairs, lines, table = (str(inputs / name) for name in ("pairs.csv", "texts.txt", "texts.parquet"))
    model, checkpoints = str(out / "model"), str(out / "checkpoints")
    train = ("--epochs", "4", "--batch-size", "16", "--dim", "16")
    return [
        Command("extract", ("extract", str(inputs / "checkpoint"), "--out", model), ("model",)),
        Command("extract, Hub", ("extract", HUB_MODEL, "--out", model), ("model",), shares_cache=True),
        Command(
            "train",
            ("train", codebook, pairs, *train, "--checkpoint-dir", checkpoints, "--out", model),
            ("model",),
            ("checkpoints",),
            varying=frozenset({"README.md"}),
        ),
        Command(
            "distill",
            ("distill", codebook, lines, "--teacher", teacher, *train, "--every-row", "--checkpoint-dir", checkpoints,
             "--out", model),
            ("model",),
            ("model-teacher", "checkpoints"),
            shares_cache=True,
        ),
        Command("distill, files", ("distill", codebook, str(inputs / "embedded"), *train, "--out", model), ("model",)),
        Command(
            "adapt",
            ("adapt", static, lines, "--teacher", teacher, "--epochs", "1", "--asymmetric", f"{model}-both",
             "--out", model),
            ("model", "model-both"),
            ("model-teacher",),
            shares_cache=True,
        ),
        Command("bake", ("bake", trained, "--out", model), ("model",)),
        Command("pull", ("pull", RELEASED, "--out", model), ("model",), shares_cache=True),
        Command("encode", ("encode", static, table, "--precision", "int8", "--out", model), ("model",), in_parts=True),
        Command("encode, .npy", ("encode", static, table, "--out", f"{model}.npy"), ("model.npy",)),
        Command("encode, a text", ("encode", static, lines, "--out", f"{model}.npy"), ("model.npy",)),
        Command("teacher", ("teacher", teacher, table, "--out", model), ("model",), in_parts=True),
    ]  # fmt: skip


def make_inputs(folder: Path) -> dict[tuple[str, str], bytes]:
    """Write the inputs of all commands, and return the files that the Hub on the loopback has.

    There are a Llama checkpoint in shards, its codebook, a static model, a trained one, a teacher, pairs and texts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from safetensors.torch import save_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from texts import made_up_pairs
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    from wordllama_st import Codebook, bake, build_model, embed_with_teacher

    pairs = made_up_pairs(TEXTS // 2)
    texts = [text for pair in pairs for text in pair]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts[:500], trainer)
    rows = tokenizer.get_vocab_size()

    torch.manual_seed(0)
    checkpoint = folder / "checkpoint"
    sizes = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=rows, **sizes)).save_pretrained(checkpoint, max_shard_size="60KB")
    tokenizer.save(str(checkpoint / "tokenizer.json"))
    codebook = Codebook(torch.randn(rows, WIDTH), tokenizer)
    codebook.save(folder / "codebook")
    trained = build_model(codebook, dim=16)
    trained.save_pretrained(str(folder / "trained"))
    bake(trained, folder / "static")
    table = StaticEmbedding(tokenizer, embedding_weights=torch.randn(rows, WIDTH).numpy())
    SentenceTransformer(modules=[table], similarity_fn_name="cosine").save_pretrained(str(folder / "teacher"))

    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("anchor", "positive"), *pairs[:200]])
    (folder / "texts.txt").write_text("\n".join(texts[:600]) + "\n", encoding="utf-8")
    pq.write_table(pa.table({"id": range(TEXTS), "text": texts}), folder / "texts.parquet")

    embed_with_teacher(folder / "teacher", folder / "texts.parquet", folder / "embedded")

    released = folder / "l3_supercat_64.safetensors"
    save_file({"embedding.weight": torch.randn(rows, 64)}, released)
    of_released = {
        released.name: released.read_bytes(),
        "l3_supercat_tokenizer_config.json": tokenizer.to_str().encode(),
    }
    return {
        **{(HUB_MODEL, path.name): path.read_bytes() for path in checkpoint.iterdir()},
        **{("dleemiller/wordllama-l3-supercat", name): content for name, content in of_released.items()},
    }


def check_loads(path: Path) -> None:
    """Load an output as its user would, and use it."""
    import numpy as np
    import pyarrow.parquet as pq

    from wordllama_st import Codebook, StaticEncoder, model_from_pretrained

    if path.suffix == ".npy":
        assert np.isfinite(np.load(path)).all()
    elif (path / "manifest.json").is_file():
        parts = json.loads((path / "manifest.json").read_text())["parts"]
        assert sum(pq.read_table(path / part["name"]).num_rows for part in parts) == TEXTS
    elif (path / "codebook.json").is_file():
        Codebook.load(path)
    elif "LLMTokenEmbedding" in (path / "modules.json").read_text():
        assert np.isfinite(model_from_pretrained(path).encode(["a text"])).all()
    else:
        assert np.isfinite(StaticEncoder.from_pretrained(path).encode(["a text"])).all()

"""Distillation that streams texts and a teacher's embeddings from files.

Protects: the same weights as from texts in memory; rows without a text, and repeated ones; bits of each batch; and one
line for embeddings that are missing, damaged or not of one teacher.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from texts import made_up_pairs
from tokenizers import Tokenizer

from wordllama_st import Codebook, bake, build_model, distill, embed_with_teacher, static_model_from_pretrained
from wordllama_st.cli.main import main
from wordllama_st.data.corpus import read_embeddings
from wordllama_st.errors import ArgumentError, DatasetError, TrainingError
from wordllama_st.modules import LLMTokenEmbedding
from wordllama_st.training.distillation import (
    initialize_by_least_squares,
    pca_rotate,
    train_distillation,
)
from wordllama_st.training.embedded import read_embedded_texts
from wordllama_st.training.teacher import teacher_embeddings
from wordllama_st.training.tokens import TokenizedTexts

TEXTS = [text for pair in made_up_pairs(150) for text in pair]
TRAINING: dict[str, Any] = {"epochs": 2, "batch_size": 64, "seed": 3}
EMBEDDER = "wordllama-l2-supercat-64"


@pytest.fixture(scope="module")
def teacher() -> SentenceTransformer:
    return static_model_from_pretrained(EMBEDDER)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, teacher: SentenceTransformer) -> Path:
    """The teacher's embeddings of the texts, with a row without a text and repeated texts."""
    folder = tmp_path_factory.mktemp("embedded")
    texts = [*TEXTS[:100], None, *TEXTS[:7], *TEXTS[100:]]
    pq.write_table(pa.table({"body": texts}), folder / "texts.parquet")
    embed_with_teacher(teacher, folder / "texts.parquet", folder / "out")
    return folder / "out"


def weights(model: SentenceTransformer) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("every_row", [False, True])
def test_the_same_model_comes_from_files_and_from_memory(
    every_row: bool, embedded: Path, teacher: SentenceTransformer, codebook: Codebook, tmp_path: Path
) -> None:
    streamed = distill(codebook, [embedded], dim=16, every_row=every_row, **TRAINING)
    in_memory = distill(codebook, TEXTS, teacher=teacher, dim=16, every_row=every_row, **TRAINING)
    assert (streamed.report.texts, streamed.report.held_out) == (294, 6)
    assert streamed.report.score == in_memory.report.score

    vectors = pca_rotate(teacher_embeddings(teacher, TEXTS, tmp_path))[6:]
    model = build_model(codebook, 16, token_weights="corpus", corpus=TEXTS[6:])
    initialize_by_least_squares(model, TEXTS[6:], vectors, seed=3)
    student = bake(model) if every_row else model
    train_distillation(student, TEXTS[6:], vectors, **TRAINING)
    by_steps = student if every_row else bake(student)
    for name, weight in weights(by_steps).items():
        np.testing.assert_array_equal(weights(streamed.model)[name], weight)
        np.testing.assert_array_equal(weights(in_memory.model)[name], weight)


@settings(max_examples=30)
@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=8), data=st.data())
def test_batches_are_those_that_the_model_makes_of_the_texts(
    tokenizer: Tokenizer, texts: list[str], data: st.DataObject
) -> None:
    codebook = Codebook(torch.zeros(tokenizer.get_vocab_size(), 4), tokenizer)
    tokens, first = TokenizedTexts(tokenizer, texts), LLMTokenEmbedding(codebook)
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1))
    chosen = [texts[row] for row in rows]
    static = StaticEmbedding(tokenizer, embedding_dim=2)
    for made, expected in (
        (tokens.padded_batch(list(map(str, rows))), first.preprocess(chosen)),
        (tokens.batch(rows), static.preprocess(chosen)),
    ):
        assert made.keys() == expected.keys()
        assert all(torch.equal(made[key], expected[key]) for key in expected)
    counted = np.bincount(np.concatenate([tokenizer.encode(text).ids for text in texts]).astype(int), minlength=512)
    assert tokens.counts(512).tolist() == counted.tolist()


def test_the_command_distills_a_directory(
    embedded: Path, codebook: Codebook, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codebook.save(tmp_path / "codebook")
    command = ["distill", str(tmp_path / "codebook"), str(embedded), "--dim", "16", "--epochs", "1"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "Texts       300, 6 of them held out" in capsys.readouterr().out
    assert "Distilled from a model in memory" in (tmp_path / "out" / "README.md").read_text()
    assert not (tmp_path / "out-teacher").exists()
    assert main([*command, "--out", str(tmp_path / "other"), "--vectors-column", "vector"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("has no column 'vector'; it has body, embedding.")


def test_checkpoints_are_of_the_same_texts(embedded: Path, codebook: Codebook, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"dim": 16, "checkpoint_dir": tmp_path / "checkpoints", **TRAINING}
    distill(codebook, [embedded], **arguments)
    pq.write_table(pq.read_table(embedded / "part-00000.parquet").slice(0, 200), tmp_path / "fewer.parquet")
    with pytest.raises(TrainingError, match=r"another .*texts"):
        distill(codebook, [tmp_path / "fewer.parquet"], text_column="body", **arguments)


def test_lengths_and_types_of_embeddings_do_not_matter(tmp_path: Path, teacher: SentenceTransformer) -> None:
    vectors = teacher.encode(TEXTS, normalize_embeddings=True)
    for number, (scale, kind) in enumerate([(1, pa.float16()), (7e5, pa.float32()), (1e-9, pa.float64())]):
        lists = pa.array((vectors * scale).astype(kind.to_pandas_dtype()).tolist(), pa.list_(kind))
        pq.write_table(pa.table({"text": TEXTS, "vector": lists}), tmp_path / f"{number}.parquet")
        found = read_embeddings([tmp_path / f"{number}.parquet"], vectors_column="vector")
        assert found.vectors is not None
        assert found.vectors.dtype == np.float16
        np.testing.assert_allclose(found.vectors, vectors.astype(np.float16), atol=1e-3)
    assert (read_embeddings([tmp_path / "0.parquet"], vectors_column="vector").vectors == vectors.astype("f2")).all()


def table(vectors: list[Any], *columns: str) -> Callable[[Path], None]:
    content = {name: TEXTS[: len(vectors)] for name in columns or ("text",)}
    return lambda path: pq.write_table(pa.table({**content, "embedding": vectors}), path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([table([[1.0, 2.0], [3.0, 4.0]]), table([[1.0, 2.0, 3.0]])], "1.parquet has vectors of 3 dimensions, and .*0"),
        ([table([[1.0, 2.0], [1.0]])], "0.parquet has vectors of 1 dimensions and of 2"),
        ([table([[1.0], [0.0]])], "0.parquet, row 2: the vector in 'embedding' is zero or not finite"),
        ([table([[1.0], [float("nan")]])], "row 2: the vector in 'embedding' is zero or not finite"),
        ([table([[1.0], None])], "1 are missing; each document needs a vector"),
        ([table(["a", "b"])], "the column 'embedding' is string"),
        ([table([[1.0]], "one", "two")], "2 columns of texts .* name one with --text-column"),
        ([lambda path: path.write_bytes(b"cut")], "0.parquet cannot be read"),
        ([], "no .parquet files in"),
    ],
)  # fmt: skip
def test_damaged_embeddings_are_named(files: list[Callable[[Path], None]], message: str, tmp_path: Path) -> None:
    for number, write in enumerate(files):
        write(tmp_path / f"{number}.parquet")
    with pytest.raises(DatasetError, match=message):
        read_embedded_texts([tmp_path])


def test_embeddings_of_several_teachers_or_half_of_them_are_refused(
    embedded: Path, codebook: Codebook, teacher: SentenceTransformer, tmp_path: Path
) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(TEXTS), encoding="utf-8")
    embed_with_teacher(teacher, source, tmp_path / "cut", dim=32)
    with pytest.raises(DatasetError, match=r"differ in truncate_dim; a model is distilled from one teacher"):
        read_embedded_texts([embedded, tmp_path / "cut"])
    manifest = tmp_path / "cut" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "precision": "int8"}))
    with pytest.raises(DatasetError, match="are int8; float16 or float32 is needed"):
        read_embedded_texts([tmp_path / "cut"])
    manifest.write_text(json.dumps({key: value for key, value in content.items() if key != "parts"}))
    with pytest.raises(DatasetError, match="is not finished"):
        read_embedded_texts([tmp_path / "cut"])
    for damage in ("{", "[" * 100_000):
        manifest.write_text(damage)
        with pytest.raises(DatasetError, match=r"manifest\.json is damaged"):
            read_embedded_texts([tmp_path / "cut"])
    with pytest.raises(DatasetError, match=r"texts\.txt has no embeddings, as .parquet and .jsonl files may"):
        distill(codebook, [source])
    with pytest.raises(ArgumentError, match="Texts in memory have no embeddings"):
        distill(codebook, TEXTS)
    with pytest.raises(ArgumentError, match="--cache is for"):
        distill(codebook, [embedded], cache=tmp_path / "cache")
    with pytest.raises(ArgumentError, match="'body' is for texts that have embeddings"):
        distill(codebook, TEXTS, teacher=teacher, text_column="body")

"""Invalid fields and texts.

Protects: a ValidationError that names what is wrong at construction; a ValueError that names the text that is not a
str; every str is embedded, however short or long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import FACTS
from llama_index.core.bridge.pydantic import ValidationError
from llama_index.embeddings.wordllama import WordLlamaEmbedding

WAYS: dict[str, Callable[[WordLlamaEmbedding, Any], Any]] = {
    "query": lambda embedding, text: embedding.get_query_embedding(text),
    "text": lambda embedding, text: embedding.get_text_embedding(text),
    "batch": lambda embedding, text: embedding.get_text_embedding_batch([text])[0],
    "async query": lambda embedding, text: asyncio.run(embedding.aget_query_embedding(text)),
    "async text": lambda embedding, text: asyncio.run(embedding.aget_text_embedding(text)),
    "async batch": lambda embedding, text: asyncio.run(embedding.aget_text_embedding_batch([text]))[0],
}
every_way = pytest.mark.parametrize("embed", WAYS.values(), ids=WAYS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_name": "wordllama-l2-supercat-100"}, "no released model 'wordllama-l2-supercat-100'"),
        ({"model_name": "nobody/nothing"}, "no directory nobody/nothing"),
        ({"model_name": ""}, "is no static model"),
        ({"model_name": None}, "model_name"),
        ({"dimensions": 257}, "256 dimensions; they cannot be cut to 257"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": -1}, "dimensions"),
        ({"dimensions": "many"}, "dimensions"),
        ({"embed_batch_size": 0}, "embed_batch_size"),
        ({"embed_batch_size": 2049}, "embed_batch_size"),
        ({"normalize": "perhaps"}, "normalize"),
        ({"dimension": 64}, "dimension"),
    ],
)
def test_construction_refuses_invalid_fields(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        WordLlamaEmbedding(**arguments)


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="is no static model"):
        WordLlamaEmbedding(str(tmp_path))


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(ValidationError, match=r"modules\.json"):
        WordLlamaEmbedding(str(tmp_path))


@every_way
@pytest.mark.parametrize("text", [None, 3, 2.5, b"bytes", ["a list"]])
def test_what_is_no_text_is_a_value_error(
    embedding: WordLlamaEmbedding, embed: Callable[[WordLlamaEmbedding, Any], Any], text: Any
) -> None:
    with pytest.raises(ValueError, match="Text 0 is"):
        embed(embedding, text)


def test_the_error_names_the_text_within_its_batch(embedding: WordLlamaEmbedding) -> None:
    with pytest.raises(ValueError, match=r"Text 2 is NoneType, not str"):
        embedding.get_text_embedding_batch([*FACTS[:2], None])


def test_half_a_character_is_a_value_error(embedding: WordLlamaEmbedding) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        embedding.get_text_embedding("caf\udce9")


def test_no_texts_are_no_vectors(embedding: WordLlamaEmbedding) -> None:
    assert embedding.get_text_embedding_batch([]) == []
    assert asyncio.run(embedding.aget_text_embedding_batch([])) == []
    assert embedding([]) == []


@every_way
def test_an_empty_text_is_the_zero_vector(
    embedding: WordLlamaEmbedding, embed: Callable[[WordLlamaEmbedding, Any], Any]
) -> None:
    assert embed(embedding, "") == [0.0] * 256


@every_way
def test_whitespace_is_a_text(embedding: WordLlamaEmbedding, embed: Callable[[WordLlamaEmbedding, Any], Any]) -> None:
    for text in (" ", "\n", "\t \n"):
        vector = embed(embedding, text)
        assert sum(number * number for number in vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("way", ["text", "async batch"])
def test_ten_megabytes_are_a_text(embedding: WordLlamaEmbedding, way: str) -> None:
    # The mean of a text over and over is that of the text, up to rounding.
    sentence = "The ferry leaves the harbour at noon. "
    vector = WAYS[way](embedding, sentence * (10_000_000 // len(sentence)))
    assert vector == pytest.approx(embedding.get_text_embedding(sentence * 100), abs=1e-3)

"""Serialization, copies and changed fields.

Protects: a deserialized embedding embeds as the original did; the token is never shown; a pickle holds the name of the
model, not its table; the fields of an embedding always describe the embeddings that it computes.
"""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import FACTS
from llama_index.core.bridge.pydantic import ValidationError
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.embeddings.wordllama import WordLlamaEmbedding
from wordllama_st import StaticEncoder

SETTINGS: dict[str, Any] = {
    "model_name": "wordllama-l2-supercat-128",
    "dimensions": 64,
    "normalize": False,
    "query_instruction": "query: ",
    "text_instruction": "text: ",
    "embed_batch_size": 17,
    "num_workers": 3,
}


@pytest.fixture
def original() -> WordLlamaEmbedding:
    return WordLlamaEmbedding(**SETTINGS, token="hf_secret")


def assert_same(one: WordLlamaEmbedding, other: WordLlamaEmbedding) -> None:
    assert one.to_dict() == other.to_dict()
    assert one.get_text_embedding_batch(FACTS) == other.get_text_embedding_batch(FACTS)
    assert one.get_query_embedding("cats") == other.get_query_embedding("cats")


def test_dict_round_trip(original: WordLlamaEmbedding) -> None:
    data = original.to_dict()
    assert SETTINGS.items() <= data.items()
    assert data["class_name"] == "WordLlamaEmbedding"
    assert_same(WordLlamaEmbedding.from_dict(data), original)


def test_json_round_trip(original: WordLlamaEmbedding) -> None:
    assert json.loads(original.to_json()) == original.to_dict()
    assert_same(WordLlamaEmbedding.from_json(original.to_json()), original)


def test_schema_describes_the_fields() -> None:
    properties = WordLlamaEmbedding.model_json_schema()["properties"]
    assert {*SETTINGS, "revision", "token"} <= set(properties)
    assert properties["embed_batch_size"]["default"] == 1024


def test_the_token_is_shown_nowhere(original: WordLlamaEmbedding) -> None:
    for shown in (repr(original), str(original), original.to_json(), str(original.to_payload())):
        assert "hf_secret" not in shown
    with pytest.raises(ValueError, match="no released model") as caught:
        WordLlamaEmbedding("wordllama-l2-supercat-99", token="hf_secret")
    assert "hf_secret" not in str(caught.value)


def test_pickle_round_trip(original: WordLlamaEmbedding) -> None:
    pickled = pickle.dumps(original)
    assert len(pickled) < 10_000
    loaded = pickle.loads(pickled)
    assert_same(loaded, original)
    assert loaded.token == "hf_secret"  # for a model that cannot be loaded without


def test_pickling_leaves_the_original_as_it_was() -> None:
    handler = TokenCountingHandler(tokenizer=lambda text: text.split())  # cannot be pickled
    embedding = WordLlamaEmbedding(callback_manager=CallbackManager([handler]))
    loaded = pickle.loads(pickle.dumps(embedding))
    assert loaded.get_text_embedding("cats") == embedding.get_text_embedding("cats")
    assert embedding.callback_manager.handlers == [handler]
    assert handler.total_embedding_token_count == 1


def test_unpickling_says_what_is_missing(tmp_path: Path) -> None:
    StaticEncoder.from_pretrained("wordllama-l2-supercat-64").save_pretrained(tmp_path / "model")
    pickled = pickle.dumps(WordLlamaEmbedding(str(tmp_path / "model")))
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="model"):
        pickle.loads(pickled)


def test_another_process_unpickles_it(original: WordLlamaEmbedding, tmp_path: Path) -> None:
    (tmp_path / "embedding").write_bytes(pickle.dumps(original))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).get_text_embedding('cats'))"
    command = [sys.executable, "-c", code, str(tmp_path / "embedding")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == original.get_text_embedding("cats")


def test_copies_share_the_encoder(original: WordLlamaEmbedding) -> None:
    for copied in (copy.copy(original), copy.deepcopy(original), original.model_copy(deep=True)):
        assert_same(copied, original)
        assert copied._encoder is original._encoder
    changed = copy.deepcopy(original)
    changed.normalize = True
    assert original.normalize is False


@pytest.mark.parametrize(
    ("field", "value"),
    [("model_name", "wordllama-l2-supercat-64"), ("revision", "main"), ("token", "hf_other"), ("dimensions", 32)],
)
def test_fields_that_name_the_model_are_frozen(original: WordLlamaEmbedding, field: str, value: str | int) -> None:
    before = original.to_dict(), original.get_text_embedding("cats")
    with pytest.raises(ValidationError, match=f"{field}\n  Field is frozen"):
        setattr(original, field, value)
    assert (original.to_dict(), original.get_text_embedding("cats")) == before


def test_other_fields_take_effect_at_once(original: WordLlamaEmbedding) -> None:
    original.normalize, original.query_instruction, original.text_instruction = True, "", "passage: "
    fresh = WordLlamaEmbedding(
        **{**SETTINGS, "normalize": True, "query_instruction": "", "text_instruction": "passage: "}
    )
    assert_same(original, fresh)


COPIES: dict[str, Callable[..., WordLlamaEmbedding]] = {
    "model_copy": lambda embedding, **update: embedding.model_copy(update=update),
    "model_copy deep": lambda embedding, **update: embedding.model_copy(update=update, deep=True),
    "copy": lambda embedding, **update: embedding.copy(update=update),
}
every_copy = pytest.mark.parametrize("updated", COPIES.values(), ids=COPIES)


@every_copy
@pytest.mark.parametrize(
    "update", [{"dimensions": 32}, {"model_name": "wordllama-l2-supercat-256", "dimensions": None}]
)
def test_an_updated_copy_embeds_as_its_fields_say(
    original: WordLlamaEmbedding, updated: Callable[..., WordLlamaEmbedding], update: dict[str, Any]
) -> None:
    copied = updated(original, **update)
    assert_same(copied, WordLlamaEmbedding(**{**SETTINGS, **update}))
    assert_same(pickle.loads(pickle.dumps(copied)), copied)
    assert copied.token == original.token
    assert_same(original, WordLlamaEmbedding(**SETTINGS))


@every_copy
def test_an_updated_copy_is_validated(original: WordLlamaEmbedding, updated: Callable[..., WordLlamaEmbedding]) -> None:
    with pytest.raises(ValidationError, match="cannot be cut to 1000"):
        updated(original, dimensions=1000)
    with pytest.raises(ValidationError, match="dimension\n"):
        updated(original, dimension=32)

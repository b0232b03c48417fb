"""The embeddings class by itself: vectors, settings, async, copies and pickles, bad input."""

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr, ValidationError
from wordllama_st import StaticEncoder

from langchain_wordllama import WordLlamaEmbeddings

TEXTS = ["How do I reset my password?", "The meaning of life is 42", "größer", "東京は晴れ", "👍 fine\n\n  then", "a"]
SECRET = "hf_thisIsNobodysToken"


@pytest.fixture(scope="module")
def embeddings() -> WordLlamaEmbeddings:
    return WordLlamaEmbeddings()


@pytest.fixture(scope="module")
def encoder() -> StaticEncoder:
    return StaticEncoder.from_pretrained("wordllama-l2-supercat-256")


@pytest.fixture(scope="module")
def model_with_prompts(encoder: StaticEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "prompted"
    encoder.save_pretrained(path)
    config = path / "config_sentence_transformers.json"
    prompts = {"query": "query: ", "document": "passage: "}
    config.write_text(json.dumps({**json.loads(config.read_text()), "prompts": prompts}))
    return path


# Vectors


def test_vectors_are_those_of_the_encoder(embeddings: WordLlamaEmbeddings, encoder: StaticEncoder) -> None:
    expected = encoder.encode(TEXTS, normalize_embeddings=True).tolist()
    assert embeddings.embed_documents(TEXTS) == expected
    assert [embeddings.embed_query(text) for text in TEXTS] == expected


def test_many_texts_have_the_vectors_of_few(embeddings: WordLlamaEmbeddings) -> None:
    vectors = embeddings.embed_documents(TEXTS * 1000)
    np.testing.assert_allclose(vectors[: len(TEXTS)], embeddings.embed_documents(TEXTS), rtol=0, atol=1e-6)


def test_vectors_have_unit_length_unless_told_otherwise(
    embeddings: WordLlamaEmbeddings, encoder: StaticEncoder
) -> None:
    np.testing.assert_allclose(np.linalg.norm(embeddings.embed_documents(TEXTS), axis=1), 1, rtol=1e-6)
    raw = WordLlamaEmbeddings(normalize=False)
    assert raw.embed_documents(TEXTS) == encoder.encode(TEXTS).tolist()


@pytest.mark.parametrize("dimensions", [128, 64])
def test_dimensions_are_cut_before_vectors_are_scaled(encoder: StaticEncoder, dimensions: int) -> None:
    vectors = WordLlamaEmbeddings(dimensions=dimensions).embed_documents(TEXTS)
    assert vectors == encoder.encode(TEXTS, truncate_dim=dimensions, normalize_embeddings=True).tolist()
    assert vectors == WordLlamaEmbeddings(model=f"wordllama-l2-supercat-{dimensions}").embed_documents(TEXTS)


def test_batch_size_and_progress_change_no_vector(
    embeddings: WordLlamaEmbeddings, capfd: pytest.CaptureFixture[str]
) -> None:
    small = WordLlamaEmbeddings(batch_size=7, show_progress=True)
    vectors = small.embed_documents(TEXTS * 5)
    assert "30/30" in capfd.readouterr().err
    np.testing.assert_allclose(vectors, embeddings.embed_documents(TEXTS * 5), rtol=0, atol=1e-6)
    assert capfd.readouterr().err == ""


def test_model_can_be_a_path(embeddings: WordLlamaEmbeddings, encoder: StaticEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path / "model")
    from_path = WordLlamaEmbeddings(model=tmp_path / "model")
    assert from_path.model == str(tmp_path / "model")
    assert from_path.embed_documents(TEXTS) == embeddings.embed_documents(TEXTS)


def test_model_can_be_given_as_model_name() -> None:
    named = WordLlamaEmbeddings(model_name="wordllama-l2-supercat-64")
    assert named.model == "wordllama-l2-supercat-64"


# Prompts


def test_prompts_stand_in_front(embeddings: WordLlamaEmbeddings) -> None:
    prompted = WordLlamaEmbeddings(query_prompt="Find: ", document_prompt="Text: ")
    assert prompted.embed_query("a cat") == embeddings.embed_query("Find: a cat")
    assert prompted.embed_documents(["a cat"]) == embeddings.embed_documents(["Text: a cat"])


def test_prompts_of_the_model_are_used_unless_others_are_given(
    embeddings: WordLlamaEmbeddings, model_with_prompts: Path
) -> None:
    own = WordLlamaEmbeddings(model=str(model_with_prompts))
    assert own.embed_query("a cat") == embeddings.embed_query("query: a cat")
    assert own.embed_documents(["a cat"]) == embeddings.embed_documents(["passage: a cat"])
    none = own.model_copy(update={"query_prompt": "", "document_prompt": ""})
    assert none.embed_query("a cat") == embeddings.embed_query("a cat")
    assert none.embed_documents(["a cat"]) == embeddings.embed_documents(["a cat"])


# Async


async def test_32_concurrent_callers_get_what_serial_ones_get() -> None:
    batches = [[f"{text} {number} " * (number + 1) for text in TEXTS] for number in range(32)]
    concurrent = WordLlamaEmbeddings()  # which has seen nothing yet, so that they also race to learn
    asked = [batch[0] * (1 if number % 2 else 200) for number, batch in enumerate(batches)]  # short and long
    queries, documents = await asyncio.gather(
        asyncio.gather(*(concurrent.aembed_query(query) for query in asked)),
        asyncio.gather(*(concurrent.aembed_documents(batch) for batch in batches)),
    )
    serial = WordLlamaEmbeddings()
    assert queries == [serial.embed_query(query) for query in asked]
    assert documents == [serial.embed_documents(batch) for batch in batches]


async def test_32_concurrent_callers_with_many_texts_get_what_serial_ones_get() -> None:
    batches = [[f"{text} {number} {copy}" for text in TEXTS for copy in range(60)] for number in range(32)]
    concurrent, serial = WordLlamaEmbeddings(), WordLlamaEmbeddings()
    documents = await asyncio.gather(*(concurrent.aembed_documents(batch) for batch in batches))
    assert documents == [serial.embed_documents(batch) for batch in batches]


async def test_async_calls_embed_in_another_thread() -> None:
    threads = []

    class Recording(WordLlamaEmbeddings):
        def _embed(self, *arguments: Any) -> list[list[float]]:
            threads.append(threading.current_thread())
            return super()._embed(*arguments)

    embeddings = Recording()
    await embeddings.aembed_query(TEXTS[0] * 1000)
    await embeddings.aembed_documents(TEXTS)
    assert len(threads) == 2
    assert threading.current_thread() not in threads


# Copies, pickles, dumps

ROUND_TRIPS: dict[str, Callable[[WordLlamaEmbeddings], WordLlamaEmbeddings]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda embeddings: pickle.loads(pickle.dumps(embeddings)),
    "model_copy": lambda embeddings: embeddings.model_copy(),
    "model_copy deep": lambda embeddings: embeddings.model_copy(deep=True),
    "model_dump": lambda embeddings: WordLlamaEmbeddings(**embeddings.model_dump()),
    "model_dump_json": lambda embeddings: WordLlamaEmbeddings.model_validate_json(embeddings.model_dump_json()),
}


@pytest.mark.parametrize("round_trip", ROUND_TRIPS.values(), ids=ROUND_TRIPS.keys())
def test_round_trips(round_trip: Callable[[WordLlamaEmbeddings], WordLlamaEmbeddings]) -> None:
    embeddings = WordLlamaEmbeddings(dimensions=64, normalize=False, query_prompt="Find: ")
    vectors = embeddings.embed_documents(TEXTS * 2000)  # so many that the encoder has learned words
    other = round_trip(embeddings)
    assert other == embeddings
    assert hash(other) == hash(embeddings)
    assert other.embed_query("a cat") == embeddings.embed_query("a cat")
    np.testing.assert_allclose(other.embed_documents(TEXTS), vectors[: len(TEXTS)], rtol=0, atol=1e-5)


def test_a_pickle_holds_settings_only(embeddings: WordLlamaEmbeddings) -> None:
    assert len(pickle.dumps(embeddings)) < 2000


UPDATES: dict[str, Callable[..., WordLlamaEmbeddings]] = {
    "model_copy": lambda embeddings, **update: embeddings.model_copy(update=update),
    "model_copy deep": lambda embeddings, **update: embeddings.model_copy(update=update, deep=True),
    "copy": lambda embeddings, **update: embeddings.copy(update=update),
}


@pytest.mark.parametrize("updated", UPDATES.values(), ids=UPDATES)
def test_an_updated_copy_is_validated_and_has_its_own_model(
    embeddings: WordLlamaEmbeddings, updated: Callable[..., WordLlamaEmbeddings]
) -> None:
    assert len(updated(embeddings, dimensions=64).embed_query("a cat")) == 64
    assert len(updated(embeddings, model="wordllama-l2-supercat-128").embed_query("a cat")) == 128
    assert len(embeddings.embed_query("a cat")) == 256
    with pytest.raises(ValidationError, match="cannot be cut to 1000"):
        updated(embeddings, dimensions=1000)


def test_settings_do_not_change(embeddings: WordLlamaEmbeddings) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        embeddings.dimensions = 64  # type: ignore[misc]


def test_the_schema_describes_every_setting() -> None:
    properties = WordLlamaEmbeddings.model_json_schema()["properties"]
    assert set(properties) == set(WordLlamaEmbeddings.model_fields)
    assert all(setting["description"] for setting in properties.values())


# Secrets


def test_the_token_is_not_leaked() -> None:
    embeddings = WordLlamaEmbeddings(token=SecretStr(SECRET))
    shown = (repr(embeddings), str(embeddings), embeddings.model_dump_json(), str(embeddings.model_dump()))
    assert not [text for text in shown if SECRET in text]
    with pytest.raises(ValidationError) as error:
        WordLlamaEmbeddings(model="wordllama-nonsense", token=SECRET)
    assert SECRET not in str(error.value)


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    token = WordLlamaEmbeddings().token
    assert token is not None
    assert token.get_secret_value() == SECRET
    monkeypatch.delenv("HF_TOKEN")
    assert WordLlamaEmbeddings().token is None


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "wordllama-l2-supercat-257"}, "no released model 'wordllama-l2-supercat-257'"),
        ({"model": "/no/such/directory"}, "no directory or file /no/such/directory"),
        ({"model": None}, "valid string"),
        ({"model": 3}, "valid string"),
        ({"dimensions": 257}, "256 dimensions; they cannot be cut to 257"),
        ({"dimensions": 0}, "cannot be cut to 0"),
        ({"dimensions": -1}, "cannot be cut to -1"),
        ({"dimensions": "many"}, "valid integer"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"normalise": True}, "Extra inputs are not permitted"),
    ],
)
def test_settings_without_meaning(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        WordLlamaEmbeddings(**settings)


def test_a_directory_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="is no static model"):
        WordLlamaEmbeddings(model=str(tmp_path))


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["a list"]])
def test_a_query_that_is_no_text(embeddings: WordLlamaEmbeddings, text: Any) -> None:
    with pytest.raises(ValueError, match=f"Text 0 is {type(text).__name__}, not str"):
        embeddings.embed_query(text)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "this is NoneType"),
        (3, "this is int"),
        ("one text", "embed_query takes one text"),
        (["a", None], "Text 1 is NoneType, not str"),
        (["a", "b", 3], "Text 2 is int, not str"),
    ],
)
def test_documents_that_are_no_texts(embeddings: WordLlamaEmbeddings, texts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embeddings.embed_documents(texts)


async def test_bad_input_is_the_same_in_async_calls(embeddings: WordLlamaEmbeddings) -> None:
    with pytest.raises(ValueError, match="Text 0 is NoneType, not str"):
        await embeddings.aembed_query(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Text 0 is int, not str"):
        await embeddings.aembed_documents([3])  # type: ignore[list-item]


async def test_no_texts_have_no_vectors(embeddings: WordLlamaEmbeddings) -> None:
    assert embeddings.embed_documents([]) == []
    assert await embeddings.aembed_documents([]) == []


def test_a_text_without_tokens_is_the_zero_vector(embeddings: WordLlamaEmbeddings) -> None:
    assert embeddings.embed_query("") == [0.0] * 256
    assert embeddings.embed_documents(["", "a cat"])[0] == [0.0] * 256


def test_whitespace_is_text_to_this_tokenizer(embeddings: WordLlamaEmbeddings) -> None:
    for text in (" ", "\n\t  \n"):
        assert np.linalg.norm(embeddings.embed_query(text)) == pytest.approx(1, rel=1e-6)


def test_10_megabytes_of_text(embeddings: WordLlamaEmbeddings) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * (10 * 2**20 // 45)
    query, document = embeddings.embed_query(text), embeddings.embed_documents([text])[0]
    assert query == document
    np.testing.assert_allclose(query, embeddings.embed_query(text[:45000]), rtol=0, atol=1e-3)

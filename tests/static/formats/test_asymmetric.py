"""Asymmetric models, which are Routers of sentence-transformers: their query side is read without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Router

from wordllama_st import StaticEncoder, static_model_from_pretrained
from wordllama_st.errors import ArgumentError, ModelLoadError
from wordllama_st.static.formats.sentence_transformers import ROUTER_FILE, SPACE_FILE
from wordllama_st.static.space import VectorSpace

MODEL = "wordllama-l2-supercat-64"
TEXTS = ["How do I reset my password?", "", "the wing in a slipstream"]


@pytest.fixture
def asymmetric(tmp_path: Path) -> Path:
    """Save a model whose documents go through the released table, and whose queries go through that table turned."""
    document, query = static_model_from_pretrained(MODEL), static_model_from_pretrained(MODEL)
    query[0].embedding.weight.data = query[0].embedding.weight.data.flip(1)
    router = Router.for_query_document(query_modules=[query[0], Normalize()], document_modules=[document[0]])
    model = SentenceTransformer(modules=[router], prompts={"query": "ask: ", "document": ""})
    model.save_pretrained(str(tmp_path / "model"))
    return tmp_path / "model"


def test_the_query_side_is_read(asymmetric: Path) -> None:
    encoder, stock = StaticEncoder.from_pretrained(asymmetric), SentenceTransformer(str(asymmetric))
    assert encoder.table.normalize
    assert encoder.table.asymmetric
    expected = stock.encode_query(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS, prompt_name="query"), expected, atol=1e-6)
    assert not np.allclose(expected, stock.encode_document(TEXTS))


def test_it_is_read_without_torch(asymmetric: Path) -> None:
    code = (
        "import sys; from wordllama_st import StaticEncoder; StaticEncoder.from_pretrained(sys.argv[1]).encode('a');"
        "assert not {'torch', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(asymmetric)], check=True)


@pytest.mark.parametrize("damage", ["{}", "[]", '{"structure": {"query": []}, "types": {}}', "no JSON"])
def test_a_damaged_router_is_named(asymmetric: Path, damage: str) -> None:
    (asymmetric / ROUTER_FILE).write_text(damage)
    with pytest.raises(ModelLoadError, match=ROUTER_FILE):
        StaticEncoder.from_pretrained(asymmetric)


def test_a_query_side_that_is_no_table_is_refused(asymmetric: Path) -> None:
    path = asymmetric / ROUTER_FILE
    config = json.loads(path.read_text())
    config["types"]["query_0_StaticEmbedding"] = "sentence_transformers.base.modules.transformer.Transformer"
    path.write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="is a transformer"):
        StaticEncoder.from_pretrained(asymmetric)
    config["types"]["query_0_StaticEmbedding"] = "sentence_transformers.models.StaticEmbedding"
    config["structure"]["query"][0] = "../query_0_StaticEmbedding"
    config["types"]["../query_0_StaticEmbedding"] = "sentence_transformers.models.StaticEmbedding"
    path.write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="outside the model's"):
        StaticEncoder.from_pretrained(asymmetric)


def test_the_space_of_an_index_is_kept_and_checked(tmp_path: Path) -> None:
    encoder = StaticEncoder.from_pretrained(MODEL)
    space = VectorSpace(64, 0.9, "an embedder")
    StaticEncoder(replace(encoder.table, space=space)).save_pretrained(tmp_path / "model")
    assert SentenceTransformer(str(tmp_path / "model")).encode("a").shape == (64,)
    adapted = StaticEncoder.from_pretrained(tmp_path / "model")
    assert adapted.table.space == space
    assert adapted.table.truncated(32).space is None  # truncated queries are of no index's space
    embeddings = adapted.encode([*TEXTS, *(f"the {number}th document" for number in range(8))])
    noise = np.random.default_rng(0).normal(size=embeddings.shape)
    space.check(embeddings, embeddings + 0.05 * noise)
    with pytest.raises(ArgumentError, match="of another space: the model embeds queries in the space of an embedder"):
        space.check(embeddings, noise)
    space.check(embeddings[:7], noise[:7])  # too few to tell
    with pytest.raises(ArgumentError, match="have 32 dimensions"):
        space.check(embeddings, embeddings[:, :32])


@pytest.mark.parametrize("damage", ["{}", "[]", '{"dim": 0, "cosine": 0.5}', '{"dim": 64, "cosine": NaN}'])
def test_a_damaged_space_is_named(tmp_path: Path, damage: str) -> None:
    StaticEncoder.from_pretrained(MODEL).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / SPACE_FILE).write_text(damage)
    with pytest.raises(ModelLoadError, match=SPACE_FILE):
        StaticEncoder.from_pretrained(tmp_path / "model")

"""Models that were adapted to an index, with the embedder of its documents.

Protects: queries are embedded by the table and documents by the embedder, in one space; an embedder or a store of
another space is refused; an asymmetric model brings its embedder along; fields that no longer fit are refused.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapted import EMBEDDER, SOURCE, OtherSpace, Unpicklable, docstrings, embedder
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.bridge.pydantic import ValidationError
from llama_index.core.schema import TextNode
from llama_index.embeddings.wordllama import WordLlamaEmbedding
from sentence_transformers import SentenceTransformer
from wordllama_st import StaticEncoder, adapt

TEXTS = ["Return the day of the week of a date.", "Parse arguments of the command line.", "Join paths."]
DIM = 32
README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="session")
def vectors() -> list[list[float]]:
    return embedder().get_text_embedding_batch(docstrings())


@pytest.fixture(scope="session")
def index(vectors: list[list[float]]) -> VectorStoreIndex:
    nodes = [TextNode(text=text, embedding=vector) for text, vector in zip(docstrings(), vectors, strict=True)]
    return VectorStoreIndex(nodes, embed_model=embedder())


@pytest.fixture(scope="session")
def adapted(vectors: list[list[float]], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("adapted") / "model"
    adapt(SOURCE, docstrings(), path, vectors=vectors, epochs=1, show_progress_bar=False)
    return str(path)


@pytest.fixture(scope="session")
def narrow(vectors: list[list[float]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of fewer dimensions, `query`, and the asymmetric model with it, `both`."""
    path = tmp_path_factory.mktemp("narrow")
    sides = {"teacher": EMBEDDER, "asymmetric": path / "both", "dim": DIM}
    adapt(SOURCE, docstrings(), path / "query", vectors=vectors, epochs=0.5, show_progress_bar=False, **sides)
    return path


def test_documents_go_through_the_embedder_and_queries_through_the_table(adapted: str) -> None:
    embedding = WordLlamaEmbedding(adapted, documents=embedder())
    expected = np.array(embedder().get_text_embedding_batch(TEXTS))
    np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(embedding.get_text_embedding(TEXTS[0]), expected[0], atol=1e-6)
    np.testing.assert_allclose(asyncio.run(embedding.aget_text_embedding_batch(TEXTS)), expected, atol=1e-6)
    np.testing.assert_allclose(asyncio.run(embedding.aget_text_embedding(TEXTS[0])), expected[0], atol=1e-6)
    assert embedding.get_query_embedding(TEXTS[0]) == WordLlamaEmbedding(adapted).get_query_embedding(TEXTS[0])
    assert embedding.get_text_embedding_batch([]) == []


def test_queries_search_an_index_as_it_is(adapted: str, index: VectorStoreIndex) -> None:
    embedding = WordLlamaEmbedding(adapted, documents=embedder())
    embedding.check_store(index)
    retriever = index.as_retriever(embed_model=embedding, similarity_top_k=10)
    text = docstrings()[3]
    assert text in {node.text for node in retriever.retrieve(text)}


def test_an_embedder_of_another_space_is_refused(adapted: str, index: VectorStoreIndex) -> None:
    embedding = WordLlamaEmbedding(adapted, documents=OtherSpace())
    for _ in range(2):  # and again: it was not checked
        with pytest.raises(ValueError, match="of another space"):
            embedding.get_text_embedding_batch(docstrings()[:10])
    with pytest.raises(ValueError, match="of another space"):
        asyncio.run(embedding.aget_text_embedding_batch(docstrings()[:10]))
    with pytest.raises(ValueError, match="have 256 dimensions"):
        WordLlamaEmbedding(adapted, documents=WordLlamaEmbedding()).get_text_embedding_batch(docstrings()[:10])
    for documents in (OtherSpace(), WordLlamaEmbedding()):
        nodes = [TextNode(text=text) for text in docstrings()[:20]]
        with pytest.raises(ValueError, match=r"of another space|have 256 dimensions"):
            WordLlamaEmbedding(adapted).check_store(VectorStoreIndex(nodes, embed_model=documents))


def test_the_first_texts_with_tokens_are_checked(adapted: str) -> None:
    embedding = WordLlamaEmbedding(adapted, documents=OtherSpace())
    assert len(embedding.get_text_embedding("")) == 384
    with pytest.raises(ValueError, match="of another space"):
        embedding.get_text_embedding_batch(docstrings()[:10])


def test_of_a_model_without_a_space_the_dim_is_checked(index: VectorStoreIndex) -> None:
    assert WordLlamaEmbedding(documents=MockEmbedding(256)).get_text_embedding("cats") == [0.5] * 256
    with pytest.raises(ValueError, match="have 384 dimensions, and the model's embeddings of queries 256"):
        WordLlamaEmbedding(documents=embedder()).get_text_embedding("cats")
    with pytest.raises(ValueError, match="have 384 dimensions, and the model's embeddings of queries 256"):
        WordLlamaEmbedding().check_store(index)


def test_vectors_are_projected_for_a_model_of_fewer_dimensions(narrow: Path, index: VectorStoreIndex) -> None:
    embedding = WordLlamaEmbedding(narrow / "query", documents=embedder())
    space = StaticEncoder.from_pretrained(narrow / "query").table.space
    assert space is not None
    expected = space.project(embedder().get_text_embedding_batch(TEXTS))
    np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), expected, atol=1e-6)
    assert len(embedding.get_query_embedding("cats")) == DIM
    nodes = [TextNode(text=text) for text in docstrings()[:20]]
    embedding.check_store(VectorStoreIndex(nodes, embed_model=embedding))
    with pytest.raises(ValueError, match="have 384 dimensions, and the model's embeddings of queries 32"):
        embedding.check_store(index)


def test_an_asymmetric_model_brings_its_embedder(narrow: Path) -> None:
    embedding = WordLlamaEmbedding(narrow / "both")
    stock = SentenceTransformer(str(narrow / "both"))
    np.testing.assert_allclose(embedding.get_query_embedding("cats"), stock.encode_query("cats"), atol=1e-6)
    expected = stock.encode_document(TEXTS)
    np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(asyncio.run(embedding.aget_text_embedding_batch(TEXTS)), expected, atol=1e-6)
    given = WordLlamaEmbedding(narrow / "both", documents=embedder())
    np.testing.assert_allclose(given.get_text_embedding_batch(TEXTS), expected, atol=1e-5)


def test_queries_of_an_asymmetric_model_need_no_torch(narrow: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['sentence_transformers'] = None\n"
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *a: None if name == 'sentence_transformers' else find(name, *a)\n"
        "import wordllama_st.errors\n"
        "wordllama_st.errors.find_spec = util.find_spec\n"
        "from llama_index.embeddings.wordllama import WordLlamaEmbedding\n"
        "embedding = WordLlamaEmbedding(sys.argv[1])\n"
        "print(len(embedding.get_query_embedding('cats')), 'torch' in sys.modules)\n"
        "try: embedding.get_text_embedding('cats')\n"
        "except ImportError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(narrow / "both")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert printed == [f"{DIM} False", 'This needs sentence-transformers: pip install "wordllama-st[st]"']


@pytest.mark.parametrize("fields", [{"dimensions": 16}, {"text_instruction": "passage: "}])
def test_fields_that_do_not_fit_are_refused(narrow: Path, fields: dict[str, int | str]) -> None:
    (name,) = fields
    for model, documents in ((narrow / "both", None), (narrow / "query", embedder())):
        with pytest.raises(ValidationError, match=f"{name} does not fit"):
            WordLlamaEmbedding(model, documents=documents, **fields)
    embedding = WordLlamaEmbedding(narrow / "both")
    embedding.text_instruction = "passage: "
    with pytest.raises(ValueError, match="text_instruction does not fit"):
        embedding.get_text_embedding("cats")


def test_copies_and_pickles_keep_the_embedder(adapted: str) -> None:
    documents = WordLlamaEmbedding(dimensions=64)
    original = WordLlamaEmbedding(SOURCE, documents=documents)
    vector = original.get_text_embedding("cats")
    changed = WordLlamaEmbedding(SOURCE).model_copy(update={"documents": documents})
    for other in (copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original)), changed):
        assert other.documents is not None
        assert other.documents.to_dict() == documents.to_dict()
        assert other.get_text_embedding("cats") == vector
    assert copy.copy(original) == original
    with pytest.raises(ValidationError, match="documents\n  Field is frozen"):
        original.documents = None
    with pytest.raises(TypeError, match="documents, a Unpicklable, cannot be pickled"):
        pickle.dumps(WordLlamaEmbedding(adapted, documents=Unpicklable()))


def test_dicts_hold_the_embedder() -> None:
    original = WordLlamaEmbedding(documents=MockEmbedding(256))
    data = original.to_dict()
    assert data["documents"]["class_name"] == "MockEmbedding"
    assert WordLlamaEmbedding.from_dict(data).to_dict() == data
    nested = WordLlamaEmbedding(SOURCE, documents=OtherSpace()).to_dict()
    with pytest.raises(ValidationError, match="Invalid Embedding name: OtherSpace"):
        WordLlamaEmbedding.from_dict(nested)  # the framework loads embeddings of its own alone


def test_the_readmes_lines_run(index: VectorStoreIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```py\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"index": index, "embedder": embedder()}
    exec(code.replace("vectors=vectors", "vectors=vectors, epochs=0.5"), names)
    assert len(names["retriever"].retrieve("cats")) == 2

"""Adaptation to an index: from documents and the vectors that an embedder gave them, to queries in their space."""

from __future__ import annotations

import json
import resource
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from texts import made_up_pairs
from tokenizers import Tokenizer

from wordllama_st import Codebook, StaticEncoder, adapt, finetune, static_model_from_pretrained
from wordllama_st.cli.main import main
from wordllama_st.data.corpus import StoredTexts, read_corpus
from wordllama_st.data.pseudo_queries import make_pseudo_queries
from wordllama_st.errors import ArgumentError, DatasetError, OutputError, OutputExistsError
from wordllama_st.modules.stock import static_modules
from wordllama_st.static.similarity import normalized
from wordllama_st.training.index import make_index
from wordllama_st.training.views import LONGEST_DOCUMENT, DocumentViews

EMBEDDER = "wordllama-l2-supercat-64"
DOCUMENTS = [first for first, _ in made_up_pairs(300)]
QUERIES = [second for _, second in made_up_pairs(300)]
TRAINING = {"epochs": 6, "batch_size": 64}


@pytest.fixture(scope="module")
def vectors() -> npt.NDArray[np.float32]:
    """The vectors of an index, by an embedder with another tokenizer than the codebook's."""
    return StaticEncoder.from_pretrained(EMBEDDER).encode(DOCUMENTS)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, vectors: npt.NDArray[np.float32]) -> Path:
    """A model that was adapted to them, from the released table cut to 32 dims."""
    codebook = Codebook.from_pretrained(EMBEDDER)
    codebook = Codebook(codebook.weight[:, :32], codebook.tokenizer)
    path = tmp_path_factory.mktemp("models") / "adapted"
    report = adapt(codebook, DOCUMENTS, path, vectors=vectors, **TRAINING).report
    assert (report.documents, report.held_out, report.vector_dim) == (300, 6, 64)
    assert report.cosine.after > 0.8
    assert [score.name for score in report.retrieval][:2] == ["BM25", "start"]
    assert "adapted queries, documents' vectors, with BM25" in str(report)
    assert json.loads(report.to_json())["retrieval"][0]["name"] == "BM25"
    return path


def recall(queries: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32]) -> float:
    """The share of queries whose document is among the ten nearest of 300."""
    scores = queries @ normalized(vectors).T
    return float(((scores > np.diagonal(scores)[:, None]).sum(axis=1) < 10).mean())


def test_queries_search_the_index_as_it_is(adapted: Path, vectors: npt.NDArray[np.float32]) -> None:
    encoder = StaticEncoder.from_pretrained(adapted)
    queries = encoder.encode(QUERIES)
    assert queries.shape == vectors.shape
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    assert recall(queries, vectors) > 0.9 * recall(StaticEncoder.from_pretrained(EMBEDDER).encode(QUERIES), vectors)
    np.testing.assert_allclose(SentenceTransformer(str(adapted)).encode(QUERIES), queries, atol=1e-5)


def test_a_store_of_another_space_is_refused(adapted: Path, vectors: npt.NDArray[np.float32]) -> None:
    encoder = StaticEncoder.from_pretrained(adapted)
    space = encoder.table.space
    assert space is not None
    assert space.dim == 64
    space.check(encoder.encode(DOCUMENTS[:20]), vectors[:20] * 3)  # directions count
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))[0]
    with pytest.raises(ArgumentError, match="of another space"):
        space.check(encoder.encode(DOCUMENTS[:20]), vectors[:20] @ turned)


def test_a_dim_is_learned_of_projected_vectors(tmp_path: Path, codebook: Codebook, vectors: npt.NDArray) -> None:
    adapt(codebook, DOCUMENTS, tmp_path / "cut", vectors=vectors, dim=16, **TRAINING)
    encoder = StaticEncoder.from_pretrained(tmp_path / "cut")
    assert encoder.dim == 16
    space = encoder.table.space
    assert space is not None
    projected = space.project(vectors)
    assert projected.shape == (300, 16)
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-5)
    space.check(encoder.encode(DOCUMENTS), vectors)
    with pytest.raises(ArgumentError, match="have 32 dimensions"):
        space.project(vectors[:, :32])


def test_an_asymmetric_model_routes_queries_to_the_table(tmp_path: Path, codebook: Codebook) -> None:
    teacher = static_model_from_pretrained(EMBEDDER)
    teacher.prompts = {"document": "passage: ", "query": "question: "}
    log = ["where the falcon hides"]
    for name, dim in (("own", None), ("cut", 16)):
        result = adapt(
            codebook,
            DOCUMENTS,
            tmp_path / name,
            teacher=teacher,
            queries=log,
            asymmetric=tmp_path / f"{name}-pair",
            dim=dim,
            **TRAINING,
        )
        assert result.report.teacher_texts > 300
        pair = SentenceTransformer(str(tmp_path / f"{name}-pair"))
        query_side = StaticEncoder.from_pretrained(tmp_path / f"{name}-pair")
        np.testing.assert_allclose(pair.encode_query(QUERIES), query_side.encode(QUERIES), atol=1e-5)
        assert query_side.table.space is not None
        documents = query_side.table.space.project(teacher.encode_document(DOCUMENTS))
        expected = documents if dim else teacher.encode_document(DOCUMENTS)
        np.testing.assert_allclose(pair.encode_document(DOCUMENTS), expected, atol=1e-5)
    kept = {path.parent.name.split("-")[0] for path in (tmp_path / "own-teacher").rglob("*.safetensors")}
    assert kept == {"document", "query"}


def test_what_a_kill_left_of_the_second_output_is_removed_though_the_first_is_there(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "modules.json").touch()
    (tmp_path / ".pair.abcdefgh.partial").mkdir()
    with pytest.raises(OutputExistsError, match="own already exists"):
        adapt(EMBEDDER, DOCUMENTS, tmp_path / "own", teacher=EMBEDDER, asymmetric=tmp_path / "pair")
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_components_without_room_are_one_error(vectors: npt.NDArray[np.float32]) -> None:
    """As on a full disk of temporary files, where writing into a mapping would end the process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=rf"^{tempfile.gettempdir()} cannot be written: .* Make room"):
            make_index(DOCUMENTS, vectors, dim=16, hold_out=0.1, seed=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(("dim", "learned"), [(300, 300), (511, 511), (512, 256)])
def test_every_axis_is_learned_unless_a_part_makes_a_smaller_model(dim: int, learned: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(len(DOCUMENTS), dim))
    assert make_index(DOCUMENTS, vectors, dim=None, hold_out=0.1, seed=0).components.shape == (300, learned)


def test_vectors_of_many_dimensions_make_two_factors(tmp_path: Path) -> None:
    """The space is the released model's, of 64 dims, turned into 1,024; 256 of these are learned."""
    table = StaticEncoder.from_pretrained(EMBEDDER).table.plain()
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(1024, 64)))[0].T.astype(np.float32)
    teacher = SentenceTransformer(modules=static_modules(replace(table, projection=axes).multiplied()))
    model = adapt(
        EMBEDDER, DOCUMENTS, tmp_path / "queries", teacher=teacher, asymmetric=tmp_path / "pair", **TRAINING
    ).model
    vectors = teacher.encode_document(DOCUMENTS)
    for name in ("queries", "pair"):
        encoder = StaticEncoder.from_pretrained(tmp_path / name)
        assert encoder.table.weight.shape == (table.num_tokens, 256)
        assert encoder.table.projection is not None
        assert encoder.dim == 1024
        assert encoder.table.space is not None
        encoder.table.space.check(encoder.encode(DOCUMENTS), vectors)
        queries = encoder.encode(QUERIES)
        assert recall(queries, vectors) > 0.9 * recall(teacher.encode(QUERIES), vectors)
        stock = SentenceTransformer(str(tmp_path / name)).encode_query(QUERIES)
        np.testing.assert_allclose(stock, queries, atol=1e-6)
        np.testing.assert_allclose(model.encode(QUERIES), queries, atol=1e-6)
    pair = SentenceTransformer(str(tmp_path / "pair"))
    np.testing.assert_allclose(pair.encode_document(DOCUMENTS), vectors, atol=1e-6)


def test_files_with_vectors_are_read(tmp_path: Path, vectors: npt.NDArray[np.float32]) -> None:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 64)
    pq.write_table(pa.table({"_id": DOCUMENTS, "body": DOCUMENTS, "vector": lists}), tmp_path / "index.parquet")
    rows = [{"title": "", "text": text, "vector": row.tolist()} for text, row in zip(DOCUMENTS, vectors, strict=True)]
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("index.parquet", "index.jsonl"):
        corpus = read_corpus(tmp_path / name, vectors_column="vector")
        assert list(corpus.texts) == DOCUMENTS
        np.testing.assert_allclose(corpus.vectors, vectors)
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "title": "A", "text": "b"}\n{"_id": "2", "text": ""}\n')
    assert list(read_corpus(tmp_path).texts) == ["A b", ""]
    for wrong, message in (
        ({"vectors_column": "none"}, "has no column 'none'"),
        ({"vectors_column": "body"}, "is string"),
        ({"text_column": "vector"}, "no column of texts 'vector'"),
    ):
        with pytest.raises(DatasetError, match=message):
            read_corpus(tmp_path / "index.parquet", **wrong)
    (tmp_path / "texts.txt").write_text("a\nb\n")
    with pytest.raises(DatasetError, match="has no columns"):
        read_corpus(tmp_path / "texts.txt", vectors_column="vector")


@given(texts=st.lists(st.text()))
def test_stored_texts_are_a_list_of_them(texts: list[str]) -> None:
    stored = StoredTexts(texts)
    assert list(stored) == texts
    assert stored[1:-1] == texts[1:-1]
    assert [stored[-1 - number] for number in range(len(texts))] == texts[::-1]
    with pytest.raises(IndexError):
        stored[len(texts)]


def test_the_command(tmp_path: Path, vectors: npt.NDArray, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(DOCUMENTS))
    (tmp_path / "scored.tsv").write_text(
        "score\ta\tb\n" + "\n".join(f"{i % 5}\t{DOCUMENTS[i]}\t{QUERIES[i]}" for i in range(30))
    )
    np.save(tmp_path / "vectors.npy", vectors)
    arguments = ["adapt", EMBEDDER, str(tmp_path / "texts.txt"), "--out", str(tmp_path / "model"), "--epochs", "1"]
    similarity = ["--similarity", str(tmp_path / "scored.tsv"), "--batch-size", "64"]
    assert main([*arguments, "--vectors", str(tmp_path / "vectors.npy"), *similarity]) == 0
    printed = capsys.readouterr().out
    assert "Documents   300, 6 of them held out" in printed
    assert "Spearman, " in printed
    assert main([*arguments, "--vectors", str(tmp_path / "vectors.npy")]) == 1
    assert "already exists" in capsys.readouterr().err


def test_finetune_trains_queries_against_fixed_vectors(
    adapted: Path, vectors: npt.NDArray[np.float32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"query": text, "vector": row.tolist()} for text, row in zip(QUERIES, vectors, strict=True)]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = [
        str(adapted),
        str(tmp_path / "labels.jsonl"),
        "--vectors-column",
        "vector",
        "--out",
        str(tmp_path / "to"),
    ]
    assert main(["finetune", *arguments, "--batch-size", "32"]) == 0
    printed = capsys.readouterr().out
    assert "300 queries with vectors (vector)" in printed
    assert "Held out for evaluation: 30 rows" in printed
    before, after = (StaticEncoder.from_pretrained(path) for path in (adapted, tmp_path / "to"))
    assert after.table.space == before.table.space  # it still embeds queries in the space of the index
    unit = normalized(vectors)
    assert (after.encode(QUERIES) * unit).sum(axis=1).mean() > (before.encode(QUERIES) * unit).sum(axis=1).mean()
    assert main(["finetune", *arguments, "--binary", "--overwrite"]) == 1
    assert "--binary does not go with --vectors-column" in capsys.readouterr().err
    with pytest.raises(ArgumentError, match="of 64 dimensions, and the model's have 256"):
        finetune("wordllama-l2-supercat-256", tmp_path / "labels.jsonl", vectors_column="vector")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:-1], "300 documents and 299 vectors"),
        (lambda v: v[:, 0], "not numbers"),
        (lambda v: np.where(np.arange(300)[:, None] == 7, np.nan, v), "document 8 is zero or not finite"),
        (lambda v: np.where(np.arange(300)[:, None] == 7, 0, v), "document 8 is zero or not finite"),
        (lambda v: np.ones_like(v), "all alike"),
    ],
)
def test_bad_vectors_are_refused(codebook: Codebook, vectors: npt.NDArray, change: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        adapt(codebook, DOCUMENTS, vectors=change(vectors))  # type: ignore[operator]


def test_bad_arguments_are_refused(codebook: Codebook, vectors: npt.NDArray, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There are 1 different documents among 300"):
        adapt(codebook, ["the same"] * 300, vectors=vectors)
    with pytest.raises(ArgumentError, match="--dim is for vectors of the documents"):
        adapt(EMBEDDER, tmp_path, dim=16)
    with pytest.raises(ArgumentError, match="--asymmetric is for a teacher"):
        adapt(codebook, DOCUMENTS, vectors=vectors, asymmetric=tmp_path / "pair")
    with pytest.raises(ArgumentError, match="--stay-close is for structure"):
        adapt(codebook, DOCUMENTS, vectors=vectors, stay_close=1.0)
    teacher = static_model_from_pretrained(EMBEDDER)
    with pytest.raises(ArgumentError, match="not the teacher's"):
        adapt(codebook, DOCUMENTS, vectors=vectors[::-1], teacher=teacher)
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "mine.txt").write_text("")
    with pytest.raises(OutputExistsError):
        adapt(codebook, DOCUMENTS, tmp_path / "a", teacher=teacher, asymmetric=tmp_path / "pair")
    assert not (tmp_path / "a").exists()


def test_empty_and_repeated_documents_are_left_out(codebook: Codebook, vectors: npt.NDArray) -> None:
    texts = [*DOCUMENTS, "", " \n", *DOCUMENTS[:10]]
    report = adapt(codebook, texts, vectors=vectors[np.arange(312) % 300], epochs=1).report
    assert (report.documents, report.left_out) == (300, 12)


WORDS = st.lists(st.sampled_from(["a", "Llama's", "naïve", "naps", "near", "the", "x1"]), max_size=30)


@given(st.lists(WORDS, min_size=1, max_size=6), st.integers(0, 9))
def test_views_are_parts_of_their_documents(tokenizer: Tokenizer, documents: list[list[str]], seed: int) -> None:
    """For every text: whole views have all of its tokens, thinned ones some words, spans 3 to 8 words in a row."""
    views = DocumentViews(tokenizer, [" ".join(words) for words in documents], ["further"], seed=seed)
    assert len(views.rows) == 3 * sum(map(bool, documents)) + 1
    batch = views.batch(views.rows)
    ends = [*batch["offsets"].tolist()[1:], len(batch["input_ids"])]
    drawn = [batch["input_ids"].tolist()[a:z] for a, z in zip(batch["offsets"].tolist(), ends, strict=True)]
    for row, ids in zip(views.rows, drawn, strict=True):
        source = int(views.sources(np.array([row]))[0])
        if source == len(documents):
            assert tokenizer.decode(ids) == "further"
            continue
        words, found = documents[source], tokenizer.decode(ids).split()
        if row % 3 == 0:
            assert found == words
        elif row % 3 == 1:
            remaining = iter(words)
            assert found
            assert all(word in remaining for word in found)
        else:
            assert min(3, len(words)) <= len(found) <= 8
            assert any(words[i : i + len(found)] == found for i in range(len(words)))


def test_views_cut_long_documents_and_leave_out_those_held_out(tokenizer: Tokenizer) -> None:
    views = DocumentViews(tokenizer, ["a " * 5000, "b", "c d"], held_out=[1])
    assert views.rows.tolist() == [0, 1, 2, 6, 7, 8]
    assert DocumentViews(tokenizer, ["a", "b"], ["c"], spans=False).rows.tolist() == [0, 1, 3, 4, 6]
    assert len(views.batch([0])["input_ids"]) == LONGEST_DOCUMENT


def test_pseudo_queries_are_parts_of_documents() -> None:
    found = make_pseudo_queries(DOCUMENTS[:20])
    assert len(set(found)) == len(found) >= 40
    assert all(any(query in document for document in DOCUMENTS[:20]) for query in found)

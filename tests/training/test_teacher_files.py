"""A teacher's embeddings of collections: from files to the Parquet files that distillation reads.

Protects: the embeddings are the teacher's, whatever processes compute them; a run that was stopped is taken up; and
another teacher, prompt or device is one line. The teacher is a small embedder that is trained nowhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sentence_transformers import SentenceTransformer
from texts import made_up_pairs

from wordllama_st import embed_with_teacher, static_model_from_pretrained
from wordllama_st.cli.main import main
from wordllama_st.errors import ArgumentError, OutputError, OutputExistsError
from wordllama_st.recipes import teacher as recipe

TEXTS = [text for pair in made_up_pairs(130) for text in pair]
PART = 100


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "TEXTS_PER_FILE", PART)


@pytest.fixture(scope="module")
def teacher() -> SentenceTransformer:
    model = static_model_from_pretrained("wordllama-l2-supercat-64")
    model.prompts = {"passage": "a passage: "}
    return model


@pytest.fixture
def source(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"id": range(len(TEXTS) + 1), "text": [*TEXTS, None]}), tmp_path / "texts.parquet")
    return tmp_path / "texts.parquet"


def read(out: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(out.glob("part-*.parquet")))


def vectors(out: Path) -> np.ndarray:
    return np.array([row for row in read(out).column("embedding").to_pylist() if row is not None])


def test_embeddings_are_the_teachers_of_unit_length(source: Path, teacher: SentenceTransformer, tmp_path: Path) -> None:
    report = embed_with_teacher(teacher, source, tmp_path / "out", prompt_name="passage", dim=32)
    assert (report.rows, report.null_texts, report.parts) == (len(TEXTS) + 1, 1, 3)
    table = read(tmp_path / "out")
    assert table.column_names == ["id", "text", "embedding"]
    assert table.column("text").to_pylist() == [*TEXTS, None]
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), 32)
    own = teacher.encode(TEXTS, prompt_name="passage", truncate_dim=32, normalize_embeddings=True)
    np.testing.assert_allclose(vectors(tmp_path / "out"), own, atol=1e-3)


def test_processes_share_the_texts_and_the_cores(source: Path, teacher: SentenceTransformer, tmp_path: Path) -> None:
    embed_with_teacher(teacher, source, tmp_path / "one", precision="float32")
    embed_with_teacher(teacher, source, tmp_path / "two", precision="float32", devices=["cpu", "cpu"])
    np.testing.assert_allclose(vectors(tmp_path / "one"), vectors(tmp_path / "two"), atol=1e-6)


def test_a_run_that_failed_is_taken_up(source: Path, teacher: SentenceTransformer, tmp_path: Path) -> None:
    class ShortOfMemory(SentenceTransformer):
        calls = 0

        def encode(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            ShortOfMemory.calls += 1
            if ShortOfMemory.calls == 2:
                raise RuntimeError("out of memory\nby much")
            return super().encode(*args, **kwargs)

    model = ShortOfMemory(modules=list(teacher), similarity_fn_name="cosine")
    with pytest.raises(OutputError, match="The teacher failed: out of memory"):
        embed_with_teacher(model, source, tmp_path / "out")
    # The first part is there; the third only where it was on its way before the error was seen.
    assert embed_with_teacher(model, source, tmp_path / "out", batch_size=8).found in (1, 2)
    embed_with_teacher(model, source, tmp_path / "at once")
    assert (vectors(tmp_path / "out") == vectors(tmp_path / "at once")).all()


def test_what_does_not_fit_is_refused(
    source: Path, teacher: SentenceTransformer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ArgumentError, match="no prompt 'query'; it has passage"):
        embed_with_teacher(teacher, source, out, prompt_name="query")
    with pytest.raises(ArgumentError, match="cannot be truncated to 65"):
        embed_with_teacher(teacher, source, out, dim=65)
    with pytest.raises(ArgumentError, match="The device 'gpu:0' cannot be used"):
        embed_with_teacher(teacher, source, out, devices=["gpu:0"])
    with pytest.raises(ArgumentError, match="by manhattan"):
        embed_with_teacher(SentenceTransformer(modules=list(teacher), similarity_fn_name="manhattan"), source, out)
    assert not out.exists()
    teacher.save(str(tmp_path / "saved"), create_model_card=False)
    command = ["teacher", str(tmp_path / "saved"), str(source), "--out", str(out), "--json", str(tmp_path / "r.json")]
    assert main(command) == 0
    assert "Rows        261, 1 of them without a text" in capsys.readouterr().out
    with pytest.raises(OutputExistsError, match="another run: model_sha256 differ"):
        embed_with_teacher(static_model_from_pretrained("wordllama-l2-supercat-128"), source, out)
    with pytest.raises(OutputExistsError, match="another run: prompt differ"):
        embed_with_teacher(teacher, source, out, prompt_name="passage")

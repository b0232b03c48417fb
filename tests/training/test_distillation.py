"""Distillation: the teacher's vectors are computed once and never mixed up, and a student comes nearer to them.

The teacher is a real SentenceTransformer: the embedded released model, which needs no network.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from texts import made_up_pairs

from wordllama_st import Binarize, Codebook, bake, build_model
from wordllama_st.errors import ArgumentError, ModelLoadError
from wordllama_st.training import teacher
from wordllama_st.training.distillation import initialize_by_least_squares, pca_rotate, train_distillation
from wordllama_st.training.losses import DistillationLoss
from wordllama_st.training.static_model import static_model_from_pretrained
from wordllama_st.training.teacher import check_teacher, teacher_embeddings

TEXTS = [text for pair in made_up_pairs(300) for text in pair]


@pytest.fixture(scope="module")
def released() -> SentenceTransformer:
    return static_model_from_pretrained("wordllama-l2-supercat-64")


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "TEXTS_PER_FILE", 128)


def cosines(model: SentenceTransformer, vectors: np.ndarray) -> float:
    encoded = torch.from_numpy(model.encode(TEXTS)).float()
    return float(torch.cosine_similarity(encoded, torch.from_numpy(vectors[:, : encoded.shape[1]]).float()).mean())


def test_vectors_are_the_teachers_and_are_computed_once(released: SentenceTransformer, tmp_path: Path) -> None:
    vectors = teacher_embeddings(released, TEXTS, tmp_path / "cache")
    assert vectors == pytest.approx(released.encode(TEXTS, normalize_embeddings=True), abs=1e-3)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert (teacher_embeddings(released, TEXTS, tmp_path / "cache") == vectors).all()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == written


def test_an_interrupted_run_goes_on_where_it_stopped(released: SentenceTransformer, tmp_path: Path) -> None:
    class Interrupted(SentenceTransformer):
        calls = 0

        def encode(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            Interrupted.calls += 1
            if Interrupted.calls == 3:
                raise KeyboardInterrupt
            return super().encode(*args, **kwargs)

    model = Interrupted(modules=list(released), similarity_fn_name="cosine")
    with pytest.raises(KeyboardInterrupt):
        teacher_embeddings(model, TEXTS, tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    vectors = teacher_embeddings(model, TEXTS, tmp_path)
    assert Interrupted.calls == 3 + 3  # of five files, the last three
    assert (vectors == teacher_embeddings(released, TEXTS, tmp_path / "at once")).all()


def test_a_cache_of_something_else_is_refused(released: SentenceTransformer, tmp_path: Path) -> None:
    teacher_embeddings(released, TEXTS, tmp_path / "cache")
    with pytest.raises(ArgumentError, match="another texts"):
        teacher_embeddings(released, TEXTS[::-1], tmp_path / "cache")
    with pytest.raises(ArgumentError, match="another teacher"):
        teacher_embeddings(static_model_from_pretrained("wordllama-l2-supercat-128"), TEXTS, tmp_path / "cache")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").touch()
    with pytest.raises(ArgumentError, match="something else"):
        teacher_embeddings(released, TEXTS, tmp_path / "letters")
    with pytest.raises(ArgumentError, match="is a file"):
        teacher_embeddings(released, TEXTS, tmp_path / "letters" / "dear.txt")


def test_a_cache_whose_first_run_was_killed_is_taken_up(released: SentenceTransformer, tmp_path: Path) -> None:
    (tmp_path / ".teacher.json.abcdefgh.partial").mkdir()
    teacher_embeddings(released, TEXTS, tmp_path)
    (tmp_path / ".vectors-00000.safetensors.abcdefgh.partial").mkdir()
    teacher_embeddings(released, TEXTS, tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_damage_is_named(released: SentenceTransformer, tmp_path: Path) -> None:
    teacher_embeddings(released, TEXTS, tmp_path / "whole")
    for name, content in (("vectors-00001.safetensors", b"cut"), ("teacher.json", b"{")):
        cache = tmp_path / name
        shutil.copytree(tmp_path / "whole", cache)
        (cache / name).write_bytes(content)
        with pytest.raises(ModelLoadError, match=name):
            teacher_embeddings(released, TEXTS, cache)
    assert load_file(tmp_path / "whole" / "vectors-00001.safetensors")["vectors"].dtype == np.float16
    assert json.loads((tmp_path / "whole" / "teacher.json").read_text())["count"] == len(TEXTS)


def test_a_teacher_of_another_similarity_is_refused(released: SentenceTransformer) -> None:
    for similarity in ("dot", "euclidean", "manhattan"):
        other = SentenceTransformer(modules=list(released), similarity_fn_name=similarity)
        with pytest.raises(ArgumentError, match=similarity):
            check_teacher(other)
    check_teacher(released)


def test_rotation_keeps_cosines_and_puts_what_matters_first(released: SentenceTransformer) -> None:
    vectors = released.encode(TEXTS, normalize_embeddings=True)
    turned = pca_rotate(vectors).astype(np.float32)
    assert turned @ turned.T == pytest.approx(vectors @ vectors.T, abs=5e-3)
    energy = np.square(turned).sum(axis=0)
    assert (np.diff(energy) <= 1e-2 * energy[0]).all()


@pytest.mark.parametrize("static", [False, True], ids=["projection", "every row"])
def test_a_student_comes_nearer_to_its_teacher(
    static: bool, released: SentenceTransformer, codebook: Codebook, tmp_path: Path
) -> None:
    vectors = pca_rotate(teacher_embeddings(released, TEXTS, tmp_path))
    model = build_model(codebook, dim=16, token_weights="corpus", corpus=TEXTS)
    untrained = cosines(model, vectors)
    initialize_by_least_squares(model, TEXTS, vectors)
    start = cosines(model, vectors)
    assert start > untrained + 0.1
    student = bake(model) if static else model
    train_distillation(student, TEXTS, vectors, epochs=4, show_progress_bar=False)
    trained = cosines(student, vectors)
    assert trained > start + (0.05 if static else 0.0)


def test_the_loss_is_nothing_for_a_student_that_is_the_teacher(released: SentenceTransformer) -> None:
    """And is more for any other, at a dim below all too, where it is held against the teacher's whole vectors."""
    vectors = released.encode(TEXTS[:32], normalize_embeddings=True)
    features = [released.preprocess(TEXTS[:32])]
    own, other = torch.arange(32), torch.arange(32).roll(1)

    def loss(dims: list[int], labels: torch.Tensor) -> float:
        return DistillationLoss(released, vectors, dims)(features, labels).item()

    assert loss([64], own) == pytest.approx(0, abs=1e-4)
    assert loss([64], other) > 0.01
    assert loss([64, 4], own) > 1e-3


def test_what_does_not_fit_is_refused(codebook: Codebook) -> None:
    model = build_model(codebook, dim=16)
    with pytest.raises(ArgumentError, match="3 texts"):
        train_distillation(model, TEXTS[:3], np.ones((2, 16), np.float16))
    with pytest.raises(ArgumentError, match="dim=8"):
        train_distillation(model, TEXTS[:2], np.ones((2, 8), np.float16))
    with pytest.raises(ArgumentError, match="cannot be trained at 32"):
        train_distillation(model, TEXTS[:2], np.ones((2, 16), np.float16), dims=[32])
    with pytest.raises(ArgumentError, match="linear Projection"):
        initialize_by_least_squares(bake(model), TEXTS[:2], np.ones((2, 16), np.float16))


def test_a_batch_larger_than_all_texts_is_all_texts(released: SentenceTransformer) -> None:
    vectors = pca_rotate(released.encode(TEXTS[:50], normalize_embeddings=True))
    student = static_model_from_pretrained("wordllama-l2-supercat-64")
    start = student.encode(TEXTS[:50])
    train_distillation(student, TEXTS[:50], vectors, epochs=1, batch_size=1024, show_progress_bar=False)
    assert not np.allclose(student.encode(TEXTS[:50]), start)


def test_signs_are_trained_straight_through(released: SentenceTransformer, codebook: Codebook, tmp_path: Path) -> None:
    vectors = pca_rotate(teacher_embeddings(released, TEXTS, tmp_path))
    model = build_model(codebook, dim=16, token_weights="corpus", corpus=TEXTS)
    initialize_by_least_squares(model, TEXTS, vectors)
    student = bake(model)
    student.append(Binarize())
    before = cosines(student, vectors)
    train_distillation(student, TEXTS, vectors, epochs=4, batch_size=128, show_progress_bar=False)
    assert cosines(student, vectors) > before + 0.02

"""Checkpoint directories: a run goes on from what is whole, in its own directory, and from nothing else.

What they protect: a second run in one process is the same run; checkpoints of a run from other starting weights are
refused; and a checkpoint with a file cut short, by a kill or a full disk, costs one checkpoint and not the run.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer

from wordllama_st import Codebook, build_model, train
from wordllama_st.data.datasets import Kind, TrainingData
from wordllama_st.errors import OutputError, TrainingError
from wordllama_st.training.checkpoints import last_complete_checkpoint, sole_run
from wordllama_st.training.supervised import train_supervised


def run(model: SentenceTransformer, pairs: Dataset, directory: Path, epochs: int = 4) -> dict[str, torch.Tensor]:
    """A step in each epoch, with a checkpoint after it; the weights at the end."""
    data = TrainingData(pairs, Kind.PAIRS, "pairs")
    options: dict[str, Any] = {"batch_size": 64, "show_progress_bar": False, "save_steps": 1}
    train_supervised(model, data, epochs=epochs, checkpoint_dir=directory, **options)
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_dataset_is_as_it_was_and_a_second_run_in_the_process_goes_on(
    codebook: Codebook, pairs: Dataset, tmp_path: Path
) -> None:
    before = pairs[:2]
    first = run(build_model(codebook, dim=8), pairs, tmp_path, epochs=1)
    assert pairs[:2] == before
    assert same(run(build_model(codebook, dim=8), pairs, tmp_path, epochs=1), first)


def test_checkpoints_of_another_start_are_refused(codebook: Codebook, pairs: Dataset, tmp_path: Path) -> None:
    run(build_model(codebook, dim=8), pairs, tmp_path, epochs=1)
    others: list[dict[str, Any]] = [{"initialize": "random"}, {"token_weights": "stopwords"}, {"token_weights": "rank"}]
    for other in others:
        with pytest.raises(TrainingError, match="a run with another start"):
            run(build_model(codebook, dim=8, **other), pairs, tmp_path, epochs=1)


def test_the_same_start_with_other_roundings_goes_on(codebook: Codebook, pairs: Dataset, tmp_path: Path) -> None:
    """Principal components differ in their last digits with the number of threads."""
    first = run(build_model(codebook, dim=8), pairs, tmp_path, epochs=1)
    rounded = build_model(codebook, dim=8)
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.mul_(1 + 1e-3 * torch.rand(parameter.shape, generator=torch.Generator().manual_seed(0)))
    assert same(run(rounded, pairs, tmp_path, epochs=1), first)


def test_two_processes_do_not_share_a_directory(codebook: Codebook, pairs: Dataset, tmp_path: Path) -> None:
    run(build_model(codebook, dim=8), pairs, tmp_path, epochs=1)
    with sole_run(tmp_path), pytest.raises(TrainingError, match="Another process keeps its checkpoints in"):
        run(build_model(codebook, dim=8), pairs, tmp_path, epochs=1)
    run(build_model(codebook, dim=8), pairs, tmp_path, epochs=1)


@pytest.mark.parametrize("size", [100, 5_000, 12_000, 20_000])
def test_a_checkpoint_without_room_is_one_error(size: int, codebook: Codebook, pairs: Dataset, tmp_path: Path) -> None:
    """As on a full disk: of the model's files, the tokenizer's, or one of torch's."""
    expected = run(build_model(codebook, dim=8), pairs, tmp_path / "undisturbed", epochs=2)
    model = build_model(codebook, dim=8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OutputError, match=rf"{tmp_path}.* cannot be written: .* Make room"):
            run(model, pairs, tmp_path / "run", epochs=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert same(run(build_model(codebook, dim=8), pairs, tmp_path / "run", epochs=2), expected)


def test_a_random_start_follows_from_the_seed(codebook: Codebook, pairs: Dataset, tmp_path: Path) -> None:
    """Else a run from one could not be resumed by the same call."""
    options: dict[str, Any] = {"dim": 8, "initialize": "random", "epochs": 1, "batch_size": 16, "hold_out": 0}
    first, again = (train(codebook, pairs, checkpoint_dir=tmp_path, **options) for _ in range(2))
    assert same(first.model.state_dict(), again.model.state_dict())
    with pytest.raises(TrainingError, match="another seed"):
        train(codebook, pairs, checkpoint_dir=tmp_path, seed=1, **options)


def test_a_file_that_was_cut_short_costs_one_checkpoint(codebook: Codebook, pairs: Dataset, tmp_path: Path) -> None:
    whole = run(build_model(codebook, dim=8), pairs, tmp_path)
    last, before = (tmp_path / f"checkpoint-{step}" for step in (4, 3))
    names = ["trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "2_Projection/model.safetensors"]
    contents = {name: (last / name).read_bytes() for name in names}
    for name, content in contents.items():
        for size in (len(content) - 2, len(content) // 2, 0):
            (last / name).write_bytes(content[:size])
            assert last_complete_checkpoint(tmp_path) == before, (name, size)
        (last / name).write_text("[" * 100_000)  # no JSON reader gets to its end
        assert last_complete_checkpoint(tmp_path) == before, name
        (last / name).write_bytes(content)
        assert last_complete_checkpoint(tmp_path) == last
    for name, content in contents.items():
        (last / name).write_bytes(content[: len(content) // 2])
    assert same(run(build_model(codebook, dim=8), pairs, tmp_path), whole)
    assert last_complete_checkpoint(tmp_path) == last

"""Training in two processes, started by torchrun, is training in one with the double batch.

What is protected: the loss curve and the weights, for each loss; that each file is written once; and that a run goes on
with another number of processes, or is refused in one line.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import several_processes
import torch
from safetensors.torch import load_file
from texts import made_up_pairs

from wordllama_st import Codebook, static_model_from_pretrained, train
from wordllama_st.errors import TrainingError

ROWS = 16
TOLERANCE = 1e-4


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in two processes of one thread."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [*launcher, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def write_csv(path: Path, header: list[str], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def folder(codebook: Codebook, tmp_path: Path) -> Path:
    """Data whose rows fill whole batches: in several processes, one that is not full is left out."""
    codebook.save(tmp_path / "codebook")
    write_csv(tmp_path / "pairs.csv", ["anchor", "positive"], made_up_pairs(10 * 2 * ROWS, seed=1))
    scored = [(*pair, number % 7) for number, pair in enumerate(made_up_pairs(4 * 2 * ROWS, seed=2))]
    write_csv(tmp_path / "scored.csv", ["first", "second", "score"], scored)
    (tmp_path / "texts.txt").write_text("\n".join(text for pair in made_up_pairs(100, seed=3) for text in pair))
    queries, documents = zip(*made_up_pairs(2 * 2 * ROWS, seed=4), strict=True)
    released = static_model_from_pretrained(several_processes.RELEASED)
    released.save_pretrained(str(tmp_path / "teacher"))
    vectors = released.encode(list(documents)).tolist()
    rows = [{"query": query, "vector": vector} for query, vector in zip(queries, vectors, strict=True)]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_two_processes_train_as_one_with_the_double_batch(folder: Path) -> None:
    one, two = folder / "one", folder / "two"
    done = torchrun(several_processes.__file__, folder, two, ROWS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Saved") == done.stdout.count("report.json") == 1
    assert several_processes.run(folder, one, 2 * ROWS) == 0

    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    assert [path.name for path in (two / "checkpoints").glob("checkpoint-*")] == ["checkpoint-24"]
    weights = [path.relative_to(one) for path in one.rglob("*.safetensors")]
    assert {path.parts[0] for path in weights} >= {"mixed", "queries", "distilled", "trained", "checkpoints"}
    for path in weights:
        ours, theirs = load_file(one / path), load_file(two / path)
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(theirs[name], ours[name], atol=TOLERANCE, rtol=0, msg=f"{path}, {name}")
    assert loss_curve(two) == pytest.approx(loss_curve(one), abs=TOLERANCE)
    ours, theirs = (json.loads((out / "report.json").read_text())["scores"] for out in (one, two))
    assert theirs == ours

    # The checkpoints are of batches of 32 rows, however many processes share them.
    again = {"dim": 16, "hold_out": 0.2, "checkpoint_dir": two / "checkpoints", "show_progress_bar": False}
    train(folder / "codebook", folder / "pairs.csv", batch_size=2 * ROWS, **again)
    with pytest.raises(TrainingError, match="another batch size"):
        train(folder / "codebook", folder / "pairs.csv", batch_size=ROWS, **again)


def loss_curve(out: Path) -> dict[int, float]:
    """The loss by step."""
    (state,) = out.glob("checkpoints/checkpoint-*/trainer_state.json")
    return {entry["step"]: entry["loss"] for entry in json.loads(state.read_text())["log_history"] if "loss" in entry}

"""The report: its tables, its JSON, its plots, and the cards of models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation_tasks import SMALL, labelled, retrieval, similarity, stock
from huggingface_hub import EvalResult, ModelCard

from wordllama_st import Codebook, StaticEncoder, bake, build_model, evaluate
from wordllama_st.errors import ArgumentError, ModelLoadError, OutputExistsError
from wordllama_st.evaluation import ClassificationTask, Report, ReportFiles, plot_dims, plot_speed, write_card


@pytest.fixture(scope="module")
def report() -> Report:
    tasks = [similarity(), retrieval(), labelled(ClassificationTask)]
    return evaluate({"small": SMALL, "stock": stock()}, tasks, dims=[None, 16], precisions=["float32", "ubinary"])


def test_the_text_has_a_line_for_each_dim_and_precision(report: Report) -> None:
    tasks, scores, _, models = str(report).split("\n\n")
    assert "facts    retrieval       nDCG@10             40 queries, 60 documents" in tasks
    lines = [line.split() for line in scores.splitlines()[2:]]
    assert [line[:4] for line in lines[:4]] == [
        ["small", "64", "float32", "256"],
        ["small", "64", "ubinary", "8"],
        ["small", "16", "float32", "64"],
        ["small", "16", "ubinary", "2"],
    ]
    assert [float(cell) for cell in lines[0][4:7]] == [
        pytest.approx(100 * score.score, abs=0.006) for score in report.of("small", 64, "float32")
    ]
    assert float(lines[0][7]) == pytest.approx(100 * report.mean("small"), abs=0.006)
    assert len({len(line) for line in scores.splitlines()[1:]}) == 1  # aligned
    assert "StaticEncoder, 1 thread (of " in models


def test_the_mean_is_that_of_what_is_asked_for(report: Report) -> None:
    scores = {score.task: score.score for score in report.of("small", 16, "ubinary")}
    assert report.mean("small", 16, "ubinary") == pytest.approx(sum(scores.values()) / 3)
    assert report.mean("small", 16, "ubinary", kind="retrieval") == scores["facts"]
    assert report.mean("small") == report.mean("small", 64, "float32")
    for wrong in ({"model": "other"}, {"model": "small", "dim": 17}, {"model": "small", "kind": "clustering"}):
        with pytest.raises(ArgumentError, match="There are no scores of"):
            report.mean(**wrong)  # type: ignore[arg-type]


def test_the_json_has_all_of_it(report: Report) -> None:
    read = json.loads(report.to_json())
    assert read["schema"] == 1
    assert [model["name"] for model in read["models"]] == ["small", "stock"]
    assert {task["metric"] for task in read["tasks"]} == {"spearman", "ndcg@10", "accuracy"}
    assert len(read["rows"]) == 2 * 2 * 2 * 3
    assert all(row["score"] in row["metrics"].values() for row in read["rows"])


@pytest.mark.parametrize("plot", [plot_dims, plot_speed])
def test_a_picture_is_drawn_whole_or_not_at_all(plot: Any, report: Report, tmp_path: Path) -> None:
    plot(report, tmp_path / "new" / "scores.png")
    assert (tmp_path / "new" / "scores.png").read_bytes().startswith(b"\x89PNG")
    plot(report, tmp_path / "scores.svg")
    with pytest.raises(ArgumentError, match=r"ends in \.png"):
        plot(report, tmp_path / "scores.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "scores.svg"]


def test_a_card_keeps_what_it_says_and_has_one_table_however_often(
    report: Report, codebook: Codebook, tmp_path: Path
) -> None:
    bake(build_model(codebook, dim=16), tmp_path / "baked")
    path = tmp_path / "baked" / "README.md"
    card = ModelCard(path.read_text())
    card.data.model_name = "baked"
    card.data.eval_results = [EvalResult("sts", "other", "other", "spearman", 0.5)]
    path.write_text(str(card) + "\nMore to say.\n")
    before = path.read_text()
    write_card(tmp_path / "baked", report, "stock")
    write_card(tmp_path / "baked", report, "small")
    written = ModelCard(path.read_text())
    assert "## Made from" in before
    assert before.split("---\n", 2)[2].strip() in written.text
    assert written.text.count("## Evaluation") == 1
    assert f"| 16 | ubinary | 2 | {100 * report.of('small', 16, 'ubinary')[0].score:.2f} |" in written.text
    results = written.data.eval_results
    assert [result.metric_value for result in results if result.dataset_name == "other"] == [0.5]
    assert len(results) == 1 + len(report.scores) // 2
    assert written.data.tags == card.data.tags
    assert StaticEncoder.from_pretrained(tmp_path / "baked").dim == 16
    assert sorted(file.name for file in (tmp_path / "baked").glob(".*")) == []


def test_a_model_without_a_card_gets_one_and_a_broken_card_is_left_alone(report: Report, tmp_path: Path) -> None:
    path = write_card(tmp_path, report, "small")
    assert ModelCard(path.read_text()).data.model_name == tmp_path.name
    path.write_text("---\n- no: [mapping\n---\n")
    with pytest.raises(ModelLoadError, match="no model card that scores could be added to"):
        write_card(tmp_path, report, "small")
    assert path.read_text() == "---\n- no: [mapping\n---\n"


def test_files_are_checked_when_they_are_named_and_written_afterwards(report: Report, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    models = {"small": tmp_path / "small", "stock": stock()}
    files = ReportFiles(models, json=tmp_path / "new" / "scores.json", cards=[])
    written = files.write(report)
    assert written == [tmp_path / "new" / "scores.json", tmp_path / "small" / "README.md"]
    assert written[0].read_text() == report.to_json() + "\n"
    with pytest.raises(OutputExistsError, match=r"scores\.json already exists"):
        ReportFiles(models, json=written[0])
    ReportFiles(models, json=written[0], overwrite=True)
    with pytest.raises(ArgumentError, match=r"ends in \.png"):
        ReportFiles(models, speed_plot="speed.txt")
    with pytest.raises(ArgumentError, match="stock is none of the models in local directories: small"):
        ReportFiles(models, cards=["stock"])


def test_the_card_of_an_installed_package_is_not_written(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(ArgumentError, match="belongs to an installed package"):
        write_card(tmp_path, report, "small")
    assert list(tmp_path.iterdir()) == []

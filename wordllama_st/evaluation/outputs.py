"""Write a report into files and into the cards of models."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import cast

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from wordllama_st.analysis.plot_file import check_plot
from wordllama_st.errors import ArgumentError, ModelLoadError, reason
from wordllama_st.evaluation.models import ModelSource
from wordllama_st.evaluation.plots import plot_dims, plot_queries, plot_speed
from wordllama_st.evaluation.report import Report, Score
from wordllama_st.storage.staging import check_output_file, staged_file, write_text

CARD_FILE = "README.md"
#: Marks the results and the table that the next call replaces.
TOOL = "wordllama-st evaluate"
_BEGIN, _END = f"<!-- {TOOL} -->", f"<!-- /{TOOL} -->"
_SECTION = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)
#: Kind of task -> the Hub's name for it.
_TASK_TYPES = {
    "similarity": "semantic-similarity",
    "retrieval": "information-retrieval",
    "classification": "text-classification",
}


class ReportFiles:
    """The files to write from a report. Construct it before the evaluation: it checks that they can be written.

    They are those of :meth:`Report.to_json`, :func:`~wordllama_st.evaluation.plots.plot_dims` (or ``plot_queries``, if
    all tasks are retrieval and each model has one dim) and :func:`~wordllama_st.evaluation.plots.plot_speed`, and the
    cards of the models (given by name) that are named; all that are local directories if ``cards`` is empty, none if it
    is None.

    Raises:
        ArgumentError: If a plot has another suffix than .png, .svg or .pdf; or a card's model is not among the models,
            no local directory, or in an installed package.
        MissingExtraError: If matplotlib is needed and not installed.
        OutputExistsError: If a file exists and ``overwrite`` is not set.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSource],
        *,
        json: str | Path | None = None,
        plot: str | Path | None = None,
        speed_plot: str | Path | None = None,
        cards: Sequence[str] | None = None,
        overwrite: bool = False,
    ) -> None:
        self._cards = {} if cards is None else _card_directories(models, cards)
        writers = [(json, _write_json), (plot, _plot), (speed_plot, plot_speed)]
        self._writers = [(Path(path), write) for path, write in writers if path is not None]
        for path, write in self._writers:
            if write is not _write_json:
                check_plot(path)
            check_output_file(path, overwrite=overwrite)

    def write(self, report: Report) -> list[Path]:
        """Write the files, and return their paths."""
        for path, write in self._writers:
            write(report, path)
        cards = [write_card(directory, report, model) for model, directory in self._cards.items()]
        return [path for path, _ in self._writers] + cards


def write_card(directory: str | Path, report: Report, model: str) -> Path:
    """Write a model's scores into its card, the README.md in its directory, made if missing, and return the path.

    The metadata's ``model-index`` gets a result for each task, dim and precision, and a table between two comments
    replaces an earlier one or is appended. Whatever else the card says is kept, results from elsewhere too.

    Raises:
        ArgumentError: If the report has no such model, or the directory belongs to an installed package.
        ModelLoadError: If there is a card that cannot be read.
    """
    report.mean(model)  # raises if there is no such model
    _check_not_installed(Path(directory))
    path = Path(directory) / CARD_FILE
    card = _read_card(path)
    data = cast(ModelCardData, card.data)
    if data.model_name is None:
        data.model_name = Path(directory).resolve().name
    kept = [result for result in data.eval_results or [] if (result.metric_args or {}).get("tool") != TOOL]
    data.eval_results = kept + [_result(score, report) for score in report.scores if score.model == model]
    section = _section(report, model)
    text, replaced = _SECTION.subn(lambda _: section, card.text, count=1)
    card.text = text if replaced else f"{card.text.rstrip()}\n\n{section}\n"
    with staged_file(path) as staging:
        staging.write_text(str(card), encoding="utf-8", newline="")
    return path


def _card_directories(models: Mapping[str, ModelSource], names: Sequence[str]) -> dict[str, Path]:
    paths = {name: Path(source) for name, source in models.items() if isinstance(source, (str, Path))}
    local = {name: path for name, path in paths.items() if path.is_dir()}
    if other := [name for name in names if name not in local]:
        found = ", ".join(local) or "there are none"
        raise ArgumentError(f"{other[0]} is none of the models in local directories: {found}.")
    if not local:
        raise ArgumentError("A card is written into a model's local directory; none of these models is in one.")
    directories = {name: local[name] for name in names} or local
    for directory in directories.values():
        _check_not_installed(directory)
    return directories


def _check_not_installed(directory: Path) -> None:
    if directory.resolve().is_relative_to(Path(sysconfig.get_path("purelib")).resolve()):
        belongs = f"{directory} belongs to an installed package, whose files stay as they are."
        raise ArgumentError(f"{belongs} Name the models whose cards are to be written.")


def _write_json(report: Report, path: Path) -> None:
    write_text(path, report.to_json() + "\n")


def _plot(report: Report, path: Path) -> None:
    one_dim = len(dict.fromkeys((model, dim) for model, dim, _ in report.settings())) == len(report.models)
    has_times = all(ranking.milliseconds is not None for ranking in report.rankings)
    (plot_queries if report.is_retrieval and one_dim and has_times else plot_dims)(report, path)


def _read_card(path: Path) -> ModelCard:
    if not path.is_file():
        data = ModelCardData(library_name="sentence-transformers", pipeline_tag="sentence-similarity")
        return ModelCard(f"---\n{data.to_yaml()}\n---\n\n# {path.parent.resolve().name}\n")
    try:
        return ModelCard(path.read_bytes().decode("utf-8"))
    except Exception as error:  # anything that the YAML parser and the metadata's class raise
        raise ModelLoadError(f"{path} is no model card that scores could be added to: {reason(error)}") from error


def _result(score: Score, report: Report) -> EvalResult:
    (task,) = (task for task in report.tasks if (task.kind, task.name) == (score.kind, score.task))
    return EvalResult(
        task_type=_TASK_TYPES.get(score.kind, score.kind),
        task_name=score.kind.capitalize(),
        # `bake` looks for the dim at the end, where sentence-transformers' evaluators have it in their names.
        dataset_type=f"{score.task}-{score.dim}",
        dataset_name=f"{score.task}, {score.dim} dims",
        metric_type=task.metric,
        metric_name=f"{task.metric_name} ({score.precision})",
        metric_value=score.score,
        metric_args={"dim": score.dim, "precision": score.precision, "tool": TOOL},
    )


def _section(report: Report, model: str) -> str:
    """Format the table and what it was measured on, between the comments that mark them."""
    (found,) = (one for one in report.models if one.name == model)
    titles = [f"{task.name}: {task.kind}, {task.metric_name}".replace("|", "\\|") for task in report.tasks]
    scores = titles + ["mean"] * (len(titles) > 1)
    rows = [["dims", "precision", "bytes a vector", *scores], ["---:", "---", "---:", *["---:"] * len(scores)]]
    rows += [row for _, *row in report.score_rows(model)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    sizes = "; ".join(f"{task.name}, {task.kind}: {task.size}" for task in report.tasks)
    speed = f"{found.texts_per_second:,.0f} texts/s, encoded by {found.describe_runtime()}"
    parts = ["## Evaluation", f"Scores x 100, by `{TOOL}` {version('wordllama-st')}.", table, f"{sizes}."]
    parts.append(f"{speed} of a machine with {report.describe_cores()}.")
    return "\n".join([_BEGIN, "\n\n".join(parts), _END])

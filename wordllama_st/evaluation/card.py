"""Scores in a model's card: in its metadata, where the Hub looks for them, and as a table for people."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import cast

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from wordllama_st.errors import ModelLoadError, reason
from wordllama_st.evaluation.report import Report, Score, encoded_by, vector_bytes
from wordllama_st.storage.staging import staged_file

CARD_FILE = "README.md"
#: What marks a result, and the table, as written here, to be replaced by the next.
TOOL = "wordllama-st evaluate"
_BEGIN, _END = f"<!-- {TOOL} -->", f"<!-- /{TOOL} -->"
_SECTION = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)
#: Behind what the Hub has names for.
_TASK_TYPES = {
    "similarity": "semantic-similarity",
    "retrieval": "information-retrieval",
    "classification": "text-classification",
    "clustering": "clustering",
}


def write_card(directory: str | Path, report: Report, model: str) -> Path:
    """Write a model's scores into the card in its directory, keeping what the card says otherwise.

    The metadata's ``model-index`` gets a result for each task, dim and precision; results that are not of this
    function's stay. The table stands between two comments: where an earlier one stood, or else at the end. A model
    without a card gets one.

    Args:
        directory: The model's.
        report: What was measured.
        model: What the model is called there.

    Returns:
        The card's path.

    Raises:
        ArgumentError: If the report has no such model.
        ModelLoadError: If there is a card that cannot be read.
    """
    report.mean(model)  # there is such a model
    path = Path(directory) / CARD_FILE
    card = _read(path)
    data = cast(ModelCardData, card.data)
    if data.model_name is None:
        data.model_name = Path(directory).resolve().name
    kept = [result for result in data.eval_results or [] if (result.metric_args or {}).get("tool") != TOOL]
    data.eval_results = kept + [_result(score, report) for score in report.scores if score.model == model]
    section = _section(report, model)
    if _SECTION.search(card.text):
        card.text = _SECTION.sub(lambda _: section, card.text, count=1)
    else:
        card.text = f"{card.text.rstrip()}\n\n{section}\n"
    with staged_file(path) as staging:
        staging.write_text(str(card), encoding="utf-8", newline="")
    return path


def _read(path: Path) -> ModelCard:
    if not path.is_file():
        data = ModelCardData(library_name="sentence-transformers", pipeline_tag="sentence-similarity")
        return ModelCard(f"---\n{data.to_yaml()}\n---\n\n# {path.parent.resolve().name}\n")
    try:
        return ModelCard(path.read_bytes().decode("utf-8"))
    except Exception as error:  # whatever the parser of YAML and the metadata's class come up with
        raise ModelLoadError(f"{path} is no model card that scores could be added to: {reason(error)}") from error


def _result(score: Score, report: Report) -> EvalResult:
    (task,) = (task for task in report.tasks if (task.kind, task.name) == (score.kind, score.task))
    return EvalResult(
        task_type=_TASK_TYPES.get(score.kind, score.kind),
        task_name=score.kind.capitalize(),
        # The dim behind it, as the library's evaluators have it in their names; `bake` looks for it there.
        dataset_type=f"{score.task}-{score.dim}",
        dataset_name=f"{score.task}, {score.dim} dims",
        metric_type=task.metric,
        metric_name=f"{task.metric_name} ({score.precision})",
        metric_value=score.score,
        metric_args={"dim": score.dim, "precision": score.precision, "tool": TOOL},
    )


def _section(report: Report, model: str) -> str:
    """The table, between the comments that mark it."""
    (found,) = (one for one in report.models if one.name == model)
    several = len(report.tasks) > 1
    header = ["dims", "precision", "bytes a vector"]
    header += [_cell(f"{task.name}: {task.kind}, {task.metric_name}") for task in report.tasks]
    rows = [header + ["mean"] * several, ["---:", "---", *["---:"] * (len(header) - 2 + several)]]
    for _, dim, precision in report.settings(model):
        scores = [f"{100 * score.score:.2f}" for score in report.of(model, dim, precision)]
        mean = [f"{100 * report.mean(model, dim, precision):.2f}"] * several
        rows.append([str(dim), precision, f"{vector_bytes(dim, precision):,}", *scores, *mean])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    sizes = "; ".join(f"{task.name}, {task.kind}: {task.size}" for task in report.tasks)
    return (
        f"{_BEGIN}\n## Evaluation\n\nScores x 100, by `{TOOL}` {version('wordllama-st')}.\n\n{table}\n\n{sizes}.\n\n"
        f"{found.texts_per_second:,.0f} texts/s, encoded by {encoded_by(found)} of a machine "
        f"with {report.cores} core{'s' * (report.cores != 1)}.\n{_END}"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

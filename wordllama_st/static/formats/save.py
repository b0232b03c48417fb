"""Write a static model with its model card, in the layout of the runtime that is to load it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from huggingface_hub import EvalResult, ModelCardData

from wordllama_st.errors import ArgumentError
from wordllama_st.static import released
from wordllama_st.static.formats import model2vec, sentence_transformers, wordllama
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.staging import check_output

Format = Literal["sentence-transformers", "model2vec", "wordllama"]

_WRITERS = {
    "sentence-transformers": sentence_transformers.write,
    "model2vec": model2vec.write,
    "wordllama": wordllama.write,
}

_USAGE = """\
## Usage

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
embeddings = model.encode(["The weather is lovely today.", "It is so sunny outside!"])
print(model.similarity(embeddings, embeddings))
```

Any sentence-transformers from 3.2 on loads it; nothing else is needed. For sign embeddings, packed eight to a byte, use
`model.encode(texts, precision="ubinary")`.
"""


def write_static_model(
    table: StaticTable,
    path: str | Path,
    origin: Sequence[str],
    *,
    scores: Sequence[EvalResult] = (),
    format: Format = "sentence-transformers",
    overwrite: bool = False,
) -> None:
    """Write a static model.

    Args:
        table: The model.
        path: A directory, which appears when it is complete. The model is named after it.
        origin: What the model was made from, statements for the model card.
        scores: Evaluation results for the model card.
        format: The layout; only ``"model2vec"`` has a place for int8.
        overwrite: Whether to replace what is at ``path``.

    Raises:
        OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
        ArgumentError: If there is no such format, or it has no place for int8.
    """
    if format not in _WRITERS:
        raise ArgumentError(f"A model is written for {', '.join(_WRITERS)}, not {format!r}.")
    _WRITERS[format](table, path, card=_model_card(Path(path).name, table, origin, scores), overwrite=overwrite)


def pull(
    name: str, path: str | Path | None = None, *, revision: str | None = None, overwrite: bool = False
) -> tuple[StaticTable, released.ModelFiles]:
    """Write a released model as a directory that ``SentenceTransformer`` loads without this package, in float32.

    Args:
        name: A released model's name.
        path: The directory, which appears when it is complete; ``name`` in the working directory if None.
        revision: Branch, tag or commit of the model's Hub repository, as for ``released.fetch``.
        overwrite: Whether to replace what is at ``path``.

    Returns:
        The model, and the files that it was read from.

    Raises:
        OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
        UnknownModelError: If no such model was released.
        ModelUnavailableError: If its files are neither on this machine nor can be fetched.
    """
    path = Path(path or name)
    check_output(path, overwrite=overwrite)
    files = released.fetch(name, revision=revision)
    model = files.model
    origin = [
        f"The released WordLlama model {model.name}, by the WordLlama project "
        f"(https://github.com/dleemiller/WordLlama, MIT)",
        f"Its files: {files.weights.name}, first {model.dim} columns, at {files.revision} (https://hf.co/{model.repo_id})",
        *(["Trained for sign embeddings: encode it with a binary precision"] if model.binary else []),
    ]
    table = wordllama.read_released(files)
    write_static_model(table, path, origin, overwrite=overwrite)
    return table, files


def _model_card(name: str, table: StaticTable, origin: Sequence[str], scores: Sequence[EvalResult]) -> str:
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "static-embeddings", "wordllama-st"],
        model_name=name,
        eval_results=list(scores) or None,
    )
    rows = f"a table of {table.num_tokens:,} in {table.weight.shape[1]} dimensions"
    projected = "" if table.projection is None else f", projected to {table.dim:,}"
    parts = [
        f"---\n{data.to_yaml()}\n---\n",
        f"# {name}\n",
        f"A static text embedder: the mean of token embeddings, from {rows}{projected}.\n",
        "## Made from\n",
        *[f"- {statement}" for statement in origin],
        f"- Written by wordllama-st {version('wordllama-st')}\n",
    ]
    if scores:
        parts += ["## Scores\n", "| dataset | metric | value |", "| --- | --- | --- |"]
        parts += [f"| {s.dataset_name} | {s.metric_name or s.metric_type} | {s.metric_value:.4f} |" for s in scores]
        parts.append("")
    parts.append(_USAGE.format(name=name))
    return "\n".join(parts)

"""The model cards of static models: what one was made from, how it scored, how to use it."""

from __future__ import annotations

from importlib.metadata import version

from huggingface_hub import EvalResult, ModelCardData

from wordllama_st.static.released import ModelFiles

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


def static_model_card(
    name: str, shape: tuple[int, int], origin: list[str], scores: list[EvalResult] | None = None
) -> str:
    """Write the card of a static model.

    Args:
        name: The model's name, which is its directory's.
        shape: (V, d) of its table.
        origin: What it was made from, a statement each.
        scores: What was measured of it.
    """
    rows, dim = shape
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "static-embeddings", "wordllama-st"],
        model_name=name,
        eval_results=scores or None,
    )
    parts = [
        f"---\n{data.to_yaml()}\n---\n",
        f"# {name}\n",
        f"A static text embedder: a table of {rows:,} token vectors and their mean, {dim} dimensions.\n",
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


def released_origin(files: ModelFiles) -> list[str]:
    """What a released model was made from."""
    model = files.model
    return [
        f"The released WordLlama model {model.name}, by the WordLlama project "
        f"(https://github.com/dleemiller/WordLlama, MIT)",
        f"Its files: {files.weights.name}, first {model.dim} columns, at {files.revision} (https://hf.co/{model.repo_id})",
        *(["Trained for sign embeddings: encode it with a binary precision"] if model.binary else []),
    ]

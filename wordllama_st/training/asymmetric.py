"""Asymmetric models: a static table for queries, and the embedder that it was adapted to for documents."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Router

from wordllama_st.modules.stock import linear_dense
from wordllama_st.static.formats.sentence_transformers import write_space
from wordllama_st.static.space import VectorSpace
from wordllama_st.storage.staging import staged_directory

_CARD = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, feature-extraction, static-embeddings, asymmetric, wordllama-st]
---

# {name}

An asymmetric text embedder: queries by a look-up of token embeddings and their mean, documents by a transformer, both
in {dim} dimensions of one space.

## Made from

{origin}

## Usage

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
documents = model.encode_document(["The weather is lovely today.", "He drove to the stadium."])
print(model.similarity(model.encode_query("weather"), documents))
```

sentence-transformers from 5.0 on loads it; nothing else is needed. Queries never run the transformer.
"""


def make_asymmetric_model(
    query_model: SentenceTransformer, embedder: SentenceTransformer, axes: npt.NDArray[np.float32] | None = None
) -> SentenceTransformer:
    """Route queries to a static model and documents to an embedder; prompts stay on their side.

    Args:
        query_model: A static model, D dimensions, or d with axes.
        embedder: The embedder of the documents, D dimensions.
        axes: Axes [D, d] to project the embedder's embeddings onto.
    """
    documents: list[Any] = list(embedder.children())
    if axes is not None:
        documents += [linear_dense(axes), Normalize()]
    queries: list[Any] = list(query_model.children())
    router = Router.for_query_document(query_modules=queries, document_modules=documents)
    prompts = {name: prompt or "" for name, prompt in embedder.prompts.items()} | {"query": ""}
    return SentenceTransformer(modules=[router], prompts=prompts, similarity_fn_name=embedder.similarity_fn_name)


def save_asymmetric_model(
    model: SentenceTransformer, path: str | Path, origin: Sequence[str], space: VectorSpace, *, overwrite: bool = False
) -> None:
    """Save an asymmetric model as a directory that stock sentence-transformers loads.

    Raises:
        OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
    """
    with staged_directory(path, overwrite=overwrite) as staging:
        model.save_pretrained(str(staging), create_model_card=False)
        write_space(space, staging)
        statements = [*origin, f"Written by wordllama-st {version('wordllama-st')}"]
        made_from = "\n".join(f"- {statement}" for statement in statements)
        card = _CARD.format(name=Path(path).name, dim=model.get_embedding_dimension(), origin=made_from)
        (staging / "README.md").write_text(card, encoding="utf-8")

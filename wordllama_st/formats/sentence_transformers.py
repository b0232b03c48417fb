"""Static models as sentence-transformers keeps them, in the one layout that every version since 3.2 reads.

The library's own ``save`` puts the table into the root folder and names the class by a path that versions before 6
cannot import. With the weights in a subfolder and the old public class path, the same directory loads in all of them
and gives the same vectors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wordllama_st.formats.static_table import StaticTable
from wordllama_st.safetensors_file import TENSOR_NAME, byte_chunks, write_tensor
from wordllama_st.staging import staged_directory

MODULES_FILE = "modules.json"
WEIGHT_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"


def find(directory: Path) -> tuple[Path, Path] | None:
    """Where a saved static model keeps its table (under ``embedding.weight``) and its tokenizer.

    Returns:
        The two files; None if the directory holds no static model.
    """
    try:
        first = json.loads((directory / MODULES_FILE).read_text(encoding="utf-8"))[0]
        module, folder = str(first["type"]), directory / str(first["path"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not module.endswith(".StaticEmbedding") or not folder.resolve().is_relative_to(directory.resolve()):
        return None
    return folder / WEIGHT_FILE, folder / TOKENIZER_FILE


def save(
    table: StaticTable,
    directory: str | Path,
    *,
    card: str,
    settings: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a static model that ``SentenceTransformer(directory)`` loads with nothing of this package installed.

    Args:
        table: The model.
        directory: Where to. It appears when it is complete.
        card: The README.md, which the Hub shows as the model's card.
        settings: ``prompts``, ``default_prompt_name`` and ``similarity_fn_name`` where they are not the library's
            defaults.
        overwrite: Whether to replace what is there.

    Raises:
        OutputExistsError: If the directory has content and ``overwrite`` is not set.
    """
    modules = ["StaticEmbedding", *(["Normalize"] if table.normalize else [])]
    with staged_directory(directory, overwrite=overwrite) as staging:
        paths = [f"{index}_{module}" for index, module in enumerate(modules)]
        entries = [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{module}"}
            for index, (path, module) in enumerate(zip(paths, modules, strict=True))
        ]
        for path in paths:
            (staging / path).mkdir()
        embedding = staging / paths[0]
        write_tensor(
            embedding / WEIGHT_FILE,
            TENSOR_NAME,
            str(table.weight.dtype),
            (table.weight.shape[0], table.weight.shape[1]),
            byte_chunks(table.weight),
        )
        (embedding / TOKENIZER_FILE).write_text(table.tokenizer.to_str(pretty=True), encoding="utf-8")
        if table.normalize:
            _write_json(staging / paths[1] / "config.json", {})
        _write_json(staging / MODULES_FILE, entries)
        _write_json(
            staging / "config_sentence_transformers.json",
            {"model_type": "SentenceTransformer", "prompts": {}, "similarity_fn_name": "cosine", **(settings or {})},
        )
        (staging / "README.md").write_text(card, encoding="utf-8")


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

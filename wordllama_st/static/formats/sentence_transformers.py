"""Static models in the layout of sentence-transformers, in the one form that every version since 3.2 reads.

sentence-transformers itself writes the table into the root folder, and names the class by a path that versions before 6
cannot import. With the weights in a subfolder and the old public class path, the same directory loads in all of them
and gives the same embeddings. Both are read.

A table of low rank may be two factors: a StaticEmbedding and a Dense behind it, without bias and activation.

Of an asymmetric model, which is a Router of sentence-transformers, the query side is read if it is static.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wordllama_st.errors import ModelLoadError
from wordllama_st.static.formats.dense import read_projection, write_projection
from wordllama_st.static.formats.files import (
    WEIGHT_FILE,
    TensorFile,
    model_file,
    read_json,
    read_table,
    write_json,
    write_tokenizer,
    write_weight,
)
from wordllama_st.static.space import VectorSpace
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.safetensors_file import byte_chunks, write_tensor
from wordllama_st.storage.staging import staged_directory
from wordllama_st.storage.tokenizer import TOKENIZER_FILE

MODULES_FILE = "modules.json"
ROUTER_FILE = "router_config.json"
SETTINGS_FILE = "config_sentence_transformers.json"
#: Files of this package's, which sentence-transformers leaves alone: the space of the index a model was adapted to, and
#: the axes that its vectors are projected onto, if they are.
SPACE_FILE, AXES_FILE, AXES = "vector_space.json", "vector_space.safetensors", "axes"

#: What a model in a directory {0} is whose first module is another, {1}, and what to do with it.
_NOT_STATIC = {
    "LLMTokenEmbedding": "is a trained model that was not baked. Bake it: wordllama-st bake {0} --out OTHER",
    "Transformer": "is a transformer, not a static model. SentenceTransformer runs it; `wordllama-st extract`, `train` "
    "and `bake` make a static model of its token table.",
}
_OTHER = "is not a static model, which begins with a StaticEmbedding: it begins with {1}."


def find(directory: Path) -> tuple[Path, Path] | None:
    """Find the table (under ``embedding.weight``) and the tokenizer of a saved static model.

    Returns:
        The two files; None if the directory holds no static model.
    """
    try:
        folder = embedding_folder(model_file(directory, MODULES_FILE))
    except ModelLoadError:
        return None
    return None if folder is None else (directory / folder / WEIGHT_FILE, directory / folder / TOKENIZER_FILE)


def embedding_folder(modules_file: Path) -> PurePosixPath | None:
    """Return the folder of weights and tokenizer, relative to that of a modules.json.

    Returns:
        The folder; None if the model, or the query side of a Router, does not begin with a StaticEmbedding.

    Raises:
        ModelLoadError: If the modules.json is damaged, or the folder is outside the model's.
    """
    return _folder(modules_file, 0, "StaticEmbedding")


def projection_folder(modules_file: Path) -> PurePosixPath | None:
    """Return the folder of the Dense behind a StaticEmbedding, or None if there is none; errors as for that."""
    return _folder(modules_file, 1, "Dense") if len(_query_modules(modules_file)) > 1 else None


def _folder(modules_file: Path, place: int, name: str) -> PurePosixPath | None:
    kind, path = _query_modules(modules_file)[place]
    folder = inner_folder(path, modules_file)
    return folder if _name(kind) == name else None


def inner_folder(path: str, modules_file: Path) -> PurePosixPath:
    """Return a folder that a modules.json names; ModelLoadError if it is outside the model's."""
    folder = PurePosixPath(path)
    if folder.is_absolute() or ".." in folder.parts:
        raise ModelLoadError(f"{modules_file} names a folder outside the model's, {path!r}, which is not read.")
    return folder


def read(path: Path) -> StaticTable:
    """Read a directory with a modules.json: a StaticEmbedding and, possibly, a Dense and a Normalize behind it.

    They are the whole model, or the query side of a Router, whose other side is not read. Texts are never cut, not even
    where tokenizer.json says so, which the stock class heeds.

    Raises:
        ModelLoadError: If the model has other modules, or files are missing, damaged or do not fit together.
    """
    modules = model_file(path, MODULES_FILE)
    if (router := router_file(modules)) is not None:
        model_file(path, router)
    folder = embedding_folder(modules)
    (first, _), *others = _query_modules(modules)
    if folder is None:
        raise ModelLoadError(f"{path} {_NOT_STATIC.get(_name(first), _OTHER).format(path, first)}")
    dense = projection_folder(modules)
    others = others if dense is None else others[1:]
    for kind, _ in others:
        if _name(kind) != "Normalize":
            raise ModelLoadError(
                f"{path} has a {kind} behind its token vectors; a static model has a Dense there, a Normalize, both in "
                f"this order or nothing. SentenceTransformer runs it."
            )
    settings = _settings(model_file(path, SETTINGS_FILE))
    settings |= {"normalize": bool(others), "space": _read_space(path), "asymmetric": router is not None}
    table = read_table(model_file(path, folder / WEIGHT_FILE), model_file(path, folder / TOKENIZER_FILE), **settings)
    return table if dense is None else replace(table, projection=read_projection(path, dense, table.dim))


def write(table: StaticTable, path: str | Path, *, card: str, overwrite: bool = False) -> None:
    """Write a static model that ``SentenceTransformer(path)`` loads with nothing of this package installed.

    Args:
        table: The model, float32 or float16. Mapping and scales are folded into the table. A projection becomes a Dense
            of the table's dtype, since the stock class multiplies the two.
        path: A directory, which appears when it is complete.
        card: The README.md.
        overwrite: Whether to replace what is at ``path``.

    Raises:
        OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
        ArgumentError: If the table is int8.
    """
    with staged_directory(path, overwrite=overwrite) as staging:
        embedding = staging / "0_StaticEmbedding"
        embedding.mkdir()
        weight = replace(table, projection=None).dense()
        write_weight(weight, embedding / WEIGHT_FILE)
        if table.projection is not None:
            write_projection(table.projection, staging / "1_Dense", weight.dtype.name)
        write_all_but_weights(table, staging, embedding.name, card)


def write_all_but_weights(table: StaticTable, directory: Path, folder: str, card: str) -> None:
    """Write the tokenizer into the ``folder`` of a model's ``directory``, and modules, settings and card around it."""
    modules = {"StaticEmbedding": folder}
    for name, is_there in (("Dense", table.projection is not None), ("Normalize", table.normalize)):
        modules |= {name: f"{len(modules)}_{name}"} if is_there else {}
    entries = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{module}"}
        for index, (module, path) in enumerate(modules.items())
    ]
    settings = {
        "model_type": "SentenceTransformer",
        "prompts": table.prompts,
        "default_prompt_name": table.default_prompt_name,
        "similarity_fn_name": table.similarity_fn_name,
    }
    write_tokenizer(table, directory / folder / TOKENIZER_FILE)
    if table.normalize:
        (directory / modules["Normalize"]).mkdir()
        write_json(directory / modules["Normalize"] / "config.json", {})
    write_json(directory / MODULES_FILE, entries)
    write_json(directory / SETTINGS_FILE, settings)
    if table.space is not None:
        write_space(table.space, directory)
    (directory / "README.md").write_text(card, encoding="utf-8")


def router_file(modules_file: Path) -> str | None:
    """Return the name of the file that lists the two sides of an asymmetric model, or None if the model is none."""
    modules = read_modules(modules_file)
    return ROUTER_FILE if len(modules) == 1 and _name(modules[0][0]) == "Router" and not modules[0][1] else None


def _query_modules(modules_file: Path) -> list[tuple[str, str]]:
    """Read the classes and folders of the modules that embed a query, in order."""
    if router_file(modules_file) is None:
        return read_modules(modules_file)
    path = modules_file.with_name(ROUTER_FILE)
    content = read_json(path)
    try:
        folders = content["structure"]["query"]
        modules = [(str(content["types"][folder]), str(folder)) for folder in folders]
    except (TypeError, LookupError) as error:
        raise ModelLoadError(f"{path} lists no modules of queries under structure.query and types.") from error
    if not modules:
        raise ModelLoadError(f"{path} lists no modules of queries. Save the model again.")
    return modules


def read_modules(path: Path) -> list[tuple[str, str]]:
    """Read the classes and folders of a modules.json, in order; ModelLoadError if it lists none."""
    content = read_json(path)
    try:
        modules = [(str(entry["type"]), str(entry["path"])) for entry in content]
    except (TypeError, LookupError) as error:
        raise ModelLoadError(
            f"{path} does not list modules with their types and paths. Save the model again."
        ) from error
    if not modules:
        raise ModelLoadError(f"{path} lists no modules. Save the model again.")
    return modules


def _name(kind: str) -> str:
    """Return a class's name without its module, if it is one of sentence-transformers or of this package."""
    return kind.rpartition(".")[2] if kind.startswith(("sentence_transformers.", "wordllama_st.")) else kind


def _settings(path: Path) -> dict[str, Any]:
    """Read prompts and similarity function, as far as the file has them."""
    content = read_json(path) if path.is_file() else {}
    try:
        prompts = {str(name): text for name, text in (content.get("prompts") or {}).items()}
        default, similarity = content.get("default_prompt_name"), content.get("similarity_fn_name") or "cosine"
    except AttributeError as error:
        raise ModelLoadError(f"{path} is not what it should be, an object with prompts by name.") from error
    if not all(isinstance(text, str) for text in (*prompts.values(), similarity, "" if default is None else default)):
        raise ModelLoadError(
            f"{path} has prompts, a default_prompt_name or a similarity_fn_name that are no texts; write texts there."
        )
    if default is not None and default not in prompts:
        raise ModelLoadError(
            f"{path} has {default!r} for its default prompt, but its prompts are {', '.join(prompts) or 'none'}. Add "
            f"the prompt, or set default_prompt_name to null."
        )
    return {"prompts": prompts, "default_prompt_name": default, "similarity_fn_name": similarity}


def write_space(space: VectorSpace, directory: Path) -> None:
    """Write the space of the index that a model was adapted to into the model's directory."""
    write_json(directory / SPACE_FILE, {"dim": space.dim, "cosine": space.cosine, "embedder": space.embedder})
    if space.axes is not None:
        dim, width = space.axes.shape
        write_tensor(directory / AXES_FILE, AXES, "float32", (dim, width), byte_chunks(space.axes))


def _read_space(directory: Path) -> VectorSpace | None:
    path, axes_path = model_file(directory, SPACE_FILE), model_file(directory, AXES_FILE)
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        embedder = content.get("embedder")
        dim, cosine = int(content["dim"]), float(content["cosine"])
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise ModelLoadError(f"{path} is not what it should be, an object with a dim and a cosine.") from error
    if dim < 1 or not math.isfinite(cosine):
        raise ModelLoadError(f"{path} has the dim {dim} and the cosine {cosine}. Save the model again.")
    axes = TensorFile(axes_path).read(AXES) if axes_path.is_file() else None
    if axes is not None and (axes.ndim != 2 or len(axes) != dim or axes.dtype != np.float32):
        raise ModelLoadError(f"{axes_path} holds {axes.dtype} {list(axes.shape)}, and {path} is of {dim} dimensions.")
    return VectorSpace(dim, cosine, None if embedder is None else str(embedder), axes)

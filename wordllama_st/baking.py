"""Baking: a trained model becomes a table of token embeddings.

The embedding of a token does not depend on its context. So the trained model is run once over the vocabulary, one token
at a time, and its outputs are the new token table; the language model's table, the token weights and the projection are
no longer needed.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import Tensor, nn
from tqdm.autonotebook import tqdm

from wordllama_st.errors import BakeError
from wordllama_st.modules import Binarize, LLMTokenEmbedding, Projection
from wordllama_st.modules.stock import model_settings, static_modules
from wordllama_st.static.formats.save import write_static_model
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.staging import check_output
from wordllama_st.storage.tokenizer import plain_tokenizer

logger = logging.getLogger(__name__)

StaticDtype: TypeAlias = Literal["float32", "float16", "int8"]
#: The largest distance of a baked embedding from the model's own, relative to its norm.
TOLERANCE = 1e-5
#: From here on, a number at the end of an evaluator's name is a dim; below, it is part of a name such as sts-12.
SMALLEST_NAMED_DIM = 32
#: Bytes of the table, in float32, that go through the modules at a time.
CHUNK_BYTES = 2**26

#: Texts on which the baked and the trained model are compared.
PROBES = [
    "The quick brown fox jumps over the lazy dog.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "天地玄黄,宇宙洪荒。日月盈昃,辰宿列张。",
    "いろはにほへと ちりぬるを",
    "نص حكيم له سر قاطع وذو شأن عظيم",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा",
    "def mean(xs: list[float]) -> float:\n    return sum(xs) / len(xs)  # 0 < n\n",
    "  two  spaces\ttab\r\nnewline \U0001f469\u200d\U0001f52c e\u0301 \x00",
    "a",
    "",
]
PROBES.append(" ".join(PROBES) * 200)


def bake(
    model: SentenceTransformer,
    path: str | Path | None = None,
    *,
    dim: int | None = None,
    dtype: StaticDtype = "float32",
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> SentenceTransformer:
    """Turn a trained model into a static one that stock sentence-transformers loads, with wordllama-st not installed.

    Each of the V tokens goes through the trained modules as a text of its own. A last ``Normalize`` is kept behind the
    table; a last ``Binarize`` is left to ``encode(precision="ubinary")``. On texts in several scripts, code, an empty
    and a very long text, the static model must agree with the trained one to a relative 1e-5. ``max_seq_length``
    applies to training only: a static model reads every text whole.

    Args:
        model: :class:`~wordllama_st.modules.LLMTokenEmbedding` and the modules behind it.
        path: Directory to save to, in the layout that sentence-transformers 3.2 and later load; it appears when it
            is complete. None saves nothing.
        dim: Matryoshka dim to truncate the embeddings to; the model's own if None. A last ``Normalize`` then scales the
            truncated embeddings to unit length.
        dtype: Of the table [V, d]. float16 halves the file; ``encode`` of sentence-transformers then returns float16.
            int8 takes a quarter, with a scale for each token; it is written in the model2vec layout, which
            sentence-transformers loads from 6.2 on.
        overwrite: Whether to replace what is at ``path``.
        show_progress_bar: None shows it when this package logs at INFO.

    Raises:
        BakeError: If the model's embedding of a text is not the mean of its tokens' embeddings (the message names the
            module), ``dim`` is larger than the model's, or the table is not finite in ``dtype``.
        OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
    """
    if dim is None:
        dim = model.truncate_dim or model.get_embedding_dimension() or 0
    paths = None if path is None else {dim: Path(path)}
    return _bake(model, [dim], paths, dtype, overwrite, show_progress_bar)[dim]


def bake_dims(
    model: SentenceTransformer,
    path: str | Path,
    dims: Sequence[int],
    *,
    dtype: StaticDtype = "float32",
    overwrite: bool = False,
    show_progress_bar: bool | None = None,
) -> dict[int, SentenceTransformer]:
    """Turn a trained model into several static ones, one for each Matryoshka dim; the table is computed once.

    The models are saved to ``path-256`` and so on. The other arguments and the errors are those of :func:`bake`.

    Returns:
        {dim: static model}.
    """
    return _bake(model, dims, {dim: Path(f"{path}-{dim}") for dim in dims}, dtype, overwrite, show_progress_bar)


def _bake(
    model: SentenceTransformer,
    dims: Sequence[int],
    paths: dict[int, Path] | None,
    dtype: StaticDtype,
    overwrite: bool,
    show_progress_bar: bool | None,
) -> dict[int, SentenceTransformer]:
    modules, normalize = _split(model)
    # Summing thousands of vectors in float32 is itself off by 1e-5 and more; in float64 it is not.
    exact = [copy.deepcopy(module).cpu().double().eval() for module in modules]
    expected = _check_bakeable(exact)
    width = expected.shape[1]
    if not dims:
        raise BakeError("There is no dim to bake at.")
    for dim in dims:
        if not 1 <= dim <= width:
            raise BakeError(f"The model's embeddings have {width} dimensions; they cannot be truncated to {dim}.")
    for path in reversed((paths or {}).values()):  # where a run was killed at one, those before it are there
        check_output(path, overwrite=overwrite)

    core = [copy.deepcopy(module).float().eval() for module in modules]
    settings = model_settings(model)
    weight = _token_embeddings(core, show_progress_bar)
    table = StaticTable(weight, plain_tokenizer(model.tokenizer), normalize, **settings)
    _verify(table, expected)

    tables = {dim: _cast(table.truncated(dim), dtype) for dim in dims}
    origin, card = (describe_origin(model), _card_data(model)) if paths else ([], {})
    for dim, path in (paths or {}).items():
        write_static_model(
            tables[dim],
            path,
            origin,
            scores=_scores(card, dim, width),
            format="model2vec" if dtype == "int8" else "sentence-transformers",
            overwrite=overwrite,
        )
    return {dim: SentenceTransformer(modules=static_modules(tables[dim]), **settings) for dim in dims}


def _split(model: SentenceTransformer) -> tuple[list[nn.Module], bool]:
    """Return the modules that become the table, and whether to normalize after it."""
    modules = list(model)
    if not isinstance(modules[0], LLMTokenEmbedding):
        raise BakeError(
            f"Only a model that begins with LLMTokenEmbedding can be baked; this one begins with "
            f"{type(modules[0]).__name__}{', and is static already' * isinstance(modules[0], StaticEmbedding)}."
        )
    normalize = False
    while isinstance(modules[-1], (Normalize, Binarize)):
        normalize |= isinstance(modules.pop(), Normalize)
    return modules, normalize


@torch.inference_mode()
def _embed(core: Sequence[nn.Module], features: dict[str, Any]) -> Tensor | None:
    """Return the sentence embeddings [B, d], or None if the modules do not compute them."""
    device = next((parameter.device for module in core for parameter in module.parameters()), "cpu")
    features = {key: value.to(device) for key, value in features.items()}
    for module in core:
        features = module(features)
    embedding: Tensor | None = features.get("sentence_embedding")
    return None if embedding is None else embedding.cpu()


def _embed_tokens(core: Sequence[nn.Module], token_ids: Tensor) -> Tensor | None:
    """Embed each token as a text of its own."""
    column = token_ids.unsqueeze(1)
    return _embed(core, {"input_ids": column, "attention_mask": torch.ones_like(column)})


def _check_bakeable(core: Sequence[nn.Module]) -> Tensor:
    """Check on the probes, module by module, that the embedding of a text is the mean of its tokens' embeddings.

    Returns:
        The model's embeddings of the probes [B, d].
    """
    tokens: Any = core[0]
    features = tokens.preprocess(PROBES, max_length=sys.maxsize)
    mask = features["attention_mask"].bool()
    token_ids, rows = features["input_ids"][mask].unique(return_inverse=True)
    counts = mask.sum(dim=1)
    for depth in range(1, len(core) + 1):
        expected = _embed(core[:depth], features)
        vectors = _embed_tokens(core[:depth], token_ids)
        if expected is None or vectors is None:
            continue
        means = F.embedding_bag(rows, vectors, counts.cumsum(0) - counts, mode="mean")
        if (error := _relative_error(means, expected)) > TOLERANCE:
            culprit = core[depth - 1]
            hint = " A Projection with a hidden layer belongs in front of WeightedPool." * isinstance(
                culprit, Projection
            )
            raise BakeError(
                f"{type(culprit).__name__} (module {depth - 1}) cannot be baked: behind it, a text's vector is no "
                f"longer the mean of its tokens' vectors (they differ by {error:.1e}, relative).{hint}"
            )
    if expected is None:
        raise BakeError("The model's modules produce no sentence_embedding; is there a WeightedPool among them?")
    return expected


def _token_embeddings(core: Sequence[nn.Module], show_progress_bar: bool | None) -> npt.NDArray[np.float32]:
    """Embed every token of the vocabulary, [V, d]."""
    tokens: Any = core[0]
    codebook = tokens.codebook
    if show_progress_bar is None:
        show_progress_bar = logger.isEnabledFor(logging.INFO)
    chunks = torch.arange(codebook.num_embeddings).split(max(1, CHUNK_BYTES // (4 * codebook.embedding_dim)))
    table: npt.NDArray[np.float32] | None = None
    with tqdm(desc="Baking", total=codebook.num_embeddings, unit=" tokens", disable=not show_progress_bar) as bar:
        for ids in chunks:
            vectors = cast(Tensor, _embed_tokens(core, ids)).numpy()
            if table is None:
                table = np.empty((codebook.num_embeddings, vectors.shape[1]), dtype=np.float32)
            table[ids.numpy()] = vectors
            bar.update(len(ids))
    return cast("npt.NDArray[np.float32]", table)


def _verify(table: StaticTable, expected: Tensor) -> None:
    """Check the finished table, with StaticEmbedding's tokenization, against the model's embeddings of the probes."""
    embedding: Any = static_modules(table)[0]
    features = embedding.preprocess(PROBES)
    used, rows = features["input_ids"].unique(return_inverse=True)
    means = F.embedding_bag(rows, embedding.embedding.weight[used].detach().double(), features["offsets"], mode="mean")
    error = _relative_error(means, expected)
    if error > TOLERANCE:
        raise BakeError(f"The baked model differs from the trained one by {error:.1e}, relative; nothing was written.")


def _relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return the largest distance of two embeddings, relative to the expected norm; NaN counts as infinite."""
    lengths = expected.norm(dim=1)
    distances = (actual - expected).norm(dim=1) / lengths.clamp(min=1e-3 * float(lengths.median()) + 1e-30)
    return float(distances.nan_to_num(nan=torch.inf).max())


def _cast(table: StaticTable, dtype: str) -> StaticTable:
    if dtype not in get_args(StaticDtype):
        raise BakeError(f"A static table is {', '.join(get_args(StaticDtype))}, not {dtype}.")
    with np.errstate(over="ignore"):
        weight = table.weight.astype("float32" if dtype == "int8" else dtype, copy=False)
    if not np.isfinite(weight).all():
        raise BakeError(f"The model's token vectors are not all finite in {dtype}: training diverged, or use float32.")
    table = replace(table, weight=weight)
    return table.quantized() if dtype == "int8" else table


def describe_origin(model: SentenceTransformer) -> list[str]:
    """Say what a baked model is made from: statements for its card."""
    tokens: Any = model[0]
    origin = tokens.codebook.provenance
    source = origin.source or "a token table in memory"
    tensor = f", tensor `{origin.tensor_name}`" if origin.tensor_name else ""
    # Cards of sentence-transformers carry these two as tags.
    tagged: dict[str, list[str]] = {"dataset_size": [], "loss": []}
    for tag in _card_data(model).get("tags") or []:
        key, _, value = tag.partition(":")
        tagged.get(key, []).append(value)
    sizes, losses = (", ".join(values) for values in tagged.values())
    return [
        f"The token table of {source}{tensor}: {list(origin.shape)} {origin.dtype}, sha256 `{origin.sha256}`",
        f"Modules over it: {' → '.join(f'`{module!r}`' for module in model)}",
        *([f"Trained on {sizes} rows with {losses}"] if sizes and losses else []),
        f"Baked, and checked against the trained model on {len(PROBES)} texts: they differ by less than "
        f"{TOLERANCE:.0e}, relative",
    ]


def _card_data(model: SentenceTransformer) -> dict[str, Any]:
    """Return the data of a model's card: of its training in this process, or of the card it was loaded with."""
    data = model.model_card_data
    text = getattr(model, "_model_card_text", None)
    if text and not data.eval_results_dict:
        return dict(ModelCard(text).data.to_dict())
    return {"tags": data.tags, **(data.format_eval_metrics() if data.eval_results_dict else {})}


def _scores(card: dict[str, Any], dim: int, width: int) -> list[EvalResult]:
    """Select the scores measured at ``dim`` dimensions; the names of evaluators of fewer than all end in -dim."""
    if not card.get("model-index"):
        return []
    # A model that was never saved has no name yet, without which the index is not read.
    _, results = model_index_to_eval_results([{"name": "", **entry} for entry in card["model-index"]])

    def measured_at(result: EvalResult) -> int:
        suffix = result.dataset_type.rpartition("-")[2]
        is_dim = suffix.isdecimal() and SMALLEST_NAMED_DIM <= int(suffix) <= width
        return int(suffix) if is_dim else width

    return [result for result in results if measured_at(result) == dim]

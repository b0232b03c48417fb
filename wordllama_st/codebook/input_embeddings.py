"""Which tensor of a checkpoint is the token table: asked of the architecture, not guessed from names."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordllama_st.disk import TEMPORARY, naming_full_disk
from wordllama_st.errors import CodebookError, CodebookNotFoundError, reason, require

if TYPE_CHECKING:
    import torch

#: The embeddings are the same whatever the depth.
FEW_LAYERS = 2
#: A config of a real model has some kilobytes.
MOST_BYTES = 16_000_000
#: Fields, and the largest number that any model has there; more would exhaust the machine.
_LAYERS = re.compile(r"(num_|n_)?((en|de)coder_)?(hidden_)?(layers?|blocks)|depth"), 1_000
_NO_COUNT = r"(?!.*(size|dim|theta|freq|scale|capacity|channel|width|vocab))"
_COUNT = r".*(layer|block|depth|expert|stage|heads|group|codebook|attention_types).*"
_MODULES = re.compile(_NO_COUNT + _COUNT), 100_000
_POSITIONS = re.compile(r"n_positions|n_ctx|.*max_position_embeddings|max_seq\w*|seq_length"), 2**24
#: What no embedding depends on, but building a model may fail or grow with.
_BESIDE_THE_POINT = ("quantization_config", "compression_config", "num_labels", "id2label", "label2id")


def find_input_embeddings(config: Path, keys: Collection[str]) -> tuple[str, tuple[int, int], str]:
    """Find out which of a checkpoint's tensors is its model's input embeddings.

    The model is built from config.json on torch's meta device, with a few layers only, and asked for its
    ``get_input_embeddings()``. The key is the one that transformers would load there, which renames keys of older
    versions, and adds or removes the prefix by which a bare model's names differ from a task head's.

    Returns:
        Its key among ``keys``, the shape that the config gives it, and the name of the model's class.

    Raises:
        CodebookNotFoundError: If there is no config.json.
        CodebookError: If transformers cannot build the model, it has no token table, or not one tensor could be it.
        MissingExtraError: If transformers is not installed.
    """
    model = _meta_model(config)
    names, shape = _input_embeddings(model, config)
    parameter_of = _loading(model)
    # A large mixture of experts has a hundred thousand keys: those in numbered layers are passed over, unless they are
    # called what the model calls its table.
    endings = tuple(".".join(name.split(".")[-2:]) for name in names)
    found: dict[str, list[str]] = {}
    for key in sorted(keys):
        if key.endswith(endings) or not any(part.isdigit() for part in key.split(".")):
            found.setdefault(parameter_of(key) or "", []).append(key)
    candidates = next((found[name] for name in names if name in found), [])  # tied parameters are one and the same
    if len(candidates) != 1:
        fault = f"no tensor {' or '.join(map(repr, _with_prefix(model, names)))}, where its architecture keeps"
        if candidates:
            fault = f"both {' and '.join(map(repr, candidates))}, and either could be"
        raise CodebookError(
            f"The checkpoint of {config} holds {fault} the token table: name the one you mean with tensor_name."
        )
    return candidates[0], shape, type(model).__name__


def _meta_model(path: Path) -> Any:
    """The model that a config.json describes, without weights and with a few layers."""
    if not path.is_file():
        raise CodebookNotFoundError(
            f"{path.parent} has no config.json, which says which tensor the token table is. Put the model's there, or "
            f"name the tensor with tensor_name."
        )
    require("st", "torch", "transformers")
    import transformers

    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("It is too large for a config.")
        fields = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise ValueError("It is no JSON object.")
        fields = {key: value for key, value in fields.items() if key not in _BESIDE_THE_POINT}
        shallow = _shallow(fields)
        _check_numbers(shallow, _MODULES)
        try:
            return _build(shallow, path.parent)
        except Exception:
            # Another field may count on the real depth, such as the number of the last layers that share their keys.
            _check_numbers(fields, _MODULES, _LAYERS, _POSITIONS)
            return _build(fields, path.parent)
    except Exception as error:  # a config can be wrong in as many ways as transformers has models
        raise CodebookError(
            f"transformers {transformers.__version__} cannot build the model that {path} describes: {reason(error)} "
            f"Name the tensor with tensor_name."
        ) from error


def _build(fields: dict[str, Any], checkpoint: Path) -> Any:
    """A model on the meta device; transformers reads its config from a file."""
    import torch
    import transformers

    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as directory:
        with naming_full_disk():
            (Path(directory) / "config.json").write_text(json.dumps(fields), encoding="utf-8")
        try:
            config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=False)
        except Exception as error:
            raise ValueError(reason(error).replace(directory, str(checkpoint))) from error
    named = getattr(transformers, str((config.architectures or [None])[0]), None)
    with torch.device("meta"):
        if isinstance(named, type) and issubclass(named, transformers.PreTrainedModel):
            return named(config)
        return transformers.AutoModel.from_config(config, trust_remote_code=False)


def _shallow(fields: dict[str, Any]) -> dict[str, Any]:
    """A config of the same model with a few layers, in nested configs too."""
    depths = {value for key, value in fields.items() if type(value) is int and _LAYERS[0].fullmatch(key)}

    def shallow(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return _shallow(value)
        if isinstance(value, list) and len(value) in depths:  # one entry a layer, most likely
            return value[:FEW_LAYERS]
        if type(value) is int and _LAYERS[0].fullmatch(key):
            return min(value, FEW_LAYERS)
        if type(value) is int and _POSITIONS[0].fullmatch(key) and value > _POSITIONS[1]:
            return 2_048
        return value

    return {key: shallow(key, value) for key, value in fields.items()}


def _check_numbers(value: Any, *limits: tuple[re.Pattern[str], int], key: str = "") -> None:
    """Refuse a config with a number that no model has, in lists and nested configs too."""
    if type(value) is int and any(value > most and pattern.fullmatch(key) for pattern, most in limits):
        raise ValueError(f"{key} is {value}, which no model has.")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_numbers(item, *limits, key=name)
    elif isinstance(value, list):
        for item in value:
            _check_numbers(item, *limits, key=key)


def _input_embeddings(model: Any, config: Path) -> tuple[list[str], tuple[int, int]]:
    """Every name of the parameter, the embedding module's own first, and its shape."""
    try:
        module = model.get_input_embeddings()
    except Exception:  # a model without one raises what its author chose
        module = None
    weight: torch.Tensor | None = getattr(module, "weight", None)
    names = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is weight]
    if weight is None or weight.ndim != 2 or not names:
        raise CodebookError(
            f"{type(model).__name__}, which {config} describes, has no token table: its input embeddings are "
            f"{'missing' if module is None else type(module).__name__}. Name the tensor with tensor_name."
        )
    own = {f"{name}.weight" for name, part in model.named_modules(remove_duplicate=False) if part is module}
    return sorted(names, key=lambda name: name not in own), (weight.shape[0], weight.shape[1])


def _loading(model: Any) -> Callable[[str], str | None]:
    """How transformers would name a checkpoint's tensor in this model; None for one that it would also convert."""
    parameters = model.state_dict()
    prefix = model.base_model_prefix

    def prefixed(key: str) -> str:
        return next((name for name in _with_prefix(model, [key]) if name in parameters), key)

    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

        transforms = get_model_conversion_mapping(model)
        renamings = [transform for transform in transforms if isinstance(transform, WeightRenaming)]
        converters = [transform for transform in transforms if isinstance(transform, WeightConverter)]
        rename_source_key("probe", renamings, converters, prefix, parameters)
    except (ImportError, AttributeError, TypeError, ValueError):
        # Not a public interface: another version of transformers may lack it. Only renamed keys are lost.
        return prefixed

    def renamed(key: str) -> str | None:
        name, converted_by = rename_source_key(key, renamings, converters, prefix, parameters)
        if name in parameters:
            return None if converted_by else str(name)
        return prefixed(key)

    return renamed


def _with_prefix(model: Any, names: list[str]) -> list[str]:
    """The names, then the same with the base model's prefix added or taken away."""
    prefix = f"{model.base_model_prefix}."
    others = [name.removeprefix(prefix) if name.startswith(prefix) else prefix + name for name in names]
    return list(dict.fromkeys(names + others))

"""Which tensor of a checkpoint is the token table: asked of the architecture, not guessed from names."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from wordllama_st.errors import CodebookError, CodebookNotFoundError, reason
from wordllama_st.extras import require


def embedding_names(directory: Path) -> tuple[list[str], tuple[int, int]]:
    """The keys under which a checkpoint may hold its model's input embeddings, likeliest first, and their shape.

    The model class is built from config.json without weights (on torch's meta device) and asked for its
    ``get_input_embeddings()``. A checkpoint saved from the bare model lacks the prefix that the same model carries
    inside a task head, and the other way round; transformers accepts both when it loads, and so does this.

    Raises:
        CodebookNotFoundError: If there is no config.json.
        CodebookError: If transformers does not know the architecture.
        MissingExtraError: If transformers is not installed.
    """
    if not (directory / "config.json").is_file():
        raise CodebookNotFoundError(
            f"{directory} has no config.json, which says which tensor the token table is. Put the model's there, or "
            f"name the tensor with tensor_name."
        )
    require("st", "torch", "transformers")
    import torch
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=False)
        named = getattr(transformers, str((config.architectures or [None])[0]), None)
        with torch.device("meta"):
            if isinstance(named, type) and issubclass(named, transformers.PreTrainedModel):
                model = named(config)
            else:
                model = transformers.AutoModel.from_config(config)
            weight = cast("torch.Tensor", model.get_input_embeddings().weight)
    except Exception as error:  # a config can be wrong in as many ways as transformers has models
        raise CodebookError(
            f"transformers {transformers.__version__} cannot build the model that {directory / 'config.json'} "
            f"describes: {reason(error)} Name the tensor with tensor_name."
        ) from error
    names = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is weight]
    prefix = f"{model.base_model_prefix}."
    others = [name.removeprefix(prefix) if name.startswith(prefix) else prefix + name for name in names]
    return list(dict.fromkeys(names + others)), (weight.shape[0], weight.shape[1])

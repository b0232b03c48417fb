"""The projection of a static model as a Dense of sentence-transformers, without bias and activation."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from wordllama_st.errors import ModelLoadError
from wordllama_st.static.formats.files import WEIGHT_FILE, TensorFile, model_file, read_json, write_json
from wordllama_st.static.similarity import Vectors
from wordllama_st.storage.safetensors_file import byte_chunks, write_tensor

SETTINGS_FILE = "config.json"
#: The key of the matrix [D, d], which is the transpose of the projection.
_WEIGHT = "linear.weight"
_IDENTITY = "torch.nn.modules.linear.Identity"
#: What the settings of a Dense that is a product with its matrix may be, and what a setting is that is not there.
_LINEAR: dict[str, tuple[list[object], object]] = {
    "bias": ([False], True),
    "activation_function": ([_IDENTITY, "torch.nn.Identity"], "torch.nn.modules.activation.Tanh"),
    "use_residual": ([False], False),
    "module_input_name": (["sentence_embedding"], "sentence_embedding"),
    "module_output_name": (["sentence_embedding", None], None),
}


def write_projection(projection: Vectors, directory: Path, dtype: str) -> None:
    """Write a projection [d, D] into a new directory, as floats of a dtype."""
    dim, width = projection.shape
    # sentence-transformers before 5 refuses any further setting.
    settings = {"in_features": dim, "out_features": width, "bias": False, "activation_function": _IDENTITY}
    directory.mkdir()
    write_json(directory / SETTINGS_FILE, settings)
    weight = np.ascontiguousarray(projection.T, dtype)
    write_tensor(directory / WEIGHT_FILE, _WEIGHT, dtype, (width, dim), byte_chunks(weight))


def read_projection(model: Path, folder: PurePosixPath, dim: int) -> Vectors:
    """Read the projection [d, D] of rows of d dimensions from a folder of a model's directory.

    Raises:
        ModelLoadError: If the Dense is more than a product, is damaged or incomplete, or does not fit the rows; or if a
            link leads out of the model's directory.
    """
    path = model_file(model, folder / SETTINGS_FILE)
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise ModelLoadError(f"{path} is not a JSON object. Fetch or save the model again.")
    for name, (accepted, default) in _LINEAR.items():
        if (value := settings.get(name, default)) not in accepted:
            raise ModelLoadError(
                f"{path} has {value!r} for {name}; the Dense of a static model multiplies the mean by a matrix, "
                f"without bias and activation. SentenceTransformer runs it."
            )
    file = TensorFile(model_file(model, folder / WEIGHT_FILE))
    weight = file.read(_WEIGHT)
    width, length = settings.get("out_features"), settings.get("in_features")
    if list(weight.shape) != [width, length] or length != dim or weight.dtype.kind != "f":
        raise ModelLoadError(
            f"{_WEIGHT!r} in {file.path} is {weight.dtype} of shape {list(weight.shape)}; behind rows of {dim} "
            f"dimensions, and with an in_features of {length} and an out_features of {width} in {path.name}, it does "
            f"not fit. Fetch or save the model again."
        )
    return np.ascontiguousarray(weight.T, np.float32)

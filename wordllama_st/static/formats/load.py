"""Read a static model, wherever it is and whatever layout it has."""

from __future__ import annotations

from pathlib import Path

from wordllama_st.errors import ArgumentError, ModelLoadError, ModelUnavailableError
from wordllama_st.static import released
from wordllama_st.static.formats import model2vec, sentence_transformers, wordllama
from wordllama_st.static.formats.files import (
    EMBEDDINGS,
    PICKLE_FILE,
    WEIGHT_FILE,
    TensorFile,
    missing_weights,
    model_file,
)
from wordllama_st.static.formats.sentence_transformers import MODULES_FILE
from wordllama_st.static.table import StaticTable


def read_static_model(
    source: str | Path,
    *,
    revision: str | None = None,
    token: bool | str | None = None,
    tokenizer: str | Path | None = None,
) -> StaticTable:
    """Read a static model; torch, sentence-transformers, model2vec and wordllama are not imported for it.

    Tables keep their dtype (float64 and bfloat16 become float32) and stay mapped: after a look for numbers that are not
    finite, what no text needs takes no memory.

    Args:
        source: A directory in the layout of sentence-transformers, model2vec or wordllama; the .safetensors file of a
            table; a released model's name, such as ``"wordllama-l2-supercat-256"``; or ``"org/model"`` on the Hub.
            What is on disk wins over a name.
        revision: Branch, tag or commit of the Hub repository; without effect on what is on disk.
        token: As in huggingface_hub, whose environment variables apply (``HF_HUB_OFFLINE``, ``HF_HOME``).
        tokenizer: The tokenizer.json of a .safetensors file, if not beside it.

    Raises:
        ModelLoadError: If the source is something else than a static model, damaged or incomplete. The message says
            what it is, and what to do with it.
        ModelUnavailableError: If there is nothing, or the Hub's files are not here and cannot be had.
        UnknownModelError: If the name is like a released model's, but none was released.
        ArgumentError: If a tokenizer is given for a source that has its own.
    """
    path, name = Path(source), str(source)
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ModelLoadError(
                f"{path} is no static model, which is a directory or a .safetensors file. `wordllama-st extract`, "
                f"`train` and `bake` make one of a .gguf file; pickles are not read."
            )
        return wordllama.read(path, None if tokenizer is None else Path(tokenizer))
    if tokenizer is not None and path.suffix != ".safetensors":
        raise ArgumentError(f"{source} has a tokenizer of its own; another can be given for a .safetensors file only.")
    if path.is_dir():
        return _read_directory(path)
    if path.suffix == ".safetensors":
        raise ModelUnavailableError(f"There is no file {source}.")
    if name.startswith(released.PREFIX):
        return wordllama.read_released(released.fetch(name, revision=revision, token=token), dtype=None)
    # Importing the Hub client takes a tenth of a second, which local files need not wait for.
    from wordllama_st.static.formats.hub import snapshot

    return _read_directory(snapshot(name, revision=revision, token=token))


def _read_directory(directory: Path) -> StaticTable:
    weights = model_file(directory, WEIGHT_FILE)
    if (directory / "codebook.json").is_file():
        raise ModelLoadError(
            f"{directory} is a codebook, of which a model is yet to be made: wordllama-st train {directory} DATA --out "
            f"MODEL, then wordllama-st bake MODEL --out OTHER"
        )
    if (directory / MODULES_FILE).is_file():
        return sentence_transformers.read(directory)
    if weights.is_file() and EMBEDDINGS in TensorFile(weights).entries:
        return model2vec.read(directory)
    if wordllama.find(directory):
        return wordllama.read(directory)
    if (directory / PICKLE_FILE).is_file():
        raise missing_weights(weights)
    raise ModelLoadError(
        f"{directory} is no static model: it has no {MODULES_FILE}, no table of model2vec's in {WEIGHT_FILE} and none "
        f"of wordllama's in {wordllama.WEIGHTS_FOLDER}/. `wordllama-st extract`, `train` and `bake` make a static "
        f"model of a language model's checkpoint."
    )

"""Static models from wherever they are, whatever layout they have."""

from __future__ import annotations

from pathlib import Path

from wordllama_st.errors import ArgumentError, ModelLoadError, ModelUnavailableError
from wordllama_st.static import released
from wordllama_st.static.formats import model2vec, sentence_transformers, wordllama
from wordllama_st.static.formats.files import PICKLE_FILE, missing_weights
from wordllama_st.static.table import StaticTable


def read_static_model(
    source: str | Path,
    *,
    revision: str | None = None,
    token: bool | str | None = None,
    tokenizer: str | Path | None = None,
) -> StaticTable:
    """Read a static model; nothing of torch, sentence-transformers, model2vec or wordllama is imported for it.

    Vectors keep the dtype they have (of float64 and bfloat16 they become float32), and stay mapped: what no text needs
    is not read.

    Args:
        source: A directory in the layout of sentence-transformers, model2vec or wordllama; the .safetensors file of a
            table; a released model's name, such as ``"wordllama-l2-supercat-256"``; or ``"org/model"`` on the Hub.
            What is there on disk wins over a name.
        revision: Branch, tag or commit of the Hub repository. It has no meaning for what is on disk.
        token: For the Hub, as everywhere in huggingface_hub, whose environment variables hold here too
            (``HF_HUB_OFFLINE``, ``HF_HOME``).
        tokenizer: A tokenizer.json to go with a .safetensors file, if it is not beside it.

    Raises:
        ModelLoadError: If there is something else than a static model, or it is damaged or not complete. What it is,
            and what to do with it, is in the message.
        ModelUnavailableError: If there is nothing, or the Hub's files are not here and cannot be had.
        UnknownModelError: If the name is like a released model's, but none was released.
        ArgumentError: If a tokenizer is given for a source that has its own.
    """
    path, name = Path(source), str(source)
    if path.is_file():
        return _from_file(path, None if tokenizer is None else Path(tokenizer))
    if tokenizer is not None and path.suffix != ".safetensors":
        raise ArgumentError(f"{source} has a tokenizer of its own; another can be given for a .safetensors file only.")
    if path.is_dir():
        return _from_directory(path)
    if path.suffix == ".safetensors":
        raise ModelUnavailableError(f"There is no file {source}.")
    if name.startswith(released.PREFIX):
        return wordllama.load(released.fetch(name, revision=revision, token=token), dtype=None)
    # Importing the Hub client takes a tenth of a second, which local files need not wait for.
    from wordllama_st.static.formats.hub import snapshot

    return _from_directory(snapshot(name, revision=revision, token=token))


def _from_file(path: Path, tokenizer: Path | None) -> StaticTable:
    if path.suffix != ".safetensors":
        raise ModelLoadError(
            f"{path} is no static model, which is a directory or a .safetensors file. `wordllama-st extract`, `train` "
            f"and `bake` make one of a .gguf file; pickles are not read."
        )
    return wordllama.load_file(path, tokenizer)


def _from_directory(directory: Path) -> StaticTable:
    if (directory / "codebook.json").is_file():
        raise ModelLoadError(
            f"{directory} is a codebook, of which a model is yet to be made: wordllama-st train {directory} DATA --out "
            f"MODEL, then wordllama-st bake MODEL --out OTHER"
        )
    if (directory / sentence_transformers.MODULES_FILE).is_file():
        return sentence_transformers.load(directory)
    if model2vec.is_model(directory):
        return model2vec.load(directory)
    if wordllama.find(directory):
        return wordllama.load_directory(directory)
    if (directory / PICKLE_FILE).is_file():
        raise missing_weights(directory / sentence_transformers.WEIGHT_FILE)
    raise ModelLoadError(
        f"{directory} is no static model: it has no {sentence_transformers.MODULES_FILE}, no table of model2vec's in "
        f"{sentence_transformers.WEIGHT_FILE} and none of wordllama's in {wordllama.WEIGHTS_FOLDER}/. "
        f"`wordllama-st extract`, `train` and `bake` make a static model of a language model's checkpoint."
    )

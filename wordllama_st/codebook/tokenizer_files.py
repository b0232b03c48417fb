"""A checkpoint's tokenizer, whichever files it is kept in."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from wordllama_st.codebook.checkpoint import CheckpointFiles
from wordllama_st.errors import CodebookError, reason
from wordllama_st.extras import require
from wordllama_st.tokenization import TOKENIZER_FILE, load_tokenizer, no_tokenizer

#: The files of tokenizers that no tokenizer.json was written for: SentencePiece, tiktoken, BPE and WordPiece ones.
_VOCABULARIES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt")
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")


def find_tokenizer(files: CheckpointFiles) -> Tokenizer:
    """Read a checkpoint's tokenizer.json; where there is none, let transformers convert what there is.

    Raises:
        CodebookNotFoundError: If the checkpoint has no tokenizer.
        CodebookError: If it has one that cannot be read or converted.
        MissingExtraError: If it must be converted, and what that takes is not installed.
    """
    path = files.path(TOKENIZER_FILE)
    if path is not None:
        return load_tokenizer(path)
    found = [path for name in _VOCABULARIES if (path := files.path(name)) is not None]
    if not found:
        raise no_tokenizer(files.name)
    for name in _BESIDE:
        files.path(name)  # the Hub's are fetched to lie beside the vocabulary
    return _converted(found[0].parent, found[0].name, files.name)


def _converted(directory: Path, vocabulary: str, name: str) -> Tokenizer:
    require("sentencepiece", "transformers", "sentencepiece")
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            directory, trust_remote_code=False, local_files_only=True
        )
        backend = getattr(tokenizer, "backend_tokenizer", None)
    except Exception as error:  # a tokenizer can be wrong in as many ways as transformers has tokenizers
        raise CodebookError(
            f"{name} has no {TOKENIZER_FILE}, and transformers {transformers.__version__} cannot make one of its "
            f"{vocabulary}: {reason(error)} Write one with the code that the model comes with."
        ) from error
    if not isinstance(backend, Tokenizer):
        raise CodebookError(f"{name}'s tokenizer, of {vocabulary}, is none that the tokenizers library can run.")
    return backend

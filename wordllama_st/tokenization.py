"""Tokenizers, reduced to what a context-free model needs of them: from a text to the ids of its own tokens."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer

from wordllama_st.errors import CodebookError, CodebookNotFoundError


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer.json.

    Raises:
        CodebookNotFoundError: If there is none.
        CodebookError: If it is not one that the tokenizers library reads.
    """
    if not path.is_file():
        raise CodebookNotFoundError(
            f"There is no tokenizer at {path}. Put the model's tokenizer.json there; "
            f"AutoTokenizer.from_pretrained(MODEL).save_pretrained(DIR) of transformers writes one."
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise CodebookError(f"{path} is not a tokenizer.json that the tokenizers library reads: {error}.") from error


def plain_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that neither truncates nor pads nor adds special tokens, whoever calls it and however."""
    definition = json.loads(tokenizer.to_str())
    definition.update(truncation=None, padding=None, post_processor=None)
    return Tokenizer.from_str(json.dumps(definition))


def tokens_beyond(tokenizer: Tokenizer, rows: int) -> list[tuple[str, int]]:
    """The tokens whose ids have no row in a table of ``rows`` rows, by id."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return sorted(((token, token_id) for token, token_id in vocabulary.items() if token_id >= rows), key=lambda t: t[1])

"""Tokenizers, reduced to what a context-free model needs of them: from a text to the ids of its own tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from wordllama_st.errors import CodebookError, CodebookNotFoundError, reason
from wordllama_st.storage.charsmap import check_charsmaps
from wordllama_st.storage.definition import check_growth, check_merges, check_strings

TOKENIZER_FILE = "tokenizer.json"


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer.json; raises CodebookNotFoundError if there is none, CodebookError if it cannot be read."""
    if not os.path.isfile(path):  # which is no error for a name that is too long
        raise no_tokenizer(path)
    try:
        definition = path.read_bytes()
        check_strings(definition)
        check_merges(definition)
        with panics_are_errors():
            tokenizer = Tokenizer.from_buffer(definition)
            check_charsmaps(tokenizer)
            check_growth(tokenizer)
    except Exception as error:  # tokenizers raises bare Exception
        said = reason(error).rstrip(".")
        raise CodebookError(f"{path} is not a tokenizer.json that the tokenizers library reads: {said}.") from error
    return tokenizer


@contextmanager
def panics_are_errors() -> Iterator[None]:
    """Raise RuntimeError for the tokenizers library's panics, which no ``except Exception`` catches."""
    try:
        yield
    except BaseException as error:
        if is_panic(error):
            raise RuntimeError(reason(error)) from error
        raise


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic of a library in Rust, whose class is of a module that cannot be imported."""
    return type(error).__name__ == "PanicException"


def no_tokenizer(where: Path | str) -> CodebookNotFoundError:
    """The error for a place that a tokenizer is missing from."""
    return CodebookNotFoundError(
        f"There is no tokenizer at {where}. Put the model's {TOKENIZER_FILE} there; "
        f"AutoTokenizer.from_pretrained(MODEL).save_pretrained(DIR) of transformers writes one."
    )


def plain_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that neither truncates nor pads nor adds special tokens, whoever calls it and however."""
    definition = json.loads(tokenizer.to_str())
    definition.update(truncation=None, padding=None, post_processor=None)
    return _tokenizer_of(definition)


def text_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A plain copy that takes the special tokens written in a text for the text they are.

    A tokenizer makes of an ``<s>`` in an HTML page the id of its special token, whose embedding says nothing of a
    text's meaning. Here special tokens become ordinary entries of the vocabulary that no text reaches: merges that lead
    to them are dropped, and where the model looks words up whole, their names get a space in front, which no word has.
    Ids and the vocabulary size stay the same, and so does the unknown token.
    """
    definition = json.loads(plain_tokenizer(tokenizer).to_str())
    added = sorted(definition["added_tokens"], key=lambda token: token["id"])
    if any(token["special"] for token in added):
        model = definition["model"]
        # tokenizers numbers those that the vocabulary lacks anew, from its end. So the others up to the last special
        # one are entered, too, but none behind it: as an entry, a single_word token is found within words as well.
        last = max(index for index, token in enumerate(added) if token["special"])
        (_enter_pieces if model["type"] == "Unigram" else _enter_words)(model, added[: last + 1])
        definition["added_tokens"] = [token for token in added if not token["special"]]
    return _tokenizer_of(definition)


def _tokenizer_of(definition: dict[str, Any]) -> Tokenizer:
    """Make the tokenizer of a definition; CodebookError if it contradicts itself, as where two tokens have one id."""
    try:
        with panics_are_errors():
            return Tokenizer.from_str(json.dumps(definition))
    except Exception as error:  # tokenizers raises bare Exception
        raise CodebookError(
            f"The tokenizer is damaged, and would not be read again: {reason(error).rstrip('.')}. Fetch it again."
        ) from error


def _enter_words(model: dict[str, Any], added: list[dict[str, Any]]) -> None:
    """Make added tokens entries of a vocabulary of words or merges."""
    whole_words = model["type"] != "BPE" or model.get("ignore_merges")
    unreached = set()
    for token in added:
        name = token["content"]
        if token["special"] and name != model.get("unk_token"):
            unreached.add(name)
            model["vocab"].pop(name, None)
            if whole_words or len(name) == 1:
                name = f" {name}"
        model["vocab"][name] = token["id"]
    if model["type"] == "BPE":
        prefix = len(model.get("continuing_subword_prefix") or "")
        model["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if unreached.isdisjoint((left, right, left + right[prefix:]))
        ]


def _enter_pieces(model: dict[str, Any], added: list[dict[str, Any]]) -> None:
    """Make added tokens entries of a vocabulary of scored pieces, which is in the order of ids."""
    lowest = min((score for _, score in model["vocab"]), default=0.0)
    for token in added:
        name = f" {token['content']}" if token["special"] else token["content"]
        if token["id"] == len(model["vocab"]):
            model["vocab"].append([name, lowest])
        elif token["special"] and token["id"] != model.get("unk_id"):
            model["vocab"][token["id"]][0] = name


def special_tokens(tokenizer: Tokenizer) -> set[str]:
    """The added tokens that stand for no text."""
    return {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}


def num_token_ids(tokenizer: Tokenizer) -> int:
    """How many rows a table must have for the tokenizer's largest id."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def tokens_without_row(tokenizer: Tokenizer, rows: int) -> list[tuple[str, int]]:
    """The tokens whose ids have no row in a table of ``rows`` rows, by id."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return sorted(((token, token_id) for token, token_id in vocabulary.items() if token_id >= rows), key=lambda t: t[1])

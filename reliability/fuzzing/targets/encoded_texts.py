"""Texts, as encoders of every kind of tokenizer encode them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from target import Target
from tokenizers import Tokenizer

sys.path.append(str(Path(__file__).parents[3] / "tests"))

from tokenizer_kinds import CORPUS, KINDS

from wordllama_st import StaticEncoder
from wordllama_st.static.table import StaticTable
from wordllama_st.storage.tokenizer import num_token_ids


def make_encoder(kind: str) -> tuple[StaticEncoder, Tokenizer]:
    """An encoder that looks words up, but has little memory for them, and a tokenizer of its kind for comparison."""
    tokenizer = KINDS[kind]()
    weight = np.random.default_rng(0).standard_normal((num_token_ids(tokenizer), 8), np.float32)
    encoder = StaticEncoder(StaticTable(weight, tokenizer), word_memory=2**18)
    encoder.encode([" ".join(CORPUS * 10)] * 20)
    assert encoder._tokens.words is not None
    return encoder, Tokenizer.from_str(tokenizer.to_str())


FILES = [f"{number}.txt" for number in range(len(KINDS))]
_encoders: dict[str, tuple[StaticEncoder, Tokenizer]] = {}


def write_texts(folder: Path) -> None:
    """A text for each kind of tokenizer."""
    for file, kind in zip(FILES, KINDS, strict=True):
        _encoders[file] = make_encoder(kind)
        (folder / file).write_text("\n".join(CORPUS[:5]), encoding="utf-8")


def read_text(folder: Path, name: str) -> None:
    """Encode a text that may have lone surrogates: its ids are the tokenizer's, and its vector their mean."""
    encoder, tokenizer = _encoders[name]
    content = (folder / name).read_bytes()
    try:
        text = content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
    vector = encoder.encode(text)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert encoder.tokenize(text) == ids
    many = encoder.encode([text] * 9)
    assert np.isfinite(vector).all()
    assert np.array_equal(many[0], many[8])
    np.testing.assert_allclose(many[0], vector, atol=1e-5)
    expected = encoder.table.rows(ids).mean(axis=0, dtype=np.float64) if ids else np.zeros(8)
    np.testing.assert_allclose(vector, expected, atol=1e-5)


TARGETS = [Target("texts", write_texts, FILES, read_text)]

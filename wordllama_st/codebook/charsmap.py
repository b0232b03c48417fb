"""SentencePiece's compiled character maps, checked before the tokenizers library follows them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, normalizers

#: Bytes of a compiled character map; SentencePiece's largest has some 300,000.
_MAX_CHARSMAP = 2**22


def normalizer_steps(charsmap: bytes, remove_extra_whitespaces: bool) -> list[Any]:
    """The normalizers that do to a text what a SentencePiece model's normalizer_spec says, up to its spaces."""
    steps: list[Any] = [normalizers.Precompiled(charsmap)] if charsmap else []
    if remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    return steps


@contextmanager
def panics_are_errors() -> Iterator[None]:
    """Make ordinary errors of the tokenizers library's panics, which no ``except Exception`` catches.

    Raises:
        RuntimeError: With what the panic said.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # of a module that cannot be imported
            raise RuntimeError(str(error)) from error
        raise


def check_charsmaps(tokenizer: Tokenizer) -> None:
    """Check the compiled character maps of a tokenizer, if it has any.

    Raises:
        ValueError: If one is not sound.
    """
    steps = [] if tokenizer.normalizer is None else [json.loads(tokenizer.normalizer.__getstate__())]
    while steps:
        step = steps.pop()
        steps += step.get("normalizers", [])
        if step["type"] == "Precompiled" and not is_sound_charsmap(base64.b64decode(step["precompiled_charsmap"])):
            raise ValueError("its precompiled_charsmap is damaged")


def is_sound_charsmap(charsmap: bytes) -> bool:
    """Whether no text leads out of SentencePiece's compiled map from characters to what they are normalised to.

    It has the size of a trie, the trie as a double array (each unit's number is combined with a byte of the text into
    the number of the next unit), and the texts that its leaves point into. The tokenizers library follows it wherever
    it leads, and where that is beyond an end, panics: with an exception that no ``except Exception`` catches, and not
    before somebody's text gets there. So every step that a text could make is made here.
    """
    size = int.from_bytes(charsmap[:4], "little") // 4
    if not 0 < size * 4 <= len(charsmap) - 4 <= _MAX_CHARSMAP:
        return False
    units = np.frombuffer(charsmap, "<u4", size, 4).astype(np.int64)
    texts = np.frombuffer(charsmap, np.uint8, offset=4 + size * 4)
    begins_character = np.append((texts & 0xC0) != 0x80, True)
    offsets = (units >> 10) << ((units & 0x200) >> 6)
    letters = np.arange(1, 0xF5)  # the bytes of UTF-8
    seen = np.zeros(size, bool)
    ahead = [offsets[:1]]
    while ahead:
        reached = ahead.pop()[:, None] ^ letters
        if reached.max() >= size:
            return False
        found = np.unique(reached[(units[reached] & 0x800000FF) == letters])
        found = found[~seen[found]]
        seen[found] = True
        nodes = found ^ offsets[found]
        leaves = nodes[units[found] & 0x100 != 0]
        if leaves.max(initial=0) >= size:
            return False
        values = units[leaves] & 0x7FFFFFFF
        if values.max(initial=0) > len(texts) or not begins_character[values].all():
            return False
        ahead += [nodes[start : start + 4096] for start in range(0, len(nodes), 4096)]  # in pieces, for memory
    return True

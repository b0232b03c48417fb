"""SentencePiece's compiled character maps, as tokenizers have them, checked before a text is normalized by one."""

from __future__ import annotations

import base64

import numpy as np
from tokenizers import Tokenizer

from wordllama_st.storage.definition import normalizer_steps

#: Bytes of a compiled character map; SentencePiece's largest has some 300,000.
_MAX_CHARSMAP = 2**22


def check_charsmaps(tokenizer: Tokenizer) -> None:
    """Raise ValueError if a tokenizer has a compiled character map that is not sound."""
    for step in normalizer_steps(tokenizer):
        if step["type"] == "Precompiled" and not is_sound_charsmap(base64.b64decode(step["precompiled_charsmap"])):
            raise ValueError("its precompiled_charsmap is damaged")


def is_sound_charsmap(charsmap: bytes) -> bool:
    """Whether no text leads out of SentencePiece's compiled map from characters to what they are normalised to.

    It has the size of a trie, the trie as a double array (each unit's number is combined with a byte of the text into
    the number of the next unit), and the texts that its leaves point into. The tokenizers library panics where a text
    leads beyond an end, so every step that a text could make is made here.
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

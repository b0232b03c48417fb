"""The table of words: which words are equal, with the extension and without it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wordllama_st.static.word_cache import table as table_module
from wordllama_st.static.word_cache.table import LONGEST, WIDTHS, Words, WordTable

some_words = st.lists(
    st.one_of(st.binary(min_size=1, max_size=3), st.binary(min_size=1, max_size=LONGEST + 3)), max_size=40
).flatmap(lambda words: st.permutations(words * 3))


@pytest.mark.parametrize("compiled", [True, False])
@given(given_words=some_words)
@example(given_words=[b"\0", b"\0\0", b"a\0", b"a", *(b"x" * width for width in WIDTHS)] * 2)
def test_equal_words_have_one_number(compiled: bool, given_words: list[bytes]) -> None:
    lengths = np.array([len(word) for word in given_words], np.int64)
    words = Words(b"".join([*given_words, bytes(WIDTHS[-1])]), lengths.cumsum() - lengths, lengths)
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(table_module, "kernel", None)
        firsts, numbers = WordTable(2**20).distinct(words)
    short, long = {word for word in given_words if len(word) <= LONGEST}, lengths > LONGEST
    assert len(firsts) == len(short) + long.sum()
    assert [given_words[first] for first in firsts[numbers].tolist()] == given_words
    assert firsts[numbers[long]].tolist() == np.flatnonzero(long).tolist()

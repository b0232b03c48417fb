"""A tokenizer that looks words up once it has read so many texts that this pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

from wordllama_st.static.word_cache.plain import Bags, PlainTokenizer
from wordllama_st.static.word_cache.tokenizer import WordTokenizer

#: Bytes that the look-up of words may take.
WORD_MEMORY = 64 * 2**20
#: Characters to read before the tokenizer is examined, which takes about as long as tokenizing them.
_WORTH_IT = 100_000


class CachedTokenizer:
    """A tokenizer that is asked for token ids alone, and looks up the words that it has seen before.

    Threads and forked processes can share it. Copies and other processes get the tokenizer without its words.

    Args:
        tokenizer: It must neither truncate nor pad.
        max_bytes: The most memory that the look-up may take; 0 turns it off.
    """

    def __init__(self, tokenizer: Tokenizer, max_bytes: int = WORD_MEMORY) -> None:
        self.plain = PlainTokenizer(tokenizer)
        self.max_bytes = max_bytes
        self._characters = 0
        self._words: WordTokenizer | None = None
        self._is_examined = False

    @property
    def words(self) -> WordTokenizer | None:
        """The look-up; None if the tokenizer does not treat words one by one."""
        if not self._is_examined:
            self._words = WordTokenizer.for_tokenizer(self.plain, self.max_bytes)
            self._is_examined = True
        return self._words

    def ids(self, text: str) -> list[int]:
        """Tokenize a text; errors as :meth:`bags`."""
        return self.for_texts_of(len(text)).ids(text)

    def bags(self, texts: Sequence[str]) -> Bags:
        """Tokenize texts; errors as :meth:`.PlainTokenizer.bags`."""
        return self.for_texts_of(sum(map(len, texts))).bags(texts)

    def for_texts_of(self, characters: int) -> WordTokenizer | PlainTokenizer:
        """Return what tokenizes so many characters more, which may be in several batches."""
        self._characters += characters
        is_worth_it = self.max_bytes and self._characters >= _WORTH_IT
        return (self.words if is_worth_it else None) or self.plain

    def __reduce__(self) -> tuple[Callable[..., CachedTokenizer], tuple[Tokenizer, int]]:
        return CachedTokenizer, (self.plain.tokenizer, self.max_bytes)

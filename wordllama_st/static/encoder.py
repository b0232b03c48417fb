"""The static encoder: texts to embeddings, without torch."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from wordllama_st.errors import ArgumentError
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.pooling import mean_vector, mean_vectors
from wordllama_st.static.precision import Precision, check_precision, quantize_embeddings
from wordllama_st.static.similarity import Vectors, normalized, similarity_function
from wordllama_st.static.table import DTYPES, StaticTable
from wordllama_st.static.texts import check_characters, checked_texts
from wordllama_st.static.word_cache.cached import WORD_MEMORY, CachedTokenizer
from wordllama_st.static.word_cache.tokenizer import LONG_TEXT

if TYPE_CHECKING:
    from wordllama.inference import WordLlamaInference

    from wordllama_st.static.formats.save import Format

logger = logging.getLogger(__name__)

#: Texts that are encoded one by one; more are encoded together.
_FEW = 8

Dtype = Literal["float32", "float16", "int8"]
T = TypeVar("T")


class _Cached(cached_property[T]):
    """A cached property without the lock that it has before Python 3.12, which a forked process may find locked."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            return self
        return instance.__dict__.setdefault(self.attrname, self.func(instance))


class TokenVectors(NamedTuple):
    """The n tokens of a text: their names in the vocabulary, their ids and their embeddings [n, d]."""

    tokens: list[str]
    ids: list[int]
    vectors: Vectors


class StaticEncoder:
    """A static model at run time: it gives the embeddings of the stock ``SentenceTransformer``, without torch.

    A text's embedding is the mean of its tokens' embeddings. Where :mod:`wordllama_st.static.word_cache.rules` allow
    it, words that were seen before are looked up instead of tokenized. Threads and forked processes can share an
    encoder. A text's embedding is the same to the bit whatever its batch, the threads and the state of the look-up.

    Args:
        table: The model.
        dtype: What the table is held in. float16 takes half and int8 a quarter of float32's memory, and encoding many
            texts somewhat longer; int8 is rounded, with a scale for each token. None takes float32, but keeps models
            stored as int8 or with a quantized vocabulary as they are.
        truncate_dim: Matryoshka dim to truncate all embeddings to.
        word_memory: Bytes that the look-up of words may take; 0 turns it off.

    Raises:
        ArgumentError: If an argument is not valid.

    Example:
        ::

            from wordllama_st import StaticEncoder

            encoder = StaticEncoder.from_pretrained("wordllama-l2-supercat-256")
            embeddings = encoder.encode(["How do I reset my password?", "I can't log in."])
            print(encoder.similarity(embeddings, embeddings))
    """

    def __init__(
        self,
        table: StaticTable,
        *,
        dtype: Dtype | None = None,
        truncate_dim: int | None = None,
        word_memory: int = WORD_MEMORY,
    ) -> None:
        if dtype not in (None, *DTYPES):
            raise ArgumentError(f"The vectors are held in {', '.join(DTYPES)}, not {dtype!r}.")
        if word_memory < 0:
            raise ArgumentError(f"The look-up of words cannot have {word_memory} bytes of memory.")
        if truncate_dim is not None:
            table = table.truncated(truncate_dim)
        if dtype == "int8":
            table = table.quantized()
        elif dtype == "float16":
            table = table.plain(np.float16)
        self.table = table
        self._dtype = dtype
        self._tokens = CachedTokenizer(table.tokenizer, word_memory)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: bool | str | None = None,
        tokenizer: str | Path | None = None,
        dtype: Dtype | None = None,
        truncate_dim: int | None = None,
        word_memory: int = WORD_MEMORY,
    ) -> StaticEncoder:
        """Load a static model; ``dtype``, ``truncate_dim`` and ``word_memory`` are as for the class.

        Args:
            source: A directory that :func:`~wordllama_st.bake`, :meth:`save_pretrained`, sentence-transformers or
                model2vec wrote; a WordLlama .safetensors file; a released model's name; or a Hub id.
            revision: Branch, tag or commit, for a model on the Hub.
            token: As in huggingface_hub.
            tokenizer: The tokenizer.json of a .safetensors file, if not beside it.

        Raises:
            ModelLoadError: If the source is no static model, or is damaged; a trained model must be baked first.
            ModelUnavailableError: If there is nothing, here or on the Hub.
            UnknownModelError: If a ``wordllama-*`` name was never released.
        """
        table = read_static_model(source, revision=revision, token=token, tokenizer=tokenizer)
        return cls(table, dtype=dtype, truncate_dim=truncate_dim, word_memory=word_memory)

    @property
    def dim(self) -> int:
        """d, the embedding dim."""
        return self.table.dim

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; call it with ``add_special_tokens=False``."""
        return self.table.tokenizer

    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 1024,
        show_progress_bar: bool | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        num_threads: int | None = 1,
    ) -> npt.NDArray[Any]:
        """Encode texts.

        Args:
            sentences: A text, or several.
            prompt_name: Of the model's prompt to put in front of each; its default prompt if None.
            prompt: A text to put in front instead.
            batch_size: Texts at a time.
            show_progress_bar: None shows it when this package logs at INFO.
            precision: As for :func:`~wordllama_st.static.precision.quantize_embeddings`.
            normalize_embeddings: Whether to scale embeddings to unit length.
            truncate_dim: Matryoshka dim to truncate embeddings to, before they are scaled.
            num_threads: Batches at a time; None takes one for each core.

        Returns:
            float32 [n, d], or [d] for a single text; for other precisions see there. Zeros for a text without tokens.

        Raises:
            ArgumentError: If a text is not a str (its index is named), or an argument is not valid.
        """
        check_precision(precision)
        if truncate_dim is not None:
            self.table.check_dim(truncate_dim)
        if batch_size < 1:
            raise ArgumentError(f"A batch has one text at least, not {batch_size}.")
        front = self.table.prompt_text(prompt_name) if prompt is None else prompt
        texts = [sentences] if isinstance(sentences, str) else checked_texts(sentences)
        texts = [front + text for text in texts] if front else texts
        try:
            if isinstance(sentences, str) and len(texts[0]) <= LONG_TEXT:
                embeddings = self._encode_text(texts[0])
            else:
                embeddings = self._encode(texts, batch_size, show_progress_bar, num_threads)
                embeddings = embeddings[0] if isinstance(sentences, str) else embeddings
        except (UnicodeEncodeError, TypeError):
            check_characters(texts)
            raise
        embeddings = normalized(embeddings) if self.table.normalize else embeddings
        is_cut = truncate_dim is not None and truncate_dim < self.dim
        if is_cut:
            embeddings = embeddings[..., :truncate_dim]
        if normalize_embeddings and (is_cut or not self.table.normalize):
            embeddings = normalized(embeddings)
        result = quantize_embeddings(embeddings, precision)
        return result if result.base is None else result.copy()

    def encode_stream(
        self, sentences: Iterable[str], *, batch_size: int = 1024, **options: Any
    ) -> Iterator[npt.NDArray[Any]]:
        """Encode texts lazily, and yield the embedding [d] of each.

        Args:
            sentences: Texts, of any number.
            batch_size: Texts to take at a time.
            **options: Of :meth:`encode`; 8-bit precisions are refused, since each batch would have ranges of its own.

        Raises:
            ArgumentError: As :meth:`encode`, when the text in question is reached.
        """
        if str(options.get("precision", "")).endswith("int8"):
            raise ArgumentError(f"A stream has no ranges for {options['precision']}; quantize_embeddings takes some.")
        texts, position = iter(sentences), 0
        while batch := list(islice(texts, batch_size)):
            yield from self.encode(checked_texts(batch, position), batch_size=batch_size, **options)
            position += len(batch)

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text, those of the tokenizer; ArgumentError if it is not a str."""
        return self._tokens.ids(*checked_texts([text]))

    def token_vectors(self, text: str) -> TokenVectors:
        """Return the tokens of a text and their embeddings, whose mean is the text's; errors as :meth:`tokenize`."""
        ids = self.tokenize(text)
        tokens = [self.tokenizer.id_to_token(token_id) or "" for token_id in ids]
        return TokenVectors(tokens, ids, self.table.rows(ids))

    def similarity(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Vectors:
        """Compare embeddings by the model's similarity function: cosine unless the model says otherwise.

        Args:
            a: Embeddings [n, d], or a single one [d].
            b: Embeddings [m, d], or a single one [d].

        Returns:
            float32 [n, m], the larger the more similar.
        """
        function = similarity_function(self.table.similarity_fn_name)
        return function(np.atleast_2d(np.asarray(a, np.float32)), np.atleast_2d(np.asarray(b, np.float32)))

    def save_pretrained(
        self, path: str | Path, *, format: Format = "sentence-transformers", overwrite: bool = False
    ) -> None:
        """Write the model with a model card, in the layout of a runtime.

        Args:
            path: A directory, which appears when it is complete.
            format: ``"sentence-transformers"`` for the stock class, float32 or float16; ``"model2vec"`` for that
                package and the stock class from version 6.2 on, int8 too; ``"wordllama"`` for that package.
            overwrite: Whether to replace what is there.

        Raises:
            OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
            ArgumentError: If there is no such format, or it has no place for int8.
        """
        from wordllama_st.static.formats.save import write_static_model

        write_static_model(self.table, path, ["A static model, saved again"], format=format, overwrite=overwrite)

    def to_wordllama(self) -> WordLlamaInference:
        """Return the model in the wordllama package's class; a last normalization is left to ``embed(norm=True)``."""
        from wordllama.inference import WordLlamaInference

        return WordLlamaInference(self.table.expanded(), copy.deepcopy(self.tokenizer))  # on which it sets padding

    def __getstate__(self) -> dict[str, Any]:
        """Copies and other processes get the model without a second table."""
        return {name: value for name, value in self.__dict__.items() if name != "_batch_table"}

    def __repr__(self) -> str:
        return f"StaticEncoder([{self.table.num_tokens}, {self.dim}] {self.table.weight.dtype})"

    @_Cached
    def _batch_table(self) -> StaticTable:
        """The table that many texts are encoded with, in float32 unless it is meant to be small."""
        table = self.table
        is_small = table.mapping is not None or table.weight.dtype == np.int8
        if self._dtype in ("float16", "int8") or (self._dtype is None and is_small):
            return table
        return table.plain()

    def _encode_text(self, text: str) -> Vectors:
        # Casting the whole table is not worth it for a few texts; but if it has been done, these need no casting.
        return mean_vector(self.__dict__.get("_batch_table", self.table), self._tokens.ids(text))

    def _encode(self, texts: Sequence[str], batch_size: int, show: bool | None, num_threads: int | None) -> Vectors:
        if 0 < len(texts) <= _FEW and max(map(len, texts)) <= LONG_TEXT:
            return np.stack([self._encode_text(text) for text in texts])
        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens = self._tokens.for_texts_of(sum(map(len, texts)))

        def encode_batch(start: int) -> int:
            batch = texts[start : start + batch_size]
            mean_vectors(self._batch_table, tokens.bags(batch), out=vectors[start : start + len(batch)])
            return len(batch)

        from tqdm import tqdm

        starts = range(0, len(texts), batch_size)
        threads = min(len(starts), num_threads or os.cpu_count() or 1) or 1  # no texts, no batches
        show = logger.isEnabledFor(logging.INFO) if show is None else show
        # A bar that is not shown would still take tqdm's lock, which a forked process may find locked.
        bar: Any = tqdm(desc="Encoding", total=len(texts), unit=" texts") if show else nullcontext()
        with bar, ThreadPoolExecutor(threads) as pool:
            for count in (map if threads == 1 else pool.map)(encode_batch, starts):
                if show:
                    bar.update(count)
        return vectors

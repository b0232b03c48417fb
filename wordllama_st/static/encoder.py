"""The static encoder: from texts to vectors without torch."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from wordllama_st.errors import ArgumentError
from wordllama_st.static.formats.load import read_static_model
from wordllama_st.static.pooling import mean_vector, mean_vectors
from wordllama_st.static.precision import Precision, check_precision, quantize_embeddings
from wordllama_st.static.similarity import Vectors, normalized, similarity_function
from wordllama_st.static.table import StaticTable
from wordllama_st.static.word_cache.tokenizer import LONG_TEXT, Bags, WordTokenizer, plain_bags

if TYPE_CHECKING:
    from wordllama.inference import WordLlamaInference

logger = logging.getLogger(__name__)

#: Memory that the look-up of words may take, in bytes, unless told otherwise.
WORD_MEMORY = 64 * 2**20
#: Texts that are encoded one by one; more are encoded together.
_FEW = 8
#: Characters that an encoder must have seen before it examines its tokenizer, which takes about as long as they did.
_WORTH_IT = 100_000

Dtype = Literal["float32", "float16", "int8"]


class TokenVectors(NamedTuple):
    """The tokens of a text.

    Attributes:
        tokens: Their names in the vocabulary, [n].
        ids: Their ids, [n].
        vectors: Their vectors, [n, d], whose mean is the text's.
    """

    tokens: list[str]
    ids: list[int]
    vectors: Vectors


class StaticEncoder:
    """Encodes texts with a static model, exactly as the stock ``SentenceTransformer`` does, without torch.

    A text's vector is the mean of its tokens' vectors. Where the tokenizer treats a text's words one by one, which is
    found out, a word that was seen before is not tokenized again (see :mod:`wordllama_st.static.word_cache.rules`). An
    encoder can be used by many threads at once.

    Args:
        table: The model.
        dtype: What to hold the vectors in. float16 takes half and int8 a quarter of float32's memory, and encoding many
            texts somewhat longer; int8 is rounded, with a scale for each token. None takes float32, except for models
            that are stored as int8 or with a quantised vocabulary, which stay as they are.
        truncate_dim: Matryoshka dim to cut all vectors to.
        word_memory: The most memory, in bytes, that the look-up of words may take. 0 does without it.

    Raises:
        ArgumentError: If one of them has no meaning.

    Example:
        ::

            from wordllama_st import StaticEncoder

            encoder = StaticEncoder.from_pretrained("wordllama-l2-supercat-256")
            vectors = encoder.encode(["How do I reset my password?", "I can't log in."])
            print(encoder.similarity(vectors, vectors))
    """

    def __init__(
        self,
        table: StaticTable,
        *,
        dtype: Dtype | None = None,
        truncate_dim: int | None = None,
        word_memory: int = WORD_MEMORY,
    ) -> None:
        if dtype not in (None, "float32", "float16", "int8"):
            raise ArgumentError(f"The vectors are held in float32, float16 or int8, not {dtype!r}.")
        if word_memory < 0:
            raise ArgumentError(f"The look-up of words cannot have {word_memory} bytes of memory.")
        if truncate_dim is not None:
            _check_dim(truncate_dim, table.dim)
            table = table.truncated(truncate_dim)
        if dtype == "int8":
            table = table.quantized()
        elif dtype == "float16":
            table = replace(table, weight=table.dense().astype(np.float16), mapping=None)
        self.table = table
        self.word_memory = word_memory
        self._dtype = dtype
        self._characters_seen = 0

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: bool | str | None = None,
        tokenizer: str | Path | None = None,
        dtype: Dtype | None = None,
        truncate_dim: int | None = None,
        word_memory: int = WORD_MEMORY,
    ) -> StaticEncoder:
        """Load a static model.

        Args:
            name_or_path: A directory that :func:`~wordllama_st.bake`, sentence-transformers, model2vec or
                :meth:`save_pretrained` wrote; a released model's name; the id of a static model on the Hub; or a
                WordLlama .safetensors file.
            revision: Branch, tag or commit, for a model on the Hub.
            token: For a gated or private one, as everywhere in huggingface_hub.
            tokenizer: The tokenizer.json of a .safetensors file, where it does not lie beside it.
            dtype: As for the class.
            truncate_dim: As for the class.
            word_memory: As for the class.

        Raises:
            ModelLoadError: If what is there is no static model, or is damaged; a trained model is to be baked first.
            ModelUnavailableError: If there is nothing, here or on the Hub.
            UnknownModelError: If a ``wordllama-*`` name was never released.
        """
        table = read_static_model(name_or_path, revision=revision, token=token, tokenizer=tokenizer)
        return cls(table, dtype=dtype, truncate_dim=truncate_dim, word_memory=word_memory)

    @property
    def dim(self) -> int:
        """d, the length of a vector."""
        return self.table.dim

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; call it with ``add_special_tokens=False``."""
        return self.table.tokenizer

    @cached_property
    def _batch_table(self) -> StaticTable:
        """The table that many texts are encoded with, in float32 unless it is meant to be small."""
        small = self.table.mapping is not None or self.table.weight.dtype == np.int8
        if self._dtype == "float32" or (self._dtype is None and not small):
            return replace(self.table, weight=np.ascontiguousarray(self.table.expanded()), mapping=None, scales=None)
        return self.table

    @cached_property
    def _words(self) -> WordTokenizer | None:
        return WordTokenizer.for_tokenizer(self.tokenizer, self.word_memory)

    def _words_if_worth_it(self, characters: int) -> WordTokenizer | None:
        self._characters_seen += characters
        if self._characters_seen < _WORTH_IT:
            return None
        return self._words if self.word_memory else None

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
            sentences: A text, or texts.
            prompt_name: Which of the model's prompts to put in front of each; its default prompt, if it has one, if
                None.
            prompt: What to put in front instead.
            batch_size: Texts at a time.
            show_progress_bar: None shows it when this package logs at INFO, as the library does.
            precision: As :func:`~wordllama_st.static.precision.quantize_embeddings` has it.
            normalize_embeddings: Whether to scale vectors to unit length.
            truncate_dim: Matryoshka dim to cut vectors to, before they are scaled.
            num_threads: Batches at a time; None takes a thread for each core.

        Returns:
            float32 [n, d] for n texts, [d] for one; for other precisions see there. A text without tokens is the zero
            vector.

        Raises:
            ArgumentError: If a text is no str (its index is named), or an argument has no meaning.
        """
        check_precision(precision)
        dim = self.dim if truncate_dim is None else truncate_dim
        _check_dim(dim, self.dim)
        if batch_size < 1:
            raise ArgumentError(f"A batch has one text at least, not {batch_size}.")
        front = self.prompt_text(prompt_name, prompt)
        single = isinstance(sentences, str)
        texts = [sentences] if isinstance(sentences, str) else _as_list(sentences)
        _check_texts(texts)
        if front:
            texts = [front + text for text in texts]
        try:
            vectors = self._encode(texts, batch_size, show_progress_bar, num_threads)
        except (UnicodeEncodeError, TypeError):
            _check_characters(texts)
            raise
        if dim < self.dim:
            vectors = vectors[:, :dim]
        if normalize_embeddings:
            vectors = normalized(vectors)
        embeddings = quantize_embeddings(vectors[0] if single else vectors, precision)
        return embeddings if embeddings.base is None else embeddings.copy()

    def _encode(
        self, texts: Sequence[str], batch_size: int, show_progress_bar: bool | None, num_threads: int | None
    ) -> Vectors:
        if len(texts) <= _FEW and max(map(len, texts), default=0) <= LONG_TEXT:
            vectors = np.empty((len(texts), self.dim), np.float32)
            # Casting the whole table is not worth it for a few texts; but if it has been done, these need no casting.
            table = self.__dict__.get("_batch_table", self.table)
            for index, text in enumerate(texts):
                vectors[index] = mean_vector(table, self._ids(text))
        else:
            vectors = self._encode_batches(texts, batch_size, show_progress_bar, num_threads)
        return normalized(vectors) if self.table.normalize else vectors

    def _ids(self, text: str) -> list[int]:
        words = self._words_if_worth_it(len(text))
        if words is not None:
            return words.ids(text)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _encode_batches(
        self, texts: Sequence[str], batch_size: int, show_progress_bar: bool | None, num_threads: int | None
    ) -> Vectors:
        words = self._words_if_worth_it(sum(map(len, texts)))
        vectors = np.empty((len(texts), self.dim), np.float32)
        starts = range(0, len(texts), batch_size)

        def encode_batch(start: int) -> int:
            batch = texts[start : start + batch_size]
            bags: Bags = plain_bags(self.tokenizer, batch) if words is None else words.bags(batch)
            vectors[start : start + len(batch)] = mean_vectors(self._batch_table, bags)
            return len(batch)

        threads = min(len(starts), num_threads or os.cpu_count() or 1)
        if show_progress_bar is None:
            show_progress_bar = logger.isEnabledFor(logging.INFO)
        from tqdm import tqdm

        with tqdm(desc="Encoding", total=len(texts), unit=" texts", disable=not show_progress_bar) as bar:
            if threads == 1:
                for start in starts:
                    bar.update(encode_batch(start))
            else:
                with ThreadPoolExecutor(threads) as pool:
                    for done in pool.map(encode_batch, starts):
                        bar.update(done)
        return vectors

    def encode_stream(
        self, sentences: Iterable[str], *, batch_size: int = 1024, **options: Any
    ) -> Iterator[npt.NDArray[Any]]:
        """Encode texts as they come, ``batch_size`` at a time, and yield the vector [d] of each.

        Args:
            sentences: Texts, of any number.
            batch_size: Texts that are taken before the first vector is yielded, and each time after.
            **options: The other arguments of :meth:`encode`. (8-bit precisions would have other ranges in every batch,
                and are refused.)

        Raises:
            ArgumentError: As :meth:`encode`, where the text in question is reached.
        """
        if str(options.get("precision", "")).endswith("int8"):
            raise ArgumentError(f"A stream has no ranges for {options['precision']}; quantize_embeddings takes some.")
        texts, position = iter(sentences), 0
        while batch := list(islice(texts, batch_size)):
            _check_texts(batch, position)
            yield from self.encode(batch, batch_size=batch_size, **options)
            position += len(batch)

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text's tokens, exactly those of the tokenizer.

        Raises:
            ArgumentError: If the text is no str.
        """
        _check_texts([text])
        return self._ids(text)

    def token_vectors(self, text: str) -> TokenVectors:
        """The tokens of a text and their vectors, whose mean is the text's.

        Raises:
            ArgumentError: If the text is no str.
        """
        ids = self.tokenize(text)
        tokens = [self.tokenizer.id_to_token(token_id) or "" for token_id in ids]
        return TokenVectors(tokens, ids, self.table.rows(ids))

    def similarity(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Vectors:
        """How alike vectors are, by the model's similarity function: cosine unless the model says otherwise.

        Args:
            a: Vectors [n, d], or one [d].
            b: Vectors [m, d], or one.

        Returns:
            [n, m], the larger the more alike.
        """
        function = similarity_function(self.table.similarity_fn_name)
        return function(np.atleast_2d(np.asarray(a, np.float32)), np.atleast_2d(np.asarray(b, np.float32)))

    def save_pretrained(
        self,
        path: str | Path,
        *,
        format: Literal["sentence-transformers", "model2vec", "wordllama"] = "sentence-transformers",
        overwrite: bool = False,
    ) -> None:
        """Write the model for a runtime that is to load it.

        Args:
            path: A directory, which appears when it is complete.
            format: ``"sentence-transformers"`` for the stock class (float32 or float16); ``"model2vec"`` for that
                package and for the stock class from version 6.2 on (int8 too); ``"wordllama"`` for the wordllama
                package.
            overwrite: Whether to replace what is there.

        Raises:
            OutputExistsError: If ``path`` has content and ``overwrite`` is not set.
            ArgumentError: If there is no such format, or it has no place for int8.
        """
        from wordllama_st.static.formats import model2vec, sentence_transformers, wordllama
        from wordllama_st.static.model_card import static_model_card

        formats: dict[str, Any] = {
            "sentence-transformers": sentence_transformers.save,
            "model2vec": model2vec.save,
            "wordllama": wordllama.save,
        }
        if format not in formats:
            raise ArgumentError(f"A model is written for {', '.join(formats)}, not {format!r}.")
        card = static_model_card(Path(path).name, (self.table.num_tokens, self.dim), ["A static model, saved again"])
        formats[format](self.table, path, card=card, overwrite=overwrite)

    def to_wordllama(self) -> WordLlamaInference:
        """The same model in the wordllama package's class, with all that it can do: ``rank``, ``topk``, ``filter``, ….

        Vectors are those of :meth:`encode`, up to a last normalization, which ``embed`` does with ``norm=True``.

        Raises:
            ImportError: If the wordllama package cannot be imported.
        """
        from wordllama.inference import WordLlamaInference

        # It sets padding on the tokenizer that it is given.
        return WordLlamaInference(self.table.expanded(), copy.deepcopy(self.tokenizer))

    def prompt_text(self, name: str | None = None, prompt: str | None = None) -> str:
        """What :meth:`encode` puts in front of a text, for the same two arguments.

        Raises:
            ArgumentError: If the model has no prompt of that name.
        """
        if prompt is not None:
            return prompt
        name = self.table.default_prompt_name if name is None else name
        if name is None:
            return ""
        if name not in self.table.prompts:
            known = ", ".join(map(repr, self.table.prompts)) or "none"
            raise ArgumentError(f"The model has no prompt {name!r}; it has {known}.")
        return self.table.prompts[name]

    def __getstate__(self) -> dict[str, Any]:
        """Copies and other processes get the model; what was learned about it and its words, they learn again."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_words", "_batch_table")}

    def __repr__(self) -> str:
        return f"StaticEncoder([{self.table.num_tokens}, {self.dim}] {self.table.weight.dtype})"


def _check_dim(dim: int, most: int) -> None:
    if not 1 <= dim <= most:
        raise ArgumentError(f"The model's vectors have {most} dimensions; they cannot be cut to {dim}.")


def _as_list(sentences: Iterable[str]) -> list[str]:
    if isinstance(sentences, (bytes, bytearray)) or not isinstance(sentences, Iterable):
        raise ArgumentError(f"A text is a str, and texts are an iterable of them; this is {type(sentences).__name__}.")
    return sentences if isinstance(sentences, list) else list(sentences)


def _check_texts(texts: Sequence[object], position: int = 0) -> None:
    for index, text in enumerate(texts, position):
        if not isinstance(text, str):
            raise ArgumentError(f"Text {index} is {type(text).__name__}, not str: {str(text)[:40]!r}.")


def _check_characters(texts: Sequence[str]) -> None:
    """Name the text that has a lone surrogate, which no tokenizer takes."""
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ArgumentError(
                f"Text {index} has half of a surrogate pair, {text[error.start]!r}, at character {error.start}, which "
                f"stands for nothing. Decode it anew, or with text.encode('utf-8', 'replace')."
            ) from error

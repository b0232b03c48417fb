"""Tokenization of whole texts, without the look-up: by tokenizers, or by gigatoken where that gives the same ids.

gigatoken (https://github.com/marcelroed/gigatoken) runs byte-pair encoding several times as fast. It takes four tenths
of a second to import and to load, so that is done when a process has tokenized some megabytes. Its ids differ from
those of tokenizers where an added token has conditions, such as standing as a word of its own, and where texts are
normalized or cut by classes of characters, as in byte-level BPE, since it has another version of Unicode. Such
tokenizers are left to tokenizers, as is every kind that gigatoken refuses, and one that differs on a probe.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from wordllama_st.errors import ModelLoadError, reason
from wordllama_st.static.word_cache.rules import PROBES, component_parts
from wordllama_st.static.word_cache.table import Integers
from wordllama_st.storage.tokenizer import is_panic

logger = logging.getLogger(__name__)


class Locking(Protocol):
    """What has a lock."""

    def renew_lock(self) -> None:
        """Replace the lock by a new one."""


#: What has a lock, in this process.
_locking: WeakSet[Locking] = WeakSet()


def renew_lock_in_forks(owner: Locking) -> None:
    """Have a lock replaced in forked processes: a thread that held it when the process was forked is not there."""
    _locking.add(owner)


def _renew_locks() -> None:
    for owner in list(_locking):
        owner.renew_lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_locks)

#: Characters after which gigatoken is worth its import.
WORTH_LOADING = 2**21
#: Characters in one call that are worth the two milliseconds which it takes for the shortest text; and those that each
#: text counts for beside its own, since it is some work to tokenizers.
WORTH_CALLING, _CHARACTERS_OF_A_TEXT = 2**12, 8


@dataclass(frozen=True)
class Bags:
    """The token ids of some texts, end to end.

    Attributes:
        ids: The ids, [n].
        offsets: Where each text begins, and where the last one ends, [B + 1].
    """

    ids: npt.NDArray[np.int32]
    offsets: Integers


class PlainTokenizer:
    """A tokenizer that is asked for token ids alone.

    Args:
        tokenizer: It must neither truncate nor pad.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._characters = 0
        self._may_load = True
        self.renew_lock()
        renew_lock_in_forks(self)

    def renew_lock(self) -> None:
        """Begin with a lock of one's own, under which gigatoken is loaded, and with a gigatoken that nobody uses."""
        self._lock = Lock()
        self._gigatoken: Any = None

    def ids(self, text: str) -> list[int]:
        """Tokenize a text; errors as :meth:`bags`."""
        try:
            ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            _refuse_fault(error)
            raise
        return ids

    def bags(self, texts: Sequence[str]) -> Bags:
        """Tokenize texts.

        Raises:
            ModelLoadError: If the tokenizer fails, as at a text that takes one of its patterns too many steps, or has
                a character that it has no token for, not even the unknown one.
        """
        if self._may_load:
            characters = sum(map(len, texts))
            self._characters += characters
            pays = characters + _CHARACTERS_OF_A_TEXT * len(texts) > WORTH_CALLING
            if pays and self._characters > WORTH_LOADING and (bags := self._bags_by_gigatoken(texts)) is not None:
                return bags
        try:
            lists = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        except BaseException as error:
            _refuse_fault(error)
            raise
        offsets = np.cumsum([0, *map(len, lists)])
        return Bags(np.fromiter(chain.from_iterable(lists), np.int32, int(offsets[-1])), offsets)

    def _bags_by_gigatoken(self, texts: Sequence[str]) -> Bags | None:
        """Tokenize texts by gigatoken; None if it is not for this tokenizer."""
        try:
            with self._lock:
                if self._gigatoken is None and self._may_load:
                    self._gigatoken = load_gigatoken(self.tokenizer)
                    self._may_load = self._gigatoken is not None
                gigatoken = self._gigatoken
            if gigatoken is None:
                return None
            # Asked for single texts, it would keep the interpreter's lock, and every word that it has seen. On this
            # thread, since its own are not there in forked processes.
            lists = gigatoken.encode_batch(list(texts), parallel=False).layout
            return Bags(lists.content.data.astype(np.int32), lists.offsets.data)
        except TypeError:  # a text that is none, which tokenizers tells by another error
            return None
        except BaseException as error:  # a Rust panic is no Exception
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            logger.info("gigatoken failed on a text, and tokenizers goes on: %s", reason(error))
            self._gigatoken, self._may_load = None, False
            return None


def _refuse_fault(error: BaseException) -> None:
    """Raise ModelLoadError for tokenizers' own errors, bare Exceptions, and panics, which are not even those."""
    if is_panic(error) or type(error) is Exception:
        raise ModelLoadError(
            f"The model's tokenizer fails on a text: {reason(error)}. Leave that text out, or mend the tokenizer.json."
        ) from error


def load_gigatoken(tokenizer: Tokenizer) -> Any | None:
    """Load a tokenizer in gigatoken; None if that is not installed, or may give other ids."""
    added = tokenizer.get_added_tokens_decoder().values()
    if type(tokenizer.model).__name__ != "BPE" or any(
        token.single_word or token.lstrip or token.rstrip for token in added
    ):
        return None
    normalizers, pre_tokenizers = component_parts(tokenizer.normalizer), component_parts(tokenizer.pre_tokenizer)
    if any(part["type"] not in ("Prepend", "Replace") for part in normalizers):
        return None
    if any("String" not in part.get("pattern", ()) for part in pre_tokenizers):
        return None
    if normalizers and any(token.normalized for token in added):
        return None
    try:
        from gigatoken import Tokenizer as Gigatoken
    except ImportError:
        return None
    try:
        found = Gigatoken.from_json(tokenizer.to_str())
        expected = [encoding.ids for encoding in tokenizer.encode_batch_fast(PROBES, add_special_tokens=False)]
        if found.encode_batch(list(PROBES), parallel=False).tolist() == expected:
            return found
        cause: object = "its ids differ"
    except BaseException as error:  # a Rust panic is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        cause = reason(error)
    logger.info("tokenizers, and not gigatoken, tokenizes for this model: %s", cause)
    return None

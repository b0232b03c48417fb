"""The tokenizer that a GGUF file's metadata describes, built with the tokenizers library.

The metadata has the vocabulary and merges or scores, but of the way from a text to what these apply to only names,
which llama.cpp knows. So the rules are here under the same names; a name that is not here is refused, because another
rule would silently give other tokens than those the model was trained on.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from wordllama_st.errors import CodebookError, reason

TOKENS = "tokenizer.ggml.tokens"
_PREFIX = "tokenizer.ggml."
_HUGGINGFACE = "tokenizer.huggingface.json"
#: The token types of the format.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
#: SentencePiece's space.
_SPACE = "\u2581"
#: Finding a token's merges takes time with the square of its length, and no honest one comes near this.
_MAX_PIECE = 1024
#: Bytes of a compiled character map; SentencePiece's largest has some 300,000.
_MAX_CHARSMAP = 2**22

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENDS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_ENDS}"
_QWEN2 = _LLAMA3.replace("{1,3}", "")
_QWEN35 = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_ENDS}"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
_MARKS = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_ENDS}"
_GPT4O = rf"{_CASED % (f'{_CONTRACTION}?', f'{_CONTRACTION}?')}|\p{{N}}{{1,3}}|{_MARKS}"
_TEKKEN = rf"{_CASED % ('', '')}|\p{{N}}|{_MARKS}"
_DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_ENDS}"
)

#: How byte-level BPE cuts a text before it merges: one pattern after the other, by llama.cpp's names for them.
_PATTERNS: dict[tuple[str, ...], str] = {
    (_GPT2,): "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe gigachat a.x-4.0 "
    "mellum modern-bert exaone4 mpt olmo jais trillion granite-docling",
    (r"\p{N}", _GPT2): "starcoder refact command-r smollm codeshell exaone minerva-7b",
    (_LLAMA3,): "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe glm4 "
    "chatglm-bpe",
    (_QWEN2,): "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    (_QWEN35,): "qwen35",
    (_GPT4O,): "gpt-4o llama4 kanana2 minimax-m2",
    (_TEKKEN,): "tekken",
    (r"\p{N}{1,3}", "[一-龥\u3040-\u309f\u30a0-\u30ff]+", _DEEPSEEK3): "deepseek-v3 hunyuan-dense joyai-llm",
    (r"[\p{P}$+<=>^~|`]+", _GPT2, "[0-9][0-9][0-9]"): "falcon",
    (r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"): "default",
}
_BY_NAME = {name: patterns for patterns, names in _PATTERNS.items() for name in names.split()}
#: Those whose vocabulary has whole words that no merges lead to.
_IGNORE_MERGES = frozenset(
    ["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano", "tekken"]
)


@dataclass(frozen=True)
class _Vocabulary:
    """The tokens in the order of their ids, and what the metadata says about them."""

    metadata: dict[str, Any]
    where: str
    tokens: list[str]
    types: list[int]

    @property
    def ids(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}

    @property
    def unknown(self) -> int | None:
        """The id of the unknown token, if there is one."""
        index = self.metadata.get(_PREFIX + "unknown_token_id")
        if isinstance(index, int) and 0 <= index < len(self.tokens):
            return index
        return self.types.index(_UNKNOWN) if _UNKNOWN in self.types else None

    @property
    def unknown_token(self) -> str | None:
        return None if self.unknown is None else self.tokens[self.unknown]

    def scores(self) -> list[float]:
        scores = _array(self.metadata, _PREFIX + "scores", self.where)
        if len(scores) != len(self.tokens) or np.isnan(scores).any():
            raise _fault(self.where, _PREFIX + "scores", f"has not one number for each of {len(self.tokens)} tokens")
        return [float(score) for score in scores]

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.metadata.get(_PREFIX + name, default))


def tokenizer_from_metadata(metadata: dict[str, Any], where: str) -> Tokenizer:
    """Build a tokenizer whose ids are the positions in the metadata's list of tokens.

    Args:
        metadata: A GGUF file's key-values, arrays as lists of str or NumPy arrays.
        where: The file, for errors.

    Raises:
        CodebookError: If a key is missing or not what it should be, or names a kind that is not known here.
    """
    if _HUGGINGFACE in metadata:
        try:
            with panics_are_errors():
                tokenizer = Tokenizer.from_str(metadata[_HUGGINGFACE])
        except Exception as error:  # the library raises bare Exception
            raise _fault(where, _HUGGINGFACE, f"is no tokenizer that can be read: {reason(error)}") from error
        if not has_sound_charsmap(tokenizer):
            raise _fault(where, _HUGGINGFACE, "has a damaged precompiled_charsmap")
        return tokenizer
    model = metadata.get(_PREFIX + "model")
    if not isinstance(model, str) or model not in _BUILDERS:
        known = ", ".join(_BUILDERS)
        raise _fault(
            where, _PREFIX + "model", f"is {str(model)[:80]!r}, a kind of tokenizer that is not known: {known}"
        )
    vocabulary = _vocabulary(metadata, where, model)
    try:
        with panics_are_errors():
            tokenizer = _BUILDERS[model](vocabulary)
    except CodebookError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise CodebookError(f"The {model!r} tokenizer in {where} cannot be built: {reason(error)}.") from error
    for special, types in ((True, (_UNKNOWN, _CONTROL)), (False, (_USER_DEFINED,))):
        tokenizer.add_tokens(
            [
                AddedToken(token, special=special, normalized=False)
                for token, kind in zip(vocabulary.tokens, vocabulary.types, strict=True)
                if kind in types
            ]
        )
    if tokenizer.get_vocab_size(with_added_tokens=True) != len(vocabulary.tokens):
        raise _fault(where, TOKENS, "has special tokens that are not what its tokenizer makes of them")
    return tokenizer


def _vocabulary(metadata: dict[str, Any], where: str, model: str) -> _Vocabulary:
    tokens = _strings(metadata, TOKENS, where)
    types = [_NORMAL] * len(tokens)
    if _PREFIX + "token_type" in metadata:
        types = np.nan_to_num(_array(metadata, _PREFIX + "token_type", where)).astype(np.int64).tolist()
        if len(types) != len(tokens):
            raise _fault(where, _PREFIX + "token_type", f"has {len(types)} entries for {len(tokens)} tokens")
    if model in ("llama", "t5"):
        # These are looked for in the text as it is, before its spaces are replaced.
        tokens = [
            token.replace(_SPACE, " ") if kind == _USER_DEFINED else token
            for token, kind in zip(tokens, types, strict=True)
        ]
    # As llama.cpp: no text leads to an empty token, but its row is there.
    tokens = [token or f"[EMPTY_{index}]" for index, token in enumerate(tokens)]
    if len(set(tokens)) < len(tokens):
        seen: set[str] = set()
        twice = next(token for token in tokens if token in seen or seen.add(token))  # type: ignore[func-returns-value]
        raise _fault(where, TOKENS, f"has {twice[:80]!r} twice")
    return _Vocabulary(metadata, where, tokens, types)


def _byte_level(vocabulary: _Vocabulary) -> Tokenizer:
    """GPT-2's kind: merges of bytes, each written as a letter."""
    name = vocabulary.metadata.get(_PREFIX + "pre")
    if not isinstance(name, str) or name not in _BY_NAME:
        raise _fault(
            vocabulary.where,
            _PREFIX + "pre",
            f"is {str(name)[:80]!r}, which does not tell how the model cuts a text into words. Use the checkpoint "
            f"that the file was made from, with its tokenizer.json",
        )
    merges = []
    for merge in _strings(vocabulary.metadata, _PREFIX + "merges", vocabulary.where):
        left, space, right = merge.partition(" ")
        if not (left and space and right):
            raise _fault(vocabulary.where, _PREFIX + "merges", f"has {merge[:80]!r}, which is no pair of tokens")
        merges.append((left, right))
    tokenizer = Tokenizer(models.BPE(vocabulary.ids, merges, ignore_merges=name in _IGNORE_MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in _BY_NAME[name]),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece_bpe(vocabulary: _Vocabulary) -> Tokenizer:
    """Llama's kind: merges of characters, the best-scored token first; bytes where a character has no token."""
    model = models.BPE(
        vocabulary.ids, _merges(vocabulary), unk_token=vocabulary.unknown_token, fuse_unk=True, byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    prepend = [normalizers.Prepend(_SPACE)] if vocabulary.flag("add_space_prefix", True) else []
    tokenizer.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", _SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if prepend else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _merges(vocabulary: _Vocabulary) -> list[tuple[str, str]]:
    """Every way to make a token of two others, in the order in which SentencePiece prefers them."""
    pieces = {
        token: (-score, index)
        for index, (token, kind, score) in enumerate(
            zip(vocabulary.tokens, vocabulary.types, vocabulary.scores(), strict=True)
        )
        if kind == _NORMAL
    }
    merges: list[tuple[str, str]] = []
    for piece in sorted(pieces, key=pieces.__getitem__):
        if len(piece) > _MAX_PIECE:
            raise _fault(vocabulary.where, TOKENS, f"has a token of {len(piece):,} characters")
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        pairs = [(left, right) for left, right in pairs if left in pieces and right in pieces]
        merges += sorted(pairs, key=lambda pair: (pieces[pair[0]], pieces[pair[1]])) if len(pairs) > 1 else pairs
    return merges


def _wordpiece(vocabulary: _Vocabulary) -> Tokenizer:
    """BERT's kind. The file marks the start of a word where BERT marks what is none."""
    ids = {
        _bert_token(token, kind): index
        for index, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
    }
    unknown = vocabulary.unknown_token or "[UNK]"
    if len(ids) < len(vocabulary.tokens) or unknown not in ids:
        raise _fault(vocabulary.where, TOKENS, f"is no vocabulary of a BERT, which has {unknown!r} and no token twice")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=unknown))
    # The file does not tell; a model that lowercases has no use for a token with a capital.
    cased = any(token != token.lower() for token in ids if not re.fullmatch(r"\[.*\]|<.*>", token))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _bert_token(token: str, kind: int) -> str:
    if kind != _NORMAL or re.fullmatch(r"\[.*\]", token):
        return token
    return token[1:] if token.startswith(_SPACE) and len(token) > 1 else "##" + token


def _unigram(vocabulary: _Vocabulary) -> Tokenizer:
    """T5's kind: the likeliest sequence of tokens."""
    if vocabulary.unknown is None:
        raise _fault(vocabulary.where, _PREFIX + "unknown_token_id", "is missing")
    pairs = list(zip(vocabulary.tokens, vocabulary.scores(), strict=True))
    tokenizer = Tokenizer(models.Unigram(pairs, vocabulary.unknown, _BYTE in vocabulary.types))
    steps: list[Any] = []
    if _PREFIX + "precompiled_charsmap" in vocabulary.metadata:
        charsmap = _array(vocabulary.metadata, _PREFIX + "precompiled_charsmap", vocabulary.where)
        content = charsmap.astype(np.uint8).tobytes()
        if content and not is_sound_charsmap(content):
            raise _fault(vocabulary.where, _PREFIX + "precompiled_charsmap", "is damaged")
        steps += [normalizers.Precompiled(content)] if content else []
    if vocabulary.flag("remove_extra_whitespaces", False):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "always" if vocabulary.flag("add_space_prefix", True) else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return tokenizer


_BUILDERS: dict[str, Callable[[_Vocabulary], Tokenizer]] = {
    "gpt2": _byte_level,
    "llama": _sentencepiece_bpe,
    "bert": _wordpiece,
    "t5": _unigram,
}


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


def has_sound_charsmap(tokenizer: Tokenizer) -> bool:
    """Whether the compiled character maps of a tokenizer, if it has any, are sound."""
    steps = [] if tokenizer.normalizer is None else [json.loads(tokenizer.normalizer.__getstate__())]
    while steps:
        step = steps.pop()
        steps += step.get("normalizers", [])
        if step["type"] == "Precompiled" and not is_sound_charsmap(base64.b64decode(step["precompiled_charsmap"])):
            return False
    return True


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


def _strings(metadata: dict[str, Any], key: str, where: str) -> list[str]:
    value = metadata.get(key)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise _fault(where, key, "is missing" if value is None else "is no list of strings")
    return value


def _array(metadata: dict[str, Any], key: str, where: str) -> np.ndarray[Any, np.dtype[Any]]:
    value = metadata.get(key)
    if not isinstance(value, np.ndarray):
        raise _fault(where, key, "is missing" if value is None else "is no list of numbers")
    return value


def _fault(where: str, key: str, fault: str) -> CodebookError:
    return CodebookError(f"The tokenizer in {where} cannot be used: {key} {fault}.")

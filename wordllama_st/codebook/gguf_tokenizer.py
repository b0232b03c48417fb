"""The tokenizer that a GGUF file's metadata describes, built with the tokenizers library.

The metadata has the vocabulary and merges or scores, but names only how a text is cut before these apply. llama.cpp's
names and rules are repeated here; a name that is not here is refused, as another rule would silently give other tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from wordllama_st.codebook import tokenizer_files
from wordllama_st.codebook.tokenizer_files import SPACE
from wordllama_st.errors import CodebookError, reason
from wordllama_st.storage.charsmap import check_charsmaps, is_sound_charsmap
from wordllama_st.storage.definition import LONGEST_PIECE, check_growth, check_strings
from wordllama_st.storage.tokenizer import panics_are_errors

_PREFIX = "tokenizer.ggml."
TOKENS = f"{_PREFIX}tokens"
_HUGGINGFACE = "tokenizer.huggingface.json"
#: The token types of the format.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
#: Finding a token's merges takes time with the square of its length, and no honest one comes near this.
_MAX_PIECE = 1024

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENDS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_ENDS}"
_QWEN2 = _LLAMA3.replace("{1,3}", "")
_QWEN35 = _QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}", r"[^\s\p{L}\p{M}")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
_MARKS = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_ENDS}"
_GPT4O = rf"{_CASED % (f'{_CONTRACTION}?', f'{_CONTRACTION}?')}|\p{{N}}{{1,3}}|{_MARKS}"
_TEKKEN = rf"{_CASED % ('', '')}|\p{{N}}|{_MARKS}"
_DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_ENDS}"
)

#: Some of those cut like Llama 3, whose vocabularies have whole words that no merges lead to.
_LLAMA3_WORDS = "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano"
#: How byte-level BPE cuts a text before it merges: one pattern after the other, by llama.cpp's names for them.
_PATTERNS: dict[tuple[str, ...], str] = {
    (_GPT2,): "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe gigachat a.x-4.0 "
    "mellum modern-bert exaone4 mpt olmo jais trillion granite-docling",
    (r"\p{N}", _GPT2): "starcoder refact command-r smollm codeshell exaone minerva-7b",
    (_LLAMA3,): f"{_LLAMA3_WORDS} dbrx smaug-bpe glm4 chatglm-bpe",
    (_QWEN2,): "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    (_QWEN35,): "qwen35",
    (_GPT4O,): "gpt-4o llama4 kanana2 minimax-m2",
    (_TEKKEN,): "tekken",
    (r"\p{N}{1,3}", "[一-龥\u3040-\u309f\u30a0-\u30ff]+", _DEEPSEEK3): "deepseek-v3 hunyuan-dense joyai-llm",
    (r"[\p{P}$+<=>^~|`]+", _GPT2, "[0-9][0-9][0-9]"): "falcon",
    (r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"): "default",
}
_BY_NAME = {name: patterns for patterns, names in _PATTERNS.items() for name in names.split()}
_IGNORE_MERGES = {*_LLAMA3_WORDS.split(), "tekken"}


class _Vocabulary:
    """The tokens by id, and what the metadata says about them."""

    def __init__(self, metadata: dict[str, Any], where: str) -> None:
        self._metadata, self._where = metadata, where
        tokens = self.strings("tokens")
        self.types = [_NORMAL] * len(tokens)
        if self.get("token_type") is not None:
            self.types = np.nan_to_num(self.numbers("token_type")).astype(np.int64).tolist()
            if len(self.types) != len(tokens):
                raise self.fault("token_type", f"has {len(self.types)} entries for {len(tokens)} tokens")
        if self.get("model") in ("llama", "t5"):
            # These are looked for in the text as it is, before its spaces are replaced.
            typed = zip(tokens, self.types, strict=True)
            tokens = [token.replace(SPACE, " ") if kind == _USER_DEFINED else token for token, kind in typed]
        # As llama.cpp: no text leads to an empty token, but its row is there.
        self.tokens = [token or f"[EMPTY_{index}]" for index, token in enumerate(tokens)]
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        if len(self.ids) < len(self.tokens):
            twice = next(token for index, token in enumerate(self.tokens) if self.ids[token] != index)
            raise self.fault("tokens", f"has {twice[:80]!r} twice")
        self.unknown: int | None = self.get("unknown_token_id")
        if not isinstance(self.unknown, int) or not 0 <= self.unknown < len(self.tokens):
            self.unknown = self.types.index(_UNKNOWN) if _UNKNOWN in self.types else None

    def get(self, key: str, default: Any = None) -> Any:
        return self._metadata.get(_PREFIX + key, default)

    def strings(self, key: str) -> list[str]:
        value = self.get(key)
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self.fault(key, "is missing" if value is None else "is no list of strings")
        return value

    def numbers(self, key: str) -> np.ndarray[Any, np.dtype[Any]]:
        value = self.get(key)
        if not isinstance(value, np.ndarray):
            raise self.fault(key, "is missing" if value is None else "is no list of numbers")
        return value

    def scores(self) -> list[float]:
        scores = self.numbers("scores")
        if len(scores) != len(self.tokens) or np.isnan(scores).any():
            raise self.fault("scores", f"has not one number for each of {len(self.tokens)} tokens")
        return [float(score) for score in scores]

    def fault(self, key: str, fault: str) -> CodebookError:
        return _fault(self._where, _PREFIX + key, fault)


def tokenizer_from_metadata(metadata: dict[str, Any], where: str) -> Tokenizer:
    """Build the tokenizer of a GGUF file's key-values; raises CodebookError if one is missing, wrong or unknown."""
    if _HUGGINGFACE in metadata:
        try:
            with panics_are_errors():
                check_strings(metadata[_HUGGINGFACE].encode())
                tokenizer = Tokenizer.from_str(metadata[_HUGGINGFACE])
                check_charsmaps(tokenizer)
                check_growth(tokenizer)
        except Exception as error:  # tokenizers raises bare Exception
            raise _fault(where, _HUGGINGFACE, f"is no tokenizer that can be read: {reason(error)}") from error
        return tokenizer
    model = metadata.get(f"{_PREFIX}model")
    if not isinstance(model, str) or model not in _BUILDERS:
        fault = f"is {str(model)[:80]!r}, a kind of tokenizer that is not known: {', '.join(_BUILDERS)}"
        raise _fault(where, f"{_PREFIX}model", fault)
    vocabulary = _Vocabulary(metadata, where)
    try:
        with panics_are_errors():
            tokenizer = _BUILDERS[model](vocabulary)
    except CodebookError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise CodebookError(f"The {model!r} tokenizer in {where} cannot be built: {reason(error)}.") from error
    typed = list(zip(vocabulary.tokens, vocabulary.types, strict=True))
    for special, kinds in ((True, (_UNKNOWN, _CONTROL)), (False, (_USER_DEFINED,))):
        named = [token for token, kind in typed if kind in kinds]
        tokenizer.add_tokens([AddedToken(token, special=special, normalized=False) for token in named])
    if tokenizer.get_vocab_size(with_added_tokens=True) != len(vocabulary.tokens):
        raise vocabulary.fault("tokens", "has special tokens that are not what its tokenizer makes of them")
    return tokenizer


def _byte_level(vocabulary: _Vocabulary) -> Tokenizer:
    """GPT-2's kind: merges of bytes, each written as a letter."""
    name = vocabulary.get("pre")
    if not isinstance(name, str) or name not in _BY_NAME:
        fault = f"is {str(name)[:80]!r}, which does not tell how the model cuts a text into words. Use the checkpoint"
        raise vocabulary.fault("pre", f"{fault} that the file was made from, with its tokenizer.json")
    merges = []
    for merge in vocabulary.strings("merges"):
        left, space, right = merge.partition(" ")
        if not (left and space and right):
            raise vocabulary.fault("merges", f"has {merge[:80]!r}, which is no pair of tokens")
        merges.append((left, right))
    tokenizer = Tokenizer(models.BPE(vocabulary.ids, merges, ignore_merges=name in _IGNORE_MERGES))
    steps: list[Any] = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in _BY_NAME[name]]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Sequence(steps), decoders.ByteLevel()
    return tokenizer


def _sentencepiece_bpe(vocabulary: _Vocabulary) -> Tokenizer:
    """Llama's kind: merges of characters, the best-scored token first; bytes where a character has no token."""
    unknown = None if vocabulary.unknown is None else vocabulary.tokens[vocabulary.unknown]
    merges = _merges(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary.ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    normalizing: list[Any] = [normalizers.Replace(" ", SPACE)]
    decoding: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if vocabulary.get("add_space_prefix", True):
        normalizing.insert(0, normalizers.Prepend(SPACE))
        decoding.append(decoders.Strip(" ", 1, 0))
    tokenizer.normalizer, tokenizer.decoder = normalizers.Sequence(normalizing), decoders.Sequence(decoding)
    return tokenizer


def _merges(vocabulary: _Vocabulary) -> list[tuple[str, str]]:
    """Every way to make a token of two others, in the order in which SentencePiece prefers them."""
    scored = enumerate(zip(vocabulary.tokens, vocabulary.types, vocabulary.scores(), strict=True))
    pieces = {token: (-score, index) for index, (token, kind, score) in scored if kind == _NORMAL}
    merges: list[tuple[str, str]] = []
    for piece in sorted(pieces, key=pieces.__getitem__):
        if len(piece) > _MAX_PIECE:
            raise vocabulary.fault("tokens", f"has a token of {len(piece):,} characters")
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        pairs = [(left, right) for left, right in pairs if left in pieces and right in pieces]
        merges += sorted(pairs, key=lambda pair: (pieces[pair[0]], pieces[pair[1]]))
    return merges


def _wordpiece(vocabulary: _Vocabulary) -> Tokenizer:
    """BERT's kind. The file marks the start of a word where BERT marks what is none."""
    ids = {name: index for index, name in enumerate(map(_bert_token, vocabulary.tokens, vocabulary.types))}
    unknown = "[UNK]" if vocabulary.unknown is None else vocabulary.tokens[vocabulary.unknown]
    if len(ids) < len(vocabulary.tokens) or unknown not in ids:
        raise vocabulary.fault("tokens", f"is no vocabulary of a BERT, which has {unknown!r} and no token twice")
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
    return token[1:] if token.startswith(SPACE) and len(token) > 1 else "##" + token


def _unigram(vocabulary: _Vocabulary) -> Tokenizer:
    """T5's kind: the likeliest sequence of tokens."""
    if vocabulary.unknown is None:
        raise vocabulary.fault("unknown_token_id", "is missing")
    if (longest := max(len(token.encode()) for token in vocabulary.tokens)) > LONGEST_PIECE:
        raise vocabulary.fault("tokens", f"has a token of {longest:,} bytes")
    pairs = list(zip(vocabulary.tokens, vocabulary.scores(), strict=True))
    tokenizer = Tokenizer(models.Unigram(pairs, vocabulary.unknown, _BYTE in vocabulary.types))
    charsmap = b""
    if vocabulary.get("precompiled_charsmap") is not None:
        charsmap = vocabulary.numbers("precompiled_charsmap").astype(np.uint8).tobytes()
        if charsmap and not is_sound_charsmap(charsmap):
            raise vocabulary.fault("precompiled_charsmap", "is damaged")
    remove_extra_whitespaces = bool(vocabulary.get("remove_extra_whitespaces", False))
    steps = tokenizer_files.normalizer_steps(charsmap, remove_extra_whitespaces)
    tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "always" if vocabulary.get("add_space_prefix", True) else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return tokenizer


_Builder = Callable[[_Vocabulary], Tokenizer]
_BUILDERS: dict[str, _Builder] = {"gpt2": _byte_level, "llama": _sentencepiece_bpe, "bert": _wordpiece, "t5": _unigram}


def _fault(where: str, key: str, fault: str) -> CodebookError:
    return CodebookError(f"The tokenizer in {where} cannot be used: {key} {fault}.")

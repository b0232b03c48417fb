"""Tokenizers of every kind that the word look-up is for, and of some that it must leave alone.

All but Llama 2's are trained here, small enough that words are several tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from wordllama_st.static import released

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind; it's 1,234 times lazier than that.",
    "def mean(xs: list[float]) -> float:\n    return sum(xs) / len(xs)  # 0 < n\n\n\nprint(mean([1.0, 2.0]))\n",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Über den Wolken muß die Freiheit grenzenlos sein.",
    "天地玄黄,宇宙洪荒。日月盈昃,辰宿列张。 いろはにほへと ちりぬるを نص حكيم له سر قاطع وذو شأن عظيم",
    "naïve café, résumé, coöperate, fiancée; e\u0301le\u0300ve \U0001f469\u200d\U0001f52c \U0001f600",
] * 3

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def llama2() -> Tokenizer:
    """The one in the wordllama wheel."""
    return Tokenizer.from_file(str(released.fetch("wordllama-l2-supercat-256").tokenizer))


def _byte_level(
    pre_tokenizer: pre_tokenizers.PreTokenizer, normalizer: normalizers.Normalizer | None = None
) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), own])


def gpt2() -> Tokenizer:
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))


def gpt2_prefixed() -> Tokenizer:
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))


def llama3() -> Tokenizer:
    return _byte_level(_split(CL100K))


def qwen2() -> Tokenizer:
    return _byte_level(_split(QWEN2), normalizers.NFC())


def gpt4o() -> Tokenizer:
    return _byte_level(_split(O200K))


def starcoder() -> Tokenizer:
    digits = pre_tokenizers.Digits(individual_digits=True)
    own = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _byte_level(pre_tokenizers.Sequence([digits, own]), normalizers.NFKC())


def bert() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def bert_cased() -> Tokenizer:
    tokenizer = bert()
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    return tokenizer


def _unigram(normalizer: normalizers.Normalizer, pre_tokenizer: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def t5() -> Tokenizer:
    normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap()), normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "▁")]
    )
    return _unigram(normalizer, pre_tokenizers.Metaspace(prepend_scheme="always"))


def xlm_roberta() -> Tokenizer:
    normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return _unigram(normalizer, pre_tokenizer)


def unigram_lower() -> Tokenizer:
    normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase(), normalizers.StripAccents()])
    return _unigram(normalizer, pre_tokenizers.Metaspace(prepend_scheme="first"))


def unigram_without_prefix() -> Tokenizer:
    return _unigram(normalizers.NFKC(), pre_tokenizers.Metaspace(prepend_scheme="never"))


def gemma() -> Tokenizer:
    """Llama 2's without the space in front, spaces replaced and then split at, as Gemma has it."""
    definition = json.loads(llama2().to_str())
    definition["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    definition["pre_tokenizer"] = {
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False,
    }  # fmt: skip
    return Tokenizer.from_str(json.dumps(definition))


def with_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Added tokens of every sort that stays within a word."""
    tokenizer.add_tokens(
        [
            AddedToken("fox", single_word=True),
            AddedToken("dog", lstrip=True, rstrip=True),
            AddedToken("  ", normalized=False),
            AddedToken("LaZy", normalized=True),
            AddedToken("é", normalized=True),
        ]
    )
    return tokenizer


def charsmap() -> bytes:
    """SentencePiece's nmt_nfkc map, out of a model that the sentencepiece package trains."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, vocab_size=150, minloglevel=2, hard_vocab_limit=False
    )
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    return bytes(proto.normalizer_spec.precompiled_charsmap)


#: Kinds that are looked up.
KINDS: dict[str, Callable[[], Tokenizer]] = {
    function.__name__: cache(function)
    for function in (
        llama2, gemma, gpt2, gpt2_prefixed, llama3, qwen2, gpt4o, starcoder, bert, bert_cased, t5, xlm_roberta,
        unigram_lower, unigram_without_prefix,
    )
}  # fmt: skip
KINDS |= {
    f"{name}, added tokens": cache(lambda build=KINDS[name].__wrapped__: with_added_tokens(build()))
    for name in ("llama2", "gpt2", "bert", "xlm_roberta")
}

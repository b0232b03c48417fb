"""The word look-up gives the tokenizer's own ids, whatever the text.

Protects: the claim of exactness, for every kind of tokenizer that is looked up; that others are left alone; that memory
stays within its limit.
"""

from __future__ import annotations

import random
import threading
from functools import cache
from itertools import chain, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizer_kinds import CORPUS, KINDS, charsmap, gpt2, llama2, t5, xlm_roberta
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from wordllama_st.static.word_cache import plain as plain_module
from wordllama_st.static.word_cache import table
from wordllama_st.static.word_cache import tokenizer as tokenizer_module
from wordllama_st.static.word_cache.plain import WORTH_LOADING, Bags, PlainTokenizer, load_gigatoken
from wordllama_st.static.word_cache.rules import infer_word_rules
from wordllama_st.static.word_cache.tokenizer import WordTokenizer

MEMORY = 2**20

#: What breaks tokenizers: white space of all sorts, marks, joiners, the stand-ins for spaces, added tokens.
ODD = [
    " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u0085", "\u2028",
    "\x1f", "\x00",
    "\u0301", "\u0300", "\u200d", "\ufe0f", "\u0600", "\u06dd", "\u00b4", "\u037a", "\ufb01", "\u01c5",
    "\u0130", "\u1e9e", "\u0345",
    "▁", "▁▁", "Ġ", "Ċ", "<s>", "</s>", "<unk>", "<|endoftext|>", "[CLS]", "[MASK]", "[mask]", "<0x0A>",
    "<0x20>", "##s",
    "fox", "fo", "x", "dog", "LaZy", "lazy", "é", "e\u0301", "É", "'s", "'S", "it's", "12345", "1", "/", "./",
    ".\n", "...",
    "the", " the", "The", "ющ", "天地", "Über", "नमस्ते", "نص", "\U0001f469\u200d\U0001f52c",
    "\U0001f1e9\U0001f1ea", "ｶﾞ", "㍻", "…",
    "x" * 14, "x" * 15, "x" * 16, "y" * 31, "y" * 32, "z" * 63, "z" * 64, "w" * 200,
]  # fmt: skip
texts = (
    st.lists(
        st.one_of(st.sampled_from(ODD), st.sampled_from(" ".join(CORPUS).split(" ")), st.text(max_size=6)), max_size=24
    ).map("".join)
    | st.text()
)


@cache
def words(kind: str) -> WordTokenizer:
    """One for all examples, so that most words of most texts were seen before."""
    found = WordTokenizer.for_tokenizer(PlainTokenizer(KINDS[kind]()), MEMORY)
    assert found is not None, f"{kind} is to be looked up"
    return found


def plain(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def lists(bags: Bags) -> list[list[int]]:
    return [bags.ids[a:b].tolist() for a, b in pairwise(bags.offsets.tolist())]


@pytest.mark.parametrize("kind", KINDS)
@given(batch=st.lists(texts, min_size=1, max_size=5))
@example(batch=CORPUS)
@example(batch=["", " ", "  ", "\n", " \n ", "▁", "▁ x", "x▁ y", "", "a", ""])
@settings(max_examples=150)
def test_every_text_has_the_tokenizers_own_ids(kind: str, batch: list[str]) -> None:
    found, tokenizer = words(kind), KINDS[kind]()
    expected = [plain(tokenizer, text) for text in batch]
    assert [found.ids(text) for text in batch] == expected
    assert lists(found.bags(batch)) == expected
    with pytest.MonkeyPatch.context() as patch:  # as where the extension was not compiled
        for module in (table, tokenizer_module):
            patch.setattr(module, "kernel", None)
        assert lists(found.bags(batch)) == expected


#: The kinds that gigatoken is asked for. It refuses what is no byte-pair encoding, and is not asked where texts are
#: normalized or cut by classes of characters, or added tokens have conditions.
BY_GIGATOKEN = ["llama2", "gemma"]


def test_gigatoken_is_for_the_kinds_that_it_is_exact_for() -> None:
    pytest.importorskip("gigatoken")
    assert [kind for kind in KINDS if load_gigatoken(KINDS[kind]()) is not None] == BY_GIGATOKEN


@cache
def by_gigatoken(kind: str) -> PlainTokenizer:
    pytest.importorskip("gigatoken")
    found = PlainTokenizer(KINDS[kind]())
    found.bags(["a" * (WORTH_LOADING + 1)])
    assert found._gigatoken is not None
    return found


@pytest.mark.parametrize("kind", BY_GIGATOKEN)
@given(batch=st.lists(texts, max_size=5))
@example(batch=CORPUS)
@example(batch=["", " ", "  ", "\n", " \n ", "▁", "▁ x", "x▁ y", "", "a", ""])
@settings(max_examples=150)
def test_gigatoken_gives_the_tokenizers_own_ids(kind: str, batch: list[str]) -> None:
    bags = by_gigatoken(kind)._bags_by_gigatoken(batch)
    assert bags is not None
    assert lists(bags) == [plain(KINDS[kind](), text) for text in batch]


class Failing:
    def encode_batch(self, texts: list[str], parallel: bool) -> None:
        raise BaseException("a panic")


def test_gigatoken_is_called_where_a_call_pays() -> None:
    found = PlainTokenizer(llama2())
    found._gigatoken, found._characters = Failing(), WORTH_LOADING
    assert found.bags(["a few words"]).ids.tolist() == plain(llama2(), "a few words")
    assert found._gigatoken is not None
    found.bags(["a few words"] * 1000)
    assert found._gigatoken is None


def test_gigatoken_is_given_up_where_it_fails(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gigatoken")
    tokenizer = llama2()
    found = PlainTokenizer(tokenizer)
    monkeypatch.setattr(plain_module, "WORTH_LOADING", 0)
    monkeypatch.setattr(plain_module, "WORTH_CALLING", 0)
    expected = [plain(tokenizer, text) for text in CORPUS]
    assert lists(found.bags(CORPUS)) == expected

    found._gigatoken = Failing()
    with caplog.at_level("INFO", "wordllama_st"):
        assert lists(found.bags(CORPUS[:2])) == expected[:2]
    assert "gigatoken failed on a text, and tokenizers goes on: a panic" in caplog.text
    assert lists(found.bags(CORPUS)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_everything_odd_beside_everything_odd(kind: str) -> None:
    tokenizer = KINDS[kind]()
    for odd in ODD:
        batch = [f"{odd} {odd}{other} {odd}" for other in ODD]
        expected = [plain(tokenizer, text) for text in batch]
        assert words(kind).bags(batch).ids.tolist() == list(chain.from_iterable(expected)), odd
        assert [words(kind).ids(text) for text in batch[::9]] == expected[::9], odd


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_a_megabyte(kind: str) -> None:
    generator = random.Random(0)
    pieces = [*" ".join(CORPUS).split(" "), "word", "and", "another"]
    text = " ".join(generator.choice(pieces) for _ in range(2**20 // 8))
    assert words(kind).ids(text) == plain(KINDS[kind](), text)


def _with(tokenizer: Tokenizer, **parts: object) -> Tokenizer:
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer


def _dropout() -> Tokenizer:
    return Tokenizer(models.BPE({"a": 0}, [], dropout=0.5))


def _crossing_token() -> Tokenizer:
    tokenizer = llama2()
    tokenizer.add_tokens([AddedToken("New York")])
    return tokenizer


def _crossing_merge() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"▁": 0, "a": 1, "a▁": 2}, [("a", "▁")]))
    return _with(tokenizer, normalizer=normalizers.Replace(" ", "▁"))


def _split_then_marked(scheme: str) -> Tokenizer:
    """Words without a mark, of which a text's own "▁" makes others: "▁b▁d" are two pre-tokens."""
    metaspace = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return _with(xlm_roberta(), pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace]))


def _runs_marked_unstripped() -> Tokenizer:
    """T5's without Strip, which the probes refuse with most vocabularies, and not with all."""
    parts = [normalizers.Precompiled(charsmap()), normalizers.Replace(Regex(" {2,}"), "▁")]
    return _with(t5(), normalizer=normalizers.Sequence(parts))


#: Tokenizers whose texts cannot be cut, or of which it is not known.
LEFT_ALONE = {
    "merges at random": _dropout,
    "an added token with a space": _crossing_token,
    "a merge over a space": _crossing_merge,
    "no pre-tokenizer": lambda: _with(gpt2(), pre_tokenizer=None),
    "bytes without a split": lambda: _with(gpt2(), pre_tokenizer=pre_tokenizers.ByteLevel(use_regex=False)),
    "digits only": lambda: _with(gpt2(), pre_tokenizer=pre_tokenizers.Digits()),
    "an unknown pattern": lambda: _with(gpt2(), pre_tokenizer=pre_tokenizers.Split(Regex(r"\w+ \w+|\s+"), "isolated")),
    "a pattern that leaves spaces over": lambda: _with(
        gpt2(), pre_tokenizer=pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated")
    ),
    "a normalizer that strips the left": lambda: _with(gpt2(), normalizer=normalizers.Strip()),
    "words marked at the start of a text only": lambda: _split_then_marked("first"),
    "words not marked": lambda: _split_then_marked("never"),
    "runs of spaces marked, and not stripped": _runs_marked_unstripped,
    "a replacement of anything": lambda: _with(gpt2(), normalizer=normalizers.Replace(Regex(r"\s+"), "_")),
}


@pytest.mark.parametrize("kind", LEFT_ALONE)
def test_when_in_doubt_a_tokenizer_is_left_alone(kind: str) -> None:
    tokenizer = LEFT_ALONE[kind]()
    assert infer_word_rules(tokenizer) is None
    assert WordTokenizer.for_tokenizer(PlainTokenizer(tokenizer), MEMORY) is None


def new_words(generator: random.Random, count: int) -> str:
    return " ".join("".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(count))


@pytest.mark.parametrize("memory", [0, 1000, 2**18, 2**21])
def test_memory_stays_within_its_limit_where_every_word_is_new(memory: int) -> None:
    generator = random.Random(1)
    tokenizer = llama2()
    found = WordTokenizer.for_tokenizer(PlainTokenizer(tokenizer), memory)
    assert found is not None
    least = found.nbytes  # of an empty table
    most = 0
    for _ in range(60):
        batch = [new_words(generator, 100) for _ in range(20)]
        bags = found.bags(batch)
        assert bags.ids.tolist() == [token_id for text in batch for token_id in plain(tokenizer, text)]
        assert found.ids(batch[0]) == plain(tokenizer, batch[0])
        most = max(most, found.nbytes)
    assert most <= max(memory, least)
    if memory == 2**21:
        assert most > memory / 3  # it was used


def test_a_full_table_is_begun_anew_and_what_comes_again_is_learned_again() -> None:
    generator = random.Random(2)
    found = WordTokenizer.for_tokenizer(PlainTokenizer(llama2()), 2**19)
    assert found is not None
    for _ in range(200):
        found.bags([new_words(generator, 50), *CORPUS])
    found.bags(CORPUS)
    tables = found._table
    used = sum(part.used for part in tables.parts.values())
    found.bags(CORPUS)
    assert found._table is tables
    assert sum(part.used for part in tables.parts.values()) == used > 0


def test_threads_may_use_one_at_once() -> None:
    tokenizer = gpt2()
    found = WordTokenizer.for_tokenizer(
        PlainTokenizer(tokenizer), 2**18
    )  # small, so that it is emptied while others read
    assert found is not None
    faults: list[str] = []

    def work(seed: int) -> None:
        generator = random.Random(seed)
        for _ in range(60):
            batch = [new_words(generator, 20), *generator.sample(CORPUS, 5), *CORPUS[0].split(",")]
            expected = [plain(tokenizer, text) for text in batch]
            flat = list(chain.from_iterable(expected))
            if found.bags(batch).ids.tolist() != flat or [found.ids(text) for text in batch] != expected:
                faults.append(f"{seed}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults

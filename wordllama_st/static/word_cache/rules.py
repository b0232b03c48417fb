r"""The tokenizers that treat the words of a text one by one, and what a word is to each.

A text is cut into pieces at some of its spaces (and newlines). If its token ids are those of its pieces, one behind the
other, a piece that comes again need not be tokenized again. The rules below derive that from the tokenizer's parts,
each with the reason why it is sound. If a tokenizer has any other part, its texts are not cut; and one that passes must
also agree with itself on :data:`PROBES`.

**Pieces.** A cut comes before a space whose predecessor is not white space (of ASCII), so that a piece is some spaces
and what follows them: `` the``, ``   the``, ``end.\nNext``. A run of spaces at a cut belongs to one piece as a whole.

**Normalizers** must not let what they make of one side of a cut depend on the other. Replacing single characters or
runs of spaces, lower-casing character by character, and removing accents do not. Unicode normalization does not
either: a space is a starter and composes with nothing before it. SentencePiece's ``Precompiled`` maps whole grapheme
clusters; one ends before every space, except behind the few characters of the class *Prepend*, where no cut counts.
``Prepend`` puts its ``▁`` before the text only: it is put there before cutting, as a space. ``Strip`` is accepted on
the right, where a cut piece has no white space to lose.

**Pre-tokenizers** cut the text further, and the model then sees each pre-token by itself.

- ``BertPreTokenizer``, ``Whitespace``, ``WhitespaceSplit``: every space separates, and nothing depends on what is
  beyond one.
- ``Metaspace`` that splits: a pre-token begins at every ``▁``, so at every space. Behind ``WhitespaceSplit``, which
  leaves no space to replace, it must mark every word.
- ``ByteLevel``'s own pattern, and patterns of ``Split`` made of :data:`ALTERNATIVES`: behind a character that is not
  white space, none of these alternatives takes a space into a match that has begun, so a match begins at the cut;
  none looks back; and the only one that looks ahead, ``\s+(?!\S)``, looks at what follows white space, of which the
  piece before the cut has none at its end.
- ``Digits`` and ``Punctuation`` cut at characters that are not spaces, by looking at two neighbours.

**No pre-tokenizer**: byte-pair encoding runs over the whole text, as in Llama 2. A symbol only ever becomes one that is
in the vocabulary, so if no token has ``▁`` behind another character, no symbol reaches over a cut; the merges on its
two sides do not touch, and each side's come in the order that they have alone. If no token has a newline in it, and
none is made of the newline's byte, the same holds on both sides of every newline. (Unigram without a pre-tokenizer is
left out: of two segmentations that score alike, rounding may choose differently in a longer text.)

**Added tokens** are looked for before everything else, in the whole text. A text with a piece that has one in it is
tokenized whole. No added token may itself reach over a cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

#: SentencePiece's stand-in for a space, and byte-level BPE's.
META_SPACE, BYTE_SPACE = "▁", "Ġ"

#: Alternatives of split patterns behind which a match begins at every cut; see the module's text.
ALTERNATIVES = (
    *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"),
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d|'S|'T)",
    r"'(?i:[sdmt]|ll|ve|re)",
    r" ?\p{L}+",
    r" ?\p{N}+",
    r" ?[^\s\p{L}\p{N}]+",
    r"[^\r\n\p{L}\p{N}]?\p{L}+",
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"\p{N}",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
    r"\s*[\r\n]+",
    r"\s*[\r\n]",
    r"\s+(?!\S)",
    r"\s+",
)
#: Normalizers that treat what is on the two sides of a space alike, whatever is on the other.
_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "StripAccents"}
#: Those that make one character of each character of printable ASCII.
_SIMPLE_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"}
_PRE_TOKENIZERS = {"BertPreTokenizer", "ByteLevel", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit"}
#: The normalizers that replace spaces for a model that sees the whole text.
_PREPENDED = {"type": "Prepend", "prepend": META_SPACE}
_REPLACED = {"type": "Replace", "pattern": {"String": " "}, "content": META_SPACE}

_ASCII_SPACES = "\t\n\v\f\r "
#: What a space behind it may belong to: white space, and the grapheme class Prepend (Unicode 16, UAX 29).
_holds_a_space = re.compile(
    r"[\s\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd\U000111c2\U000111c3\U000113d1\U0001193f"
    r"\U00011941\U00011a3a\U00011a84-\U00011a89\U00011d46\U00011f02]"
).match

#: Texts on which a tokenizer must agree with itself on their pieces.
PROBES = (
    "The quick brown fox, it's 1,234,567 times over!",
    "  two  spaces   and\ttabs \t mixed\nnew\r\nlines\n\n  indented: x = 1 \n",
    " leading and trailing ",
    "Съешь же ещё этих мягких булок, ЁЖ 天地玄黄 いろはに ほへと نص حكيم له",
    "a\u00a0b \u00a0c\u00a0 d\u3000e \u3000f\u2003 g\u0085 h\u200b i \u200bj",
    "e\u0301 \u0301x caf\u00e9 cafe\u0301 \u00b4 \u037a \ufb01 \u01c5 \u1e9e \u0130",
    "\U0001f469\u200d\U0001f52c \U0001f1e9\U0001f1ea \U0001f600\U0001f600",
    "<s> </s> [CLS] <|endoftext|> ▁ ▁x x▁ Ġ Ġx <0x0A> \x00 \x1f \x7f",
    "don't we'll I'D 'tis '' \" \"quoted\" (a) [b] {c} -- ... /path/to/file.py http://example.com/?q=1&r=2",
    "x" * 70 + " " + "y" * 10,
    "\u0600 1 \u06dd 2",
    ".\n/ x ./\n y",
)


@dataclass(frozen=True)
class WordRules:
    """How to cut texts for a tokenizer so that their token ids are those of the pieces.

    Attributes:
        prefix: A space that the tokenizer puts before every text that is not empty, or nothing.
        cuts_newlines: Whether there is also a cut on both sides of every newline.
        stands_alone: Whether a piece has the tokens in a text that it has by itself.
        printable_stand_alone: Whether all pieces do that are in a text of printable ASCII; False if there is a doubt.
        marker: The character that stands for a space in tokens, if there is one.
        begins_piece: The tokens that are the first of a piece, for each id [V]: of a piece that begins with a space and
            has no other, if there is a marker; otherwise of a piece of letters and digits of ASCII behind a space. No
            other token of such a piece is one of them. None if tokens do not tell.
    """

    prefix: str
    cuts_newlines: bool
    stands_alone: Callable[[str], bool]
    printable_stand_alone: Callable[[str], bool]
    marker: str | None
    begins_piece: npt.NDArray[np.bool_] | None

    @property
    def pieces(self) -> re.Pattern[str]:
        """The pattern that ``findall`` cuts a text with, its prefix in front."""
        if self.cuts_newlines:
            return re.compile(r"\n| *[^ \n]+| +")
        return re.compile(r"[\t-\r ]*[^\t-\r ]+(?:[\t-\r][\t-\r ]*[^\t-\r ]*)*|[\t-\r ]+")


def infer_word_rules(tokenizer: Tokenizer) -> WordRules | None:
    """Return the rules by which a tokenizer's texts may be cut; None if there is a doubt."""
    normalizers, pre_tokenizers = component_parts(tokenizer.normalizer), component_parts(tokenizer.pre_tokenizer)
    kind = type(tokenizer.model).__name__
    if kind not in ("BPE", "WordPiece", "Unigram", "WordLevel") or getattr(tokenizer.model, "dropout", None):
        return None
    added = _added_tokens(tokenizer)
    if added is None:
        return None
    has_added = re.compile("|".join(map(re.escape, added))).search if added else lambda piece: None
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if {"String": " "} in [part.get("pattern") for part in normalizers]:
        if not _replaces_spaces(tokenizer, vocabulary, normalizers, pre_tokenizers):
            return None
        return WordRules(
            prefix=" " if _PREPENDED in normalizers else "",
            cuts_newlines=_has_newlines_as_bytes(tokenizer, vocabulary, added),
            # A text's own "▁" is one with the run of spaces behind it.
            stands_alone=lambda piece: not piece.endswith(META_SPACE) and not has_added(piece),
            printable_stand_alone=lambda text: not has_added(text),
            marker=META_SPACE,
            begins_piece=_marked(vocabulary, lambda token: token.startswith(META_SPACE)),
        )
    if not _are_local(normalizers) or not _cut_at_spaces(pre_tokenizers):
        return None
    normalize = tokenizer.normalizer.normalize_str if tokenizer.normalizer is not None else str

    def stands_alone(piece: str) -> bool:
        normalized = normalize(piece)
        if not normalized or has_added(piece) or has_added(normalized):
            return False
        if piece[0] == " " and normalized[0] not in (" ", META_SPACE):
            return False
        # Behind white space of ASCII there is no cut: with such a piece, the text ends.
        return piece[-1] in _ASCII_SPACES or not (_holds_a_space(piece[-1]) or _holds_a_space(normalized[-1]))

    def printable_stand_alone(text: str) -> bool:
        # Normalized character by character, each of which becomes another one.
        return is_simple and not has_added(text) and not has_added(normalize(text))

    is_simple = all(part["type"] in _SIMPLE_NORMALIZERS for part in normalizers)
    marker, begins_piece = _marker(tokenizer, pre_tokenizers), None
    if marker is not None:
        begins_piece = _marked(vocabulary, lambda token: token.startswith(marker))
    elif kind == "WordPiece" and (prefix := tokenizer.model.continuing_subword_prefix):
        begins_piece = _marked(vocabulary, lambda token: not token.startswith(prefix))
    return WordRules("", False, stands_alone, printable_stand_alone, marker, begins_piece)


def component_parts(component: Any) -> list[dict[str, Any]]:
    """Return the definition of a normalizer or pre-tokenizer, sequences resolved."""

    def resolved(definition: dict[str, Any]) -> list[dict[str, Any]]:
        if definition["type"] != "Sequence":
            return [definition]
        parts = definition.get("normalizers") or definition.get("pretokenizers") or []
        return [inner for part in parts for inner in resolved(part)]

    return [] if component is None else resolved(json.loads(component.__getstate__()))


def _added_tokens(tokenizer: Tokenizer) -> list[str] | None:
    """Return what marks a piece as one with an added token; None if an added token may reach over a cut."""
    contents = []
    for token in tokenizer.get_added_tokens_decoder().values():
        contents.append(token.content)
        if token.normalized and tokenizer.normalizer is not None:
            contents.append(tokenizer.normalizer.normalize_str(token.content).strip(f"{META_SPACE} "))
    reaching = re.compile(rf"[^ {META_SPACE}][ {META_SPACE}]").search
    return None if any(not content or reaching(content) for content in contents) else contents


def _marked(vocabulary: dict[str, int], is_marked: Callable[[str], bool]) -> npt.NDArray[np.bool_]:
    """Tell for each token id, [V], whether its token is marked."""
    marked = np.zeros(max(vocabulary.values(), default=-1) + 1, np.bool_)
    marked[[token_id for token, token_id in vocabulary.items() if is_marked(token)]] = True
    return marked


def _replaces_spaces(
    tokenizer: Tokenizer,
    vocabulary: dict[str, int],
    normalizers: list[dict[str, Any]],
    pre_tokenizers: list[dict[str, Any]],
) -> bool:
    """Whether the model sees the whole text with each space replaced, and no token reaches over a cut."""
    model: Any = tokenizer.model
    return (
        normalizers in ([_REPLACED], [_PREPENDED, _REPLACED], [_REPLACED, _PREPENDED])
        # A split at spaces finds none.
        and [part.get("pattern") for part in pre_tokenizers] in ([], [{"String": " "}])
        and type(model).__name__ == "BPE"
        and not (model.ignore_merges or model.continuing_subword_prefix or model.end_of_word_suffix)
        and model.token_to_id(META_SPACE) is not None
        and not any(META_SPACE in token.lstrip(META_SPACE) for token in vocabulary)
    )


def _has_newlines_as_bytes(tokenizer: Tokenizer, vocabulary: dict[str, int], added: list[str]) -> bool:
    """Whether every newline of a text is the token of its byte, and no other token has one in it."""
    model: Any = tokenizer.model
    newline = "<0x0A>"
    return (
        model.byte_fallback
        and model.token_to_id(newline) is not None
        and not any("\n" in token for token in (*vocabulary, *added))
        and not any(newline in token and token != newline for token in vocabulary)
    )


def _are_local(normalizers: list[dict[str, Any]]) -> bool:
    """Whether what these normalizers make of one side of a cut does not depend on the other."""
    # Where no white space is stripped, a run of spaces at the end of a text becomes a "▁" that none of its pieces has.
    marks_runs = any(part["type"] == "Replace" and part["content"] == META_SPACE for part in normalizers)
    strips = any(part["type"] == "Strip" and part["strip_right"] for part in normalizers)
    return all(map(_is_local, normalizers)) and (strips or not marks_runs)


def _is_local(normalizer: dict[str, Any]) -> bool:
    kind = normalizer["type"]
    if kind == "Replace":
        return normalizer["pattern"] == {"Regex": " {2,}"} and normalizer["content"] in (" ", META_SPACE)
    return kind in _NORMALIZERS or (kind == "Strip" and not normalizer["strip_left"])


def _cut_at_spaces(pre_tokenizers: list[dict[str, Any]]) -> bool:
    """Whether each of these pre-tokenizers is sound, and one of them cuts at every cut of ours."""
    kinds = [part["type"] for part in pre_tokenizers]
    if "Metaspace" in kinds and kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        return False
    # Where spaces are gone before Metaspace, only the scheme that marks every word tells where one begins.
    if kinds == ["WhitespaceSplit", "Metaspace"] and pre_tokenizers[1].get("prepend_scheme", "always") != "always":
        return False
    # Behind another pre-tokenizer, ByteLevel would add its space to every pre-token.
    if len(kinds) > 1 and any(part.get("add_prefix_space") for part in pre_tokenizers):
        return False
    return all(map(_is_sound, pre_tokenizers)) and any(map(_separates, pre_tokenizers))


def _is_sound(pre_tokenizer: dict[str, Any]) -> bool:
    kind = pre_tokenizer["type"]
    if kind == "Split":
        known, pattern = "|".join(map(re.escape, ALTERNATIVES)), pre_tokenizer["pattern"].get("Regex", "")
        isolated = pre_tokenizer["behavior"] == "Isolated" and not pre_tokenizer["invert"]
        return isolated and re.fullmatch(rf"(?:{known})(?:\|(?:{known}))*", pattern) is not None
    if kind == "Metaspace":
        return bool(pre_tokenizer["replacement"] == META_SPACE and pre_tokenizer.get("split", True))
    return kind in _PRE_TOKENIZERS


def _separates(pre_tokenizer: dict[str, Any]) -> bool:
    kind = pre_tokenizer["type"]
    if kind == "Split":
        return r"\s+" in pre_tokenizer["pattern"]["Regex"].split("|")
    return kind not in ("Digits", "Punctuation") and bool(pre_tokenizer.get("use_regex", True))


def _marker(tokenizer: Tokenizer, pre_tokenizers: list[dict[str, Any]]) -> str | None:
    """Return the character that stands for a space, if the first token of every piece with a space begins with it."""
    kinds = {part["type"] for part in pre_tokenizers}
    marker = META_SPACE if "Metaspace" in kinds else BYTE_SPACE if "ByteLevel" in kinds else None
    # Where the character is no token, it may be part of an unknown one.
    known = marker is not None and tokenizer.token_to_id(marker) is not None
    return marker if known and type(tokenizer.model).__name__ in ("BPE", "Unigram") else None

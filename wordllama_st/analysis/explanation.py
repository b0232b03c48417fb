"""Why two texts are similar: the similarity of a context-free model, taken apart into pairs of tokens.

The vectors of the texts are means over their tokens, a = 1/n Σ x_i and b = 1/m Σ y_j, so their dot product is a sum
over all pairs of tokens, and their cosine too:

    cos(a, b)  =  Σ_ij  x_i · y_j / (n m |a| |b|)

Nothing is estimated, as it must be where tokens look at each other. Each text is kept as a list of vectors that are
scaled so that a pair's contribution is a dot product. Adding up the vectors of some tokens adds up what they
contribute: that is how tokens become words, and how many become few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from wordllama_st.analysis.text_pieces import Piece, token_pieces, word_pieces
from wordllama_st.errors import ArgumentError
from wordllama_st.static import StaticEncoder

Floats = npt.NDArray[np.float64]

#: The similarity functions that are sums over pairs of tokens.
EXPLAINED = ("cosine", "dot")
#: The shortest vector that is divided by its length, as in the library's normalization.
_SHORTEST = 1e-12
#: Contributions that are looked through at a time.
_CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two texts.

    Attributes:
        text: The text, its prompt in front of it.
        pieces: Its tokens or words, [n]; last, where ``folded`` is not 0, what stands for all those left out.
        vectors: What they contribute with, float64 [n, d]: a pair of one text's and one of the other's contributes
            their dot product.
        folded: How many the last piece stands for.
    """

    text: str
    pieces: tuple[Piece, ...]
    vectors: Floats
    folded: int = 0

    def by_word(self) -> Side:
        """The same text, word by word."""
        words, places = word_pieces(self.text, self.pieces)
        return self._grouped(words, places)

    def by_spelling(self) -> Side:
        """The same text with one piece for all that look the same, where the first of them is."""
        groups: dict[str, list[Piece]] = {}
        for piece in self.pieces:
            groups.setdefault(piece.label, []).append(piece)
        pieces = [
            first._replace(label=f"{first.label} \N{MULTIPLICATION SIGN}{1 + len(more):,}") if more else first
            for first, *more in groups.values()
        ]
        places = {label: place for place, label in enumerate(groups)}
        return self._grouped(pieces, np.array([places[piece.label] for piece in self.pieces]))

    def _grouped(self, pieces: Sequence[Piece], places: npt.NDArray[np.intp]) -> Side:
        """Other pieces, and which of them each of these becomes a part of, [n]."""
        vectors = np.zeros((len(pieces), self.vectors.shape[1]))
        np.add.at(vectors, places, self.vectors)
        return replace(self, pieces=tuple(pieces), vectors=vectors)

    def keeping(self, kept: npt.NDArray[np.intp]) -> Side:
        """The same text with only those pieces, in that order, and behind them one for all others."""
        others = np.setdiff1d(np.arange(len(self.pieces)), kept)
        pieces, vectors = [self.pieces[index] for index in kept.tolist()], self.vectors[kept]
        if len(others):
            pieces.append(
                Piece(f"{len(others):,} other{'s' if len(others) > 1 else ''}", len(self.text), len(self.text))
            )
            vectors = np.vstack([vectors, self.vectors[others].sum(axis=0)])
        return replace(self, pieces=tuple(pieces), vectors=vectors, folded=len(others))


class Pair(NamedTuple):
    """A token, or word, of each text, and what the two contribute together."""

    a: str
    b: str
    contribution: float


class RankedPairs(NamedTuple):
    """The first of all pairs whose contribution has one sign.

    Attributes:
        pairs: Those farthest from zero, the farthest first.
        number: How many pairs there are of that sign.
        total: What all of them contribute.
    """

    pairs: list[Pair]
    number: int
    total: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """The similarity of two texts as a sum over pairs of their tokens, or words.

    Attributes:
        a: The first text.
        b: The second.
        similarity_fn_name: ``"cosine"`` or ``"dot"``.
        unit: What the texts are taken apart into.

    Example:
        ::

            explanation = explain(encoder, "How do I reset my password?", "I can't log in.").by_word()
            for token, contribution in zip(explanation.tokens_a, explanation.contributions.sum(axis=1)):
                print(token, contribution)
    """

    a: Side
    b: Side
    similarity_fn_name: str
    unit: Literal["token", "word", "different word"] = "token"

    @property
    def tokens_a(self) -> list[str]:
        """The first text's tokens, or words, as one reads them, [n]."""
        return [piece.label for piece in self.a.pieces]

    @property
    def tokens_b(self) -> list[str]:
        """The second text's, [m]."""
        return [piece.label for piece in self.b.pieces]

    @property
    def contributions(self) -> Floats:
        """What each pair contributes, float64 [n, m], computed anew each time; all together are the score."""
        return self.a.vectors @ self.b.vectors.T

    @property
    def contributions_a(self) -> Floats:
        """What each token of the first text contributes, paired with all of the second, [n]: the sums of the rows."""
        sums: Floats = self.a.vectors @ self.b.vectors.sum(axis=0)
        return sums

    @property
    def contributions_b(self) -> Floats:
        """What each token of the second text contributes, [m]: the sums of the columns."""
        sums: Floats = self.b.vectors @ self.a.vectors.sum(axis=0)
        return sums

    @property
    def score(self) -> float:
        """The similarity of the two texts, that which :meth:`StaticEncoder.similarity` computes of their vectors."""
        return float(self.a.vectors.sum(axis=0) @ self.b.vectors.sum(axis=0))

    def by_word(self) -> Explanation:
        """The same by words: what a word's tokens contribute, added up."""
        if self.unit != "token":
            return self
        return replace(self, a=self.a.by_word(), b=self.b.by_word(), unit="word")

    def by_spelling(self) -> Explanation:
        """The same by words, with all that are written the same taken as one."""
        words = self.by_word()
        return replace(words, a=words.a.by_spelling(), b=words.b.by_spelling(), unit="different word")

    def shortened(self, most: int) -> Explanation:
        """The same in tokens if no text has more than ``most``, or else in words, or else in different words."""
        for explanation in (self, self.by_word()):
            if max(len(explanation.a.pieces), len(explanation.b.pieces)) <= most:
                return explanation
        return self.by_spelling()

    def folded(self, most: int) -> Explanation:
        """The same with ``most`` tokens or words of a text that has more, and behind them one for all others.

        Those are kept whose sums, :attr:`contributions_a` and :attr:`contributions_b`, are farthest from zero, and they
        come in that order. What is folded cannot be told by word any more.
        """
        a, b = (
            side if len(side.pieces) <= most else side.keeping(_largest(np.abs(sums), most))
            for side, sums in ((self.a, self.contributions_a), (self.b, self.contributions_b))
        )
        return replace(self, a=a, b=b)

    def strongest_pairs(self, count: int) -> RankedPairs:
        """The ``count`` pairs that contribute most."""
        return self._ranked(1, count)

    def opposed_pairs(self, count: int) -> RankedPairs:
        """The ``count`` pairs that take most away, whose contributions are the most negative."""
        return self._ranked(-1, count)

    def _ranked(self, sign: int, count: int) -> RankedPairs:
        tokens_a, tokens_b = self.tokens_a, self.tokens_b
        pairs: list[Pair] = []
        number, total = 0, 0.0
        for first, block in self._blocks():
            values = sign * block.ravel()
            of_sign = values > 0
            number += int(np.count_nonzero(of_sign))
            total += sign * float(values[of_sign].sum())
            least = abs(pairs[-1].contribution) if len(pairs) == count > 0 else 0.0
            better = np.flatnonzero(values > least)
            for place in better[_largest(values[better], count)].tolist():
                row, column = divmod(place, len(tokens_b))
                pairs.append(Pair(tokens_a[first + row], tokens_b[column], sign * float(values[place])))
            pairs = sorted(pairs, key=lambda pair: -abs(pair.contribution))[:count]
        return RankedPairs(pairs, number, total)

    def _blocks(self) -> Iterator[tuple[int, Floats]]:
        """The contributions, some rows at a time, and which row is the first: long texts have millions of pairs."""
        rows = max(1, _CHUNK // len(self.b.vectors))
        for first in range(0, len(self.a.vectors), rows):
            yield first, self.a.vectors[first : first + rows] @ self.b.vectors.T


def explain(
    encoder: StaticEncoder,
    text_a: str,
    text_b: str,
    *,
    prompt_name_a: str | None = None,
    prompt_name_b: str | None = None,
    truncate_dim: int | None = None,
) -> Explanation:
    """Take the similarity of two texts apart.

    Args:
        encoder: The model.
        text_a: A text.
        text_b: Another.
        prompt_name_a: Which of the model's prompts to put in front of the first text; its default prompt, if it has
            one, if None. A prompt's tokens contribute as others do.
        prompt_name_b: The same for the second.
        truncate_dim: Matryoshka dim to compare the texts at; the model's own if None.

    Returns:
        Contributions whose sum is the model's own similarity of the two.

    Raises:
        ArgumentError: If the model's similarity is no sum over pairs of tokens, as distances are not; a text has no
            tokens, or, for the cosine, its vector is zero; or an argument has no meaning, as in
            :meth:`StaticEncoder.encode`.
    """
    similarity = encoder.table.similarity_fn_name
    if similarity not in EXPLAINED:
        raise ArgumentError(
            f"The model compares texts by {similarity} distance, which is no sum over pairs of tokens; what can be "
            f"explained is {' and '.join(EXPLAINED)}. Give the model one of these as its similarity_fn_name."
        )
    encoder.encode([text_a, text_b], prompt="", truncate_dim=truncate_dim)  # refuses what cannot be encoded
    text_a = encoder.prompt_text(prompt_name_a) + text_a
    text_b = encoder.prompt_text(prompt_name_b) + text_b
    return Explanation(
        _side(encoder, text_a, "first", truncate_dim), _side(encoder, text_b, "second", truncate_dim), similarity
    )


def _side(encoder: StaticEncoder, text: str, which: str, dim: int | None) -> Side:
    """A text's tokens, their vectors divided by what the text's own vector is divided by."""
    vectors = encoder.token_vectors(text).vectors.astype(np.float64)
    if not len(vectors):
        raise ArgumentError(
            f"The {which} text, {text[:40]!r}, has no tokens, so its vector is zero and nothing can be said of its "
            f"similarity; give a text that the model's tokenizer makes tokens of."
        )
    if not np.isfinite(vectors).all():
        raise ArgumentError(
            f"Some tokens of the {which} text, {text[:40]!r}, have vectors that are not finite; the model is damaged."
        )
    vectors /= len(vectors)
    if encoder.table.normalize:
        vectors /= _length(vectors, text, which)
    vectors = vectors[:, :dim]
    if encoder.table.similarity_fn_name == "cosine":
        vectors /= _length(vectors, text, which)
    return Side(text, tuple(token_pieces(encoder.tokenizer, text)), vectors)


def _length(vectors: Floats, text: str, which: str) -> float:
    """The length of the sum of some vectors, or the least that one is divided by."""
    length = float(np.linalg.norm(vectors.sum(axis=0)))
    # The encoder adds up in float32, where less than this is what rounding leaves.
    if length <= np.finfo(np.float32).eps * np.linalg.norm(vectors, axis=1).sum():
        raise ArgumentError(
            f"The vectors of the {which} text's tokens, {text[:40]!r}, add up to zero, and the zero vector has no "
            f"direction and no cosine; compare another text."
        )
    return max(length, _SHORTEST)


def _largest(values: Floats, count: int) -> npt.NDArray[np.intp]:
    """Where the ``count`` largest of some values are, the largest first."""
    return np.argsort(-values, kind="stable")[:count]


#: The most decimals that a number is given.
_MOST_DECIMALS = 12
#: A score below this share of all that is added up for and against it is too close to zero to be shared out.
_NEAR_ZERO = 0.01


@dataclass(frozen=True)
class Figures:
    """How the contributions of one explanation are written: all in one unit and with as many decimals.

    Attributes:
        factor: What they are multiplied by: cosines are written as hundredths.
        decimals: How many each has.
        whole: What shares are shares of; 0 where there are none.
    """

    factor: int
    decimals: int
    whole: float

    @classmethod
    def of(cls, explanation: Explanation, largest: float, gross: float) -> Figures:
        """Figures in which the largest contribution has three digits that count.

        Args:
            explanation: The contributions.
            largest: How far from zero the farthest of those that are to be shown is.
            gross: What all contributions would add up to without their signs.
        """
        cosine = explanation.similarity_fn_name == "cosine"
        factor, fewest = (100, 2) if cosine else (1, 0)
        needed = 2 - math.floor(math.log10(largest * factor)) if largest else fewest
        score = explanation.score
        return cls(
            factor=factor,
            decimals=min(max(needed, fewest), _MOST_DECIMALS),
            whole=score if abs(score) > _NEAR_ZERO * gross else 0.0,
        )

    @property
    def scale(self) -> str:
        """What to say of the unit, behind a comma."""
        return ", in hundredths of the cosine" if self.factor == 100 else ""

    @property
    def step(self) -> str:
        """What numbers are rounded to."""
        return f"{10**-self.decimals:.{self.decimals}f}"

    def show(self, contribution: float) -> str:
        """A contribution with its sign."""
        return _signed(contribution * self.factor, self.decimals)

    def similarity(self, score: float) -> str:
        """A score as the similarity function gives it, as exact as contributions are."""
        return _signed(score, self.decimals + len(str(self.factor)) - 1).removeprefix("+")

    def share(self, contribution: float) -> str:
        """A contribution as a share of the score; nothing where shares would say nothing."""
        return f"{_signed(100 * contribution / self.whole, 1).removeprefix('+')} %" if self.whole else ""


def _signed(number: float, decimals: int) -> str:
    """A number with its sign; what is rounded to zero has none."""
    number = round(number, decimals)
    return f"{number:+.{decimals}f}" if number else f"{0:.{decimals}f}"

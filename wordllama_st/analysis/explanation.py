"""Why two texts are similar: the similarity of a static model as a sum over pairs of tokens.

The embeddings of the texts are means over their tokens, a = 1/n Σ x_i and b = 1/m Σ y_j, so their dot product is a sum
over all pairs of tokens, and so is their cosine:

    cos(a, b)  =  Σ_ij  x_i · y_j / (n m |a| |b|)

The sum is exact. Token embeddings are kept scaled, so that the contribution of a pair is a dot product; the sum of the
scaled embeddings of some tokens has the sum of their contributions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from wordllama_st.analysis.rendering import html_page, text_lines
from wordllama_st.analysis.text_pieces import Piece, token_pieces, word_pieces
from wordllama_st.errors import ArgumentError
from wordllama_st.static import StaticEncoder

Floats = npt.NDArray[np.float64]

#: The most tokens or words of a text that are shown one by one.
MOST_SHOWN = 80
#: Contributions that are ranked at a time: long texts have millions of pairs.
_CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two texts, with its prompt before it."""

    text: str
    pieces: tuple[Piece, ...]  #: Its tokens or words, [n]; the last stands for all others if ``folded`` is not 0.
    vectors: Floats  #: Their scaled embeddings, float64 [n, d]; a pair contributes the dot product of its two.
    folded: int = 0  #: How many tokens or words the last piece stands for.

    @property
    def labels(self) -> list[str]:
        """What to show for each token or word, [n]."""
        return [piece.label for piece in self.pieces]

    def by_word(self) -> Side:
        """Group the tokens into words."""
        return self._grouped(*word_pieces(self.text, self.pieces))

    def by_spelling(self) -> Side:
        """Group the pieces with equal labels, each group in the place of its first piece."""
        counts = Counter(self.labels)  # in order of first appearance
        first = {piece.label: piece for piece in reversed(self.pieces)}
        labels = {label: f"{label} \N{MULTIPLICATION SIGN}{n:,}" if n > 1 else label for label, n in counts.items()}
        places = {label: place for place, label in enumerate(counts)}
        pieces = [first[label]._replace(label=shown) for label, shown in labels.items()]
        return self._grouped(pieces, np.array([places[label] for label in self.labels]))

    def keeping(self, kept: npt.NDArray[np.intp]) -> Side:
        """Keep these pieces, in this order, and group all others into a last one."""
        others, end = len(self.pieces) - len(kept), len(self.text)
        places = np.full(len(self.pieces), len(kept))
        places[kept] = np.arange(len(kept))
        pieces = [*(self.pieces[index] for index in kept), Piece(f"{others:,} other{'s' * (others > 1)}", end, end)]
        return replace(self._grouped(pieces, places), folded=others)

    def _grouped(self, pieces: Sequence[Piece], places: npt.NDArray[np.intp]) -> Side:
        """Sum the vectors of the pieces into those of new ones; ``places`` has each piece's new index, [n]."""
        vectors = np.zeros((len(pieces), self.vectors.shape[1]))
        np.add.at(vectors, places, self.vectors)
        return replace(self, pieces=tuple(pieces), vectors=vectors)


class Pair(NamedTuple):
    """A token, or word, of each text, and the contribution of the two."""

    a: str
    b: str
    contribution: float


class RankedPairs(NamedTuple):
    """The first pairs of one sign, those farthest from zero; the number of all, and the sum of their contributions."""

    pairs: list[Pair]
    number: int
    total: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """The similarity of two texts as a sum over pairs of their tokens, or words.

    Example:
        ::

            explanation = explain("wordllama-l2-supercat-256", "How do I reset my password?", "I can't log in.")
            print(explanation.by_word())
            Path("why.html").write_text(explanation.to_html(), encoding="utf-8")
    """

    a: Side
    b: Side
    similarity_fn_name: str  #: ``"cosine"`` or ``"dot"``.
    model: str
    unit: Literal["token", "word", "different word"] = "token"  #: What the texts are split into.

    @property
    def contributions(self) -> Floats:
        """The contribution of each pair, float64 [n, m], computed anew each time; their sum is the score."""
        return self.a.vectors @ self.b.vectors.T

    @property
    def contributions_a(self) -> Floats:
        """The contribution of each token of the first text with the whole second text, [n]: the sums of the rows."""
        return np.asarray(self.a.vectors @ self.b.vectors.sum(axis=0))

    @property
    def contributions_b(self) -> Floats:
        """The contribution of each token of the second text with the whole first, [m]: the sums of the columns."""
        return np.asarray(self.b.vectors @ self.a.vectors.sum(axis=0))

    @property
    def score(self) -> float:
        """The similarity of the two texts, as :meth:`StaticEncoder.similarity` computes it from their embeddings."""
        return float(self.a.vectors.sum(axis=0) @ self.b.vectors.sum(axis=0))

    def by_word(self) -> Explanation:
        """Sum the contributions of each word's tokens."""
        if self.unit != "token":
            return self
        return replace(self, a=self.a.by_word(), b=self.b.by_word(), unit="word")

    def by_spelling(self) -> Explanation:
        """Sum the contributions of all words with the same spelling."""
        words = self.by_word()
        return replace(words, a=words.a.by_spelling(), b=words.b.by_spelling(), unit="different word")

    def shortened(self, most: int = MOST_SHOWN) -> Explanation:
        """Explain by token if neither text has more than ``most``, or else by word, or else by different word."""
        for explanation in (self, self.by_word()):
            if max(len(explanation.a.pieces), len(explanation.b.pieces)) <= most:
                return explanation
        return self.by_spelling()

    def folded(self, most: int = MOST_SHOWN) -> Explanation:
        """Reduce each text that has more tokens or words than ``most`` to that many, and one for all others.

        Those whose sums, :attr:`contributions_a` and :attr:`contributions_b`, are farthest from zero are kept, in that
        order. A folded explanation cannot be grouped by word.
        """
        a, b = (
            side if len(side.pieces) <= most else side.keeping(np.argsort(-np.abs(sums), kind="stable")[:most])
            for side, sums in ((self.a, self.contributions_a), (self.b, self.contributions_b))
        )
        return replace(self, a=a, b=b)

    def ranked_pairs(self, count: int, sign: Literal[1, -1] = 1) -> RankedPairs:
        """Rank the pairs whose contributions have this sign, and return the ``count`` farthest from zero."""
        tokens_a, tokens_b = self.a.labels, self.b.labels
        pairs: list[Pair] = []
        number, total = 0, 0.0
        step = max(1, _CHUNK // len(tokens_b))
        for first in range(0, len(tokens_a), step):
            values = sign * (self.a.vectors[first : first + step] @ self.b.vectors.T).ravel()
            of_sign = values[values > 0]
            number += len(of_sign)
            total += sign * float(of_sign.sum())
            least = abs(pairs[-1].contribution) if len(pairs) == count > 0 else 0.0
            better = np.flatnonzero(values > least)
            for place in better[np.argsort(-values[better], kind="stable")[:count]].tolist():
                row, column = divmod(place, len(tokens_b))
                pairs.append(Pair(tokens_a[first + row], tokens_b[column], sign * float(values[place])))
            pairs = sorted(pairs, key=lambda pair: -abs(pair.contribution))[:count]
        return RankedPairs(pairs, number, total)

    def to_text(self, top: int = 10) -> str:
        """Write the explanation as lines of at most 100 columns, with ``top`` pairs for and against the similarity."""
        return "\n".join(text_lines(self.shortened(), top))

    def __str__(self) -> str:
        return self.to_text()

    def to_html(self) -> str:
        """Draw a heat map, as an HTML page that loads nothing and runs no script."""
        return html_page(self)

    def to_json(self) -> str:
        """Write the numbers of :meth:`to_html`, unrounded, as JSON."""
        table = self.shortened().folded()
        plain: dict[str, Any] = {"model": self.model, "similarity": self.similarity_fn_name}
        plain |= {"dim": self.a.vectors.shape[1], "score": table.score, "unit": table.unit}
        for name, side, sums in (("a", table.a, table.contributions_a), ("b", table.b, table.contributions_b)):
            values = zip(side.pieces, sums.tolist(), strict=True)
            pieces = [piece._asdict() | {"contribution": value} for piece, value in values]
            plain[name] = {"text": side.text, "pieces": pieces, "folded": side.folded}
        return json.dumps(plain | {"contributions": table.contributions.tolist()}, ensure_ascii=False)


def explain(
    model: StaticEncoder | str | Path,
    text_a: str,
    text_b: str,
    *,
    prompt_name_a: str | None = None,
    prompt_name_b: str | None = None,
    dim: int | None = None,
) -> Explanation:
    """Explain a model's similarity of two texts as the sum of the contributions of pairs of their tokens.

    Args:
        model: A static model, or what :meth:`StaticEncoder.from_pretrained` loads one from.
        text_a: The first text.
        text_b: The second.
        prompt_name_a: Which of the model's prompts to put before the first text; None takes its default prompt, if it
            has one. The tokens of a prompt contribute like others. ``prompt_name_b`` is that of the second.
        dim: Matryoshka dim to compare the texts at; None takes the model's own.

    Raises:
        ArgumentError: If the model's similarity is a distance, which is no sum over pairs of tokens; a text has no
            tokens, or, for the cosine, its embedding is zero; or an argument is invalid, as in
            :meth:`StaticEncoder.encode`.
        ModelLoadError: If the model cannot be loaded; likewise ModelUnavailableError and UnknownModelError.
    """
    encoder = model if isinstance(model, StaticEncoder) else StaticEncoder.from_pretrained(model)
    similarity = encoder.table.similarity_fn_name
    if similarity not in ("cosine", "dot"):
        raise ArgumentError(
            f"The model compares texts by {similarity} distance, which is no sum over pairs of tokens; what can be "
            "explained is cosine and dot. Give the model one of these as its similarity_fn_name."
        )
    encoder.encode([text_a, text_b], prompt="", truncate_dim=dim)  # refuses what cannot be encoded
    a, b = encoder.table.prompt_text(prompt_name_a) + text_a, encoder.table.prompt_text(prompt_name_b) + text_b
    return Explanation(_side(encoder, a, "first", dim), _side(encoder, b, "second", dim), similarity, str(model))


def _side(encoder: StaticEncoder, text: str, which: str, dim: int | None) -> Side:
    """Scale a text's token embeddings so that they sum to its embedding, of norm 1 for the cosine."""

    def refusal(reason: str) -> ArgumentError:
        return ArgumentError(f"The {which} text, {text[:40]!r}, {reason}.")

    def normalized(vectors: Floats) -> Floats:
        norm = float(np.linalg.norm(vectors.sum(axis=0)))
        # The encoder sums in float32, where a smaller norm than this is a rounding error.
        if norm <= np.finfo(np.float32).eps * np.linalg.norm(vectors, axis=1).sum():
            raise refusal("has token embeddings that sum to zero, which has no cosine; compare another text")
        return vectors / max(norm, 1e-12)  # as sentence-transformers normalizes

    vectors = encoder.token_vectors(text).vectors.astype(np.float64)
    if not len(vectors):
        raise refusal("has no tokens, so its embedding is zero; give a text that the tokenizer splits into tokens")
    if not np.isfinite(vectors).all():
        raise refusal("has token embeddings that are not finite; the model is damaged")
    vectors /= len(vectors)
    if encoder.table.normalize:
        vectors = normalized(vectors)
    vectors = vectors[:, :dim]
    if encoder.table.similarity_fn_name == "cosine":
        vectors = normalized(vectors)
    return Side(text, tuple(token_pieces(encoder.tokenizer, text)), vectors)

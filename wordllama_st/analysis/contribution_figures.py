"""Contributions to a similarity, as numbers for people to read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wordllama_st.analysis.explanation import Explanation

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

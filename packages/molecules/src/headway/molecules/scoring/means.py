"""Several scores as one."""

import math
from collections.abc import Sequence

from rdkit import Chem

from headway.core.errors import UserError
from headway.molecules.scoring.base import Scorer


class ArithmeticMean(Scorer):
    """The mean of several scores.

    Args:
        scorers: At least one.
        weights: One for each, above 0; all the same if None.

    Raises:
        UserError: If there is no scorer, or weights are not above 0 or not one for each.
    """

    def __init__(
        self, *, scorers: Sequence[Scorer], weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if not scorers:
            raise UserError(f"{type(self).__name__} needs at least one scorer")
        given = [1.0] * len(scorers) if weights is None else [float(one) for one in weights]
        if len(given) != len(scorers) or min(given) <= 0:
            raise UserError(
                f"weights are {given} for {len(scorers)} scorers; give one above 0 for each"
            )
        # A tuple: scorers hold nothing that a module list would register.
        self.scorers = tuple(scorers)
        self.weights = given
        self.shares = [one / sum(given) for one in given]

    def parts(
        self, molecules: Sequence[Chem.Mol], proteins: Sequence[str] | None = None
    ) -> list[list[float]]:
        """Returns the scores of each scorer."""
        return [one.of(molecules, proteins) for one in self.scorers]

    def numbers(self, molecules: Sequence[Chem.Mol]) -> list[float]:
        """Returns the mean of each."""
        return self.numbers_for(molecules, None)

    def numbers_for(
        self, molecules: Sequence[Chem.Mol], proteins: Sequence[str] | None
    ) -> list[float]:
        """Returns the mean of each, for the protein that it was written for."""
        return [self._mean(row) for row in zip(*self.parts(molecules, proteins), strict=True)]

    def _mean(self, scores: Sequence[float]) -> float:
        weighted = (weight * one for weight, one in zip(self.weights, scores, strict=True))
        return sum(weighted) / sum(self.weights)


class GeometricMean(ArithmeticMean):
    """The product of several scores, each to the power of its share of the weights: a 0 makes all 0.

    Args:
        scorers: At least one.
        weights: One for each, above 0; all the same if None.
    """

    def _mean(self, scores: Sequence[float]) -> float:
        if len(set(self.weights)) == 1:
            return math.prod(scores) ** (1 / len(scores))
        return math.prod(one**share for one, share in zip(scores, self.shares, strict=True))

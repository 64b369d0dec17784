"""Scores of how near the formula of a molecule is to one."""

import math
import re
from collections.abc import Sequence

from rdkit import Chem

from headway.core.errors import UserError
from headway.molecules.scoring.base import Scorer
from headway.molecules.scoring.numbers import check_element, element_counts
from headway.molecules.scoring.transforms import Gaussian


class Isomers(Scorer):
    """The geometric mean of a Gaussian for the atoms of each element (deviation 1) and for all atoms (2).

    Args:
        formula: Such as ``C7H8N2O2``.

    Raises:
        UserError: If it is no formula.

    Source:
        Brown et al. 2019, https://arxiv.org/abs/1811.09621 (GuacaMol), section 3.3.
    """

    def __init__(self, *, formula: str) -> None:
        super().__init__()
        if not re.fullmatch(r"([A-Z][a-z]?\d*)+", formula):
            raise UserError(f"{formula!r} is no formula; give one such as C7H8N2O2")
        self.wanted = {
            symbol: int(count or 1) for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula)
        }
        for symbol in self.wanted:
            check_element(symbol)
        self.near = [Gaussian(mean=count, deviation=1) for count in self.wanted.values()]
        self.whole = Gaussian(mean=sum(self.wanted.values()), deviation=2)

    def numbers(self, molecules: Sequence[Chem.Mol]) -> list[float]:
        """Returns the score of each."""
        return [self._one(element_counts(one)) for one in molecules]

    def _one(self, counts: dict[str, int]) -> float:
        parts = [
            near.forward(counts.get(symbol, 0))
            for symbol, near in zip(self.wanted, self.near, strict=True)
        ]
        parts.append(self.whole.forward(sum(counts.values())))
        return math.prod(parts) ** (1 / len(parts))

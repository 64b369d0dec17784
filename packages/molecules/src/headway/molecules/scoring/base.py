"""What every score of molecules is."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from rdkit import Chem

from headway.core.errors import UserError
from headway.core.module import Module
from headway.molecules.chemistry import molecule
from headway.molecules.scoring.transforms import Transform

# Rounding of sums may leave the interval by so much.
_SLACK = 1e-9


class Scored(NamedTuple):
    """Scores of a batch.

    Args:
        values: From 0 to 1, one for each SMILES; 0 for what is no molecule.
        invalid: The places in the batch of what is no molecule.
    """

    values: list[float]
    invalid: list[int]


class Scorer(Module):
    """Says how good molecules are, from 0 to 1; as data it is what objectives in YAML are made of.

    A subclass implements ``numbers``, or ``numbers_for`` if the protein that a molecule was written for
    counts. It holds no weights; like a tokenizer it is a ``Module`` so that it is written and read as every
    part is (``weights.describe``, ``weights.build``).

    Args:
        transform: Makes a score of the number; the number is one already if None.
    """

    def __init__(self, transform: Transform | None = None) -> None:
        super().__init__()
        self.transform = transform

    @abstractmethod
    def numbers(self, molecules: Sequence[Chem.Mol]) -> Sequence[float]:
        """Returns what is known of molecules, before the transform; NaN where nothing is."""

    def numbers_for(
        self, molecules: Sequence[Chem.Mol], proteins: Sequence[str] | None
    ) -> Sequence[float]:
        """Returns what is known of molecules beside their proteins; of the molecules alone unless overridden.

        Args:
            molecules: The molecules.
            proteins: The sequence that each was written for; None where there is none.
        """
        return self.numbers(molecules)

    def score(self, smiles: Sequence[str], proteins: Sequence[str] | None = None) -> Scored:
        """Returns the scores of SMILES; what is no molecule has 0 and is named.

        Args:
            smiles: The molecules.
            proteins: The sequence that each was written for; None where there is none.

        Raises:
            UserError: If a score is not between 0 and 1.
        """
        found = [molecule(text) for text in smiles]
        places = [place for place, one in enumerate(found) if one is not None]
        valid = [one for one in found if one is not None]
        told = None if proteins is None else [proteins[place] for place in places]
        scores = iter(self.of(valid, told) if valid else ())
        values = [0.0 if one is None else next(scores) for one in found]
        return Scored(values, [place for place, one in enumerate(found) if one is None])

    def of(
        self, molecules: Sequence[Chem.Mol], proteins: Sequence[str] | None = None
    ) -> list[float]:
        """Returns the scores of molecules; 0 where nothing is known, so that one of them ends no long run.

        Args:
            molecules: The molecules.
            proteins: As of ``numbers_for``.

        Raises:
            UserError: If one is not between 0 and 1.
        """
        numbers = [float(number) for number in self.numbers_for(molecules, proteins)]
        scores = [0.0 if math.isnan(number) else self._transformed(number) for number in numbers]
        wrong = next((one for one in scores if not -_SLACK <= one <= 1 + _SLACK), None)
        if wrong is not None:
            raise UserError(
                f"{type(self).__name__} says {wrong:g}, which is no score from 0 to 1; give it a transform"
            )
        return [min(1.0, max(0.0, score)) for score in scores]

    def _transformed(self, number: float) -> float:
        return number if self.transform is None else self.transform.forward(number)

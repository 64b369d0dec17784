"""Scores that depend on the protein that a molecule was written for."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from rdkit import Chem

from headway.core.errors import UserError
from headway.molecules.scoring.base import Scorer
from headway.molecules.scoring.models import one_each
from headway.molecules.scoring.transforms import Transform


@runtime_checkable
class PairPredictor(Protocol):
    """What predicts a number for each molecule and its protein, such as how strongly they bind."""

    def predict(self, smiles: Sequence[str], proteins: Sequence[str]) -> Sequence[float]:
        """Returns one number for each pair."""
        ...


class Affinity(Scorer):
    """Scores molecules by the protein that each was written for.

    A model of molecules alone, taught on one target, is a ``Predicted``.

    Args:
        model: What predicts of pairs.
        transform: Makes a score of the prediction; it is one already if None.

    Source:
        Sheikholeslami et al. 2024, https://arxiv.org/abs/2411.14157, whose reward is a predicted affinity.
    """

    def __init__(self, *, model: PairPredictor, transform: Transform | None = None) -> None:
        super().__init__(transform)
        self.predictor = model

    def numbers(self, molecules: Sequence[Chem.Mol]) -> Sequence[float]:
        """Raises: there is no protein.

        Raises:
            UserError: Always.
        """
        raise UserError("Affinity scores molecules for a protein, and none was given: --protein")

    def numbers_for(
        self, molecules: Sequence[Chem.Mol], proteins: Sequence[str] | None
    ) -> Sequence[float]:
        """Returns the prediction for each pair."""
        if proteins is None:
            return self.numbers(molecules)
        smiles = [Chem.MolToSmiles(one) for one in molecules]
        return one_each(self.predictor.predict(smiles, proteins), len(smiles), "predict")


class PairFunction:
    """Predicts what a function of yours says of SMILES and sequences; not to be saved.

    Args:
        function: Is given a list of SMILES and one of sequences, and returns a number for each pair.
    """

    def __init__(self, function: Callable[[Sequence[str], Sequence[str]], Sequence[float]]) -> None:
        self.function = function

    def predict(self, smiles: Sequence[str], proteins: Sequence[str]) -> Sequence[float]:
        """Returns what the function says."""
        return self.function(smiles, proteins)

"""Scores that a function or a model gives."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from rdkit import Chem

from headway.core.errors import UserError
from headway.molecules.scoring.base import Scorer
from headway.molecules.scoring.transforms import Transform


@runtime_checkable
class Predictor(Protocol):
    """What predicts a number for each molecule, such as a property model."""

    def predict(self, smiles: Sequence[str]) -> Sequence[float]:
        """Returns one number for each SMILES."""
        ...


class Predicted(Scorer):
    """Scores what a property model predicts.

    Args:
        model: What predicts, or the run folder, folder or hub id that it lies in.
        transform: Makes a score of the prediction; it is one already if None.

    Raises:
        UserError: If what lies there predicts nothing of molecules.
    """

    def __init__(self, *, model: Predictor | str, transform: Transform | None = None) -> None:
        super().__init__(transform)
        self.predictor = _opened(model) if isinstance(model, str) else model

    def numbers(self, molecules: Sequence[Chem.Mol]) -> Sequence[float]:
        """Returns the prediction for each."""
        smiles = [Chem.MolToSmiles(one) for one in molecules]
        return one_each(self.predictor.predict(smiles), len(smiles), "predict")


class Function(Scorer):
    """Scores what a function of yours says of canonical SMILES; not to be saved.

    Args:
        function: Is given a list of SMILES, and returns a number for each.
        transform: Makes a score of the number; it is one already if None.
    """

    def __init__(
        self,
        function: Callable[[Sequence[str]], Sequence[float]],
        *,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(transform)
        self.function = function

    def numbers(self, molecules: Sequence[Chem.Mol]) -> Sequence[float]:
        """Returns what the function says of each."""
        smiles = [Chem.MolToSmiles(one) for one in molecules]
        return one_each(self.function(smiles), len(smiles), "the function")


def one_each(numbers: Sequence[float], count: int, who: str) -> Sequence[float]:
    """Returns numbers as they are.

    Raises:
        UserError: If there are others than ``count``.
    """
    if len(numbers) != count:
        raise UserError(f"{who} returned {len(numbers)} numbers for {count} molecules")
    return numbers


def _opened(source: str) -> Predictor:
    from headway.core.weights import from_pretrained
    from headway.molecules import models
    from headway.molecules.reading import Member

    found = from_pretrained(source)
    if isinstance(found, models.Predictor):
        return Member.of(found.eval(), source)
    if not isinstance(found, Predictor):
        raise UserError(
            f"{source} holds a {type(found).__name__}, which predicts nothing of molecules"
        )
    return found.eval() if hasattr(found, "eval") else found  # pyright: ignore

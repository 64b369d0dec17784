"""Scores that a function or a model gives."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from rdkit import Chem

from headway.core.errors import UserError
from headway.molecules.scoring.base import Scorer
from headway.molecules.scoring.transforms import Transform

_log = logging.getLogger(__name__)


@runtime_checkable
class Predictor(Protocol):
    """What predicts a number for each molecule, such as a property model."""

    def predict(self, smiles: Sequence[str]) -> Sequence[float]:
        """Returns one number for each SMILES, NaN for what it cannot read."""
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
        self._warned = False

    def numbers(self, molecules: Sequence[Chem.Mol]) -> Sequence[float]:
        """Returns the prediction for each."""
        smiles = [Chem.MolToSmiles(one) for one in molecules]
        found = one_each(self.predictor.predict(smiles), len(smiles), "predict")
        unread = [text for text, number in zip(smiles, found, strict=True) if math.isnan(number)]
        if unread and not self._warned:
            self._warned = True
            _log.warning(
                "the model cannot read %s, which scores 0, as all that it cannot read does",
                unread[0],
            )
        return found


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
        """Returns what the function says of each.

        Raises:
            UserError: If there is not one number for each.
        """
        smiles = [Chem.MolToSmiles(one) for one in molecules]
        found = one_each(self.function(smiles), len(smiles), "the function")
        for text, number in zip(smiles, found, strict=True):
            if math.isnan(number):
                raise UserError(f"the function says nan of {text}; give 0 to what is not known")
        return found


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

"""Scores of what a molecule contains."""

from collections.abc import Sequence

from rdkit import Chem

from headway.molecules.chemistry import substructure
from headway.molecules.metrics.moses.filters import passes
from headway.molecules.scoring.base import Scorer
from headway.molecules.shipped import moses_folder


class Contains(Scorer):
    """1 where a molecule has a substructure, 0 elsewhere.

    Args:
        smarts: The substructure.
        forbidden: Whether it must not be there: 1 and 0 are exchanged.

    Raises:
        UserError: If RDKit cannot read the SMARTS.
    """

    def __init__(self, *, smarts: str, forbidden: bool = False) -> None:
        super().__init__()
        self.pattern = substructure(smarts)
        self.forbidden = forbidden

    def numbers(self, molecules: Sequence[Chem.Mol]) -> list[float]:
        """Returns 1 or 0 for each."""
        return [float(one.HasSubstructMatch(self.pattern) != self.forbidden) for one in molecules]


class NoAlerts(Scorer):
    """1 where a molecule passes the filters of MOSES, 0 elsewhere.

    They look for structural alerts (MCF, PAINS), charges, rings of more than seven atoms and rare elements.

    Raises:
        UserError: If the package of MOSES, which lists the alerts, is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        moses_folder()

    def numbers(self, molecules: Sequence[Chem.Mol]) -> list[float]:
        """Returns 1 or 0 for each."""
        return [float(passes(one)) for one in molecules]

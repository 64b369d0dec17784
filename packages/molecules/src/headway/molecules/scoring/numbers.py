"""Scores of what RDKit computes of a molecule."""

from collections.abc import Callable, Sequence

from rdkit import Chem
from rdkit.Chem import GraphDescriptors, rdMolDescriptors

from headway.core.errors import UserError
from headway.molecules.properties import PROPERTIES
from headway.molecules.scoring.base import Scorer
from headway.molecules.scoring.transforms import Transform


def bertz(found: Chem.Mol) -> float:
    """Returns the complexity index of Bertz."""
    return GraphDescriptors.BertzCT(found)  # pyright: ignore[reportAttributeAccessIssue]


DESCRIPTORS: dict[str, Callable[[Chem.Mol], float]] = {
    **PROPERTIES,
    "aromatic_rings": rdMolDescriptors.CalcNumAromaticRings,
    "bertz": bertz,
    "heavy_atoms": rdMolDescriptors.CalcNumHeavyAtoms,
    "hetero_atoms": rdMolDescriptors.CalcNumHeteroatoms,
    "hydrogen_acceptors": rdMolDescriptors.CalcNumHBA,
    "hydrogen_donors": rdMolDescriptors.CalcNumHBD,
    "rings": rdMolDescriptors.CalcNumRings,
    "rotatable_bonds": rdMolDescriptors.CalcNumRotatableBonds,
    "stereo_centres": rdMolDescriptors.CalcNumAtomStereoCenters,
}


class Property(Scorer):
    """Scores a property by name: QED, logP, SA, weight, TPSA, rings, hetero atoms and other counts.

    Args:
        name: One of ``DESCRIPTORS``.
        transform: Makes a score of it; only QED is one by itself.

    Raises:
        UserError: If there is no such property, or it needs a transform.
    """

    def __init__(self, *, name: str, transform: Transform | None = None) -> None:
        super().__init__(transform)
        if name not in DESCRIPTORS:
            raise UserError(f"there is no property {name!r}; known: {', '.join(DESCRIPTORS)}")
        if transform is None and name != "QED":
            raise UserError(f"{name} is no score from 0 to 1; give it a transform")
        self.name = name

    def numbers(self, molecules: Sequence[Chem.Mol]) -> list[float]:
        """Returns the property of each."""
        compute = DESCRIPTORS[self.name]
        return [compute(one) for one in molecules]


class AtomCount(Scorer):
    """Scores the number of atoms of an element, hydrogen included.

    Args:
        element: Its symbol.
        transform: Makes a score of the number.

    Raises:
        UserError: If there is no such element.
    """

    def __init__(self, *, element: str, transform: Transform) -> None:
        super().__init__(transform)
        check_element(element)
        self.element = element

    def numbers(self, molecules: Sequence[Chem.Mol]) -> list[float]:
        """Returns how many atoms each has."""
        return [float(element_counts(one).get(self.element, 0)) for one in molecules]


def element_counts(found: Chem.Mol) -> dict[str, int]:
    """Returns how many atoms of each element a molecule has; hydrogens that are not written count."""
    counts: dict[str, int] = {}
    for atom in found.GetAtoms():
        counts[atom.GetSymbol()] = counts.get(atom.GetSymbol(), 0) + 1
        counts["H"] = counts.get("H", 0) + atom.GetTotalNumHs()
    return counts


def check_element(symbol: str) -> None:
    """Raises if there is no such element."""
    table = Chem.GetPeriodicTable()
    try:
        table.GetAtomicNumber(symbol)
    except RuntimeError:
        raise UserError(f"there is no element {symbol!r}; give a symbol such as F or Cl") from None

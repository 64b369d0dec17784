"""What a graph says of an atom and of a bond: the features of the Open Graph Benchmark."""

from rdkit import Chem

ATOM_FEATURES, BOND_FEATURES = 9, 3

_CHIRALITY = ("CHI_UNSPECIFIED", "CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW", "CHI_OTHER")
_HYBRIDISATION = ("SP", "SP2", "SP3", "SP3D", "SP3D2")
_BOND = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_STEREO = ("STEREONONE", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS", "STEREOANY")


def atom_features(atom: Chem.Atom) -> list[int]:
    """Returns the place of each of nine properties in its list; what is not there stands behind the last.

    They are: element, chirality, neighbours, charge, hydrogens, unpaired electrons, hybridisation, whether it
    is aromatic, whether it is in a ring.

    Args:
        atom: The atom.

    Source:
        Hu et al. 2020, https://arxiv.org/abs/2005.00687 (ogb.utils.features).
    """
    element = atom.GetAtomicNum()
    return [
        element - 1 if 1 <= element <= 118 else 118,
        _place(str(atom.GetChiralTag()), _CHIRALITY),
        min(atom.GetTotalDegree(), 11),
        _within(atom.GetFormalCharge(), -5, 5),
        _within(atom.GetTotalNumHs(), 0, 8),
        _within(atom.GetNumRadicalElectrons(), 0, 4),
        _place(str(atom.GetHybridization()), _HYBRIDISATION),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
    ]


def bond_features(bond: Chem.Bond) -> list[int]:
    """Returns the place of kind, stereochemistry and conjugation in their lists.

    Args:
        bond: The bond.
    """
    return [
        _place(str(bond.GetBondType()), _BOND),
        _place(str(bond.GetStereo()), _STEREO),
        int(bond.GetIsConjugated()),
    ]


def _place(value: str, known: tuple[str, ...]) -> int:
    return known.index(value) if value in known else len(known)


def _within(value: int, least: int, most: int) -> int:
    """Counted from the least; what is outside stands behind the last."""
    return value - least if least <= value <= most else most - least + 1

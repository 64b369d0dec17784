"""Which molecules MOSES would have let into its own data."""

from functools import cache
from pathlib import Path

from rdkit import Chem

from headway.core.errors import UserError
from headway.core.reading import read_table
from headway.molecules.shipped import moses_folder

ATOMS = frozenset({"C", "N", "S", "O", "F", "Cl", "Br", "H"})
# Atoms of a ring, at most.
LARGEST_RING = 7


def passes(found: Chem.Mol) -> bool:
    """Whether a molecule has no charge, only common atoms, rings of at most 7, and no structural alert.

    The alerts are the medicinal chemistry filters (MCF) and PAINS, as the package of MOSES lists them.

    Raises:
        UserError: If that package is not installed.

    Source:
        Polykovskiy et al. 2018, https://arxiv.org/abs/1811.12823, section 3.1, and their code.
    """
    if any(len(ring) > LARGEST_RING for ring in found.GetRingInfo().AtomRings()):
        return False
    if any(atom.GetFormalCharge() or atom.GetSymbol() not in ATOMS for atom in found.GetAtoms()):
        return False
    with_hydrogens = Chem.AddHs(found)
    return not any(with_hydrogens.HasSubstructMatch(alert) for alert in _alerts())


@cache
def _alerts() -> list[Chem.Mol]:
    folder = moses_folder() / "metrics"
    patterns = [row["smarts"] for _, row in read_table(folder / "mcf.csv")]
    patterns += _without_header(folder / "wehi_pains.csv")
    alerts = [Chem.MolFromSmarts(pattern.strip()) for pattern in patterns]
    if not alerts or any(alert is None for alert in alerts):
        raise UserError(f"{folder} holds patterns that RDKit cannot read; install molsets again")
    return alerts


def _without_header(path: Path) -> list[str]:
    """Returns the first column of a table whose first row is a row as all others."""
    rows = list(read_table(path))
    first = next(iter(rows[0][1]))
    return [first, *(row[first] for _, row in rows)]

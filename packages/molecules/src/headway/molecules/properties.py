"""Numbers that say what a molecule is like, as RDKit computes them."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

from rdkit import Chem, RDConfig
from rdkit.Chem import Crippen, Descriptors, rdMolDescriptors
from rdkit.Chem.QED import qed

from headway.core.errors import UserError


def logp(found: Chem.Mol) -> float:
    """Returns how much better it solves in octanol than in water, on a logarithmic scale (Crippen)."""
    return Crippen.MolLogP(found)  # pyright: ignore[reportAttributeAccessIssue]


def synthetic_accessibility(found: Chem.Mol) -> float:
    """Returns how hard it is to make, from 1 (easy) to 10.

    Source:
        Ertl and Schuffenhauer 2009, https://doi.org/10.1186/1758-2946-1-8; RDKit brings their scores along.
    """
    return _sascorer().calculateScore(found)


def drug_likeness(found: Chem.Mol) -> float:
    """Returns QED, from 0 to 1.

    Source:
        Bickerton et al. 2012, https://doi.org/10.1038/nchem.1243.
    """
    return qed(found)


def weight(found: Chem.Mol) -> float:
    """Returns the molecular weight in Dalton."""
    return Descriptors.MolWt(found)  # pyright: ignore[reportAttributeAccessIssue]


def polar_surface(found: Chem.Mol) -> float:
    """Returns the topological polar surface area in square Angstrom."""
    return rdMolDescriptors.CalcTPSA(found)


Property = Callable[[Chem.Mol], float]

PROPERTIES: dict[str, Property] = {
    "logP": logp,
    "SA": synthetic_accessibility,
    "QED": drug_likeness,
    "weight": weight,
    "TPSA": polar_surface,
}


@cache
def _sascorer() -> ModuleType:
    """Loads the script that RDKit ships beside its library."""
    file = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("headway_sascorer", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise UserError(f"this RDKit lacks {file}; pip install rdkit brings it")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made

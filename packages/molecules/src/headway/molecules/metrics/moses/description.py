"""What the metrics need to know of each molecule, found in one pass, by several processes if asked."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors, rdmolops
from rdkit.Chem.Scaffolds import MurckoScaffold

from headway.molecules.chemistry import molecule
from headway.molecules.metrics.moses.filters import passes
from headway.molecules.parallel import in_chunks
from headway.molecules.properties import PROPERTIES
from headway.molecules.shipped import has_moses

RADIUS, BITS = 2, 1024
# A scaffold counts if it has at least so many rings.
RINGS = 2
# Their distributions are compared.
COMPARED = ("logP", "SA", "QED", "weight")


class Description(NamedTuple):
    """A molecule as the metrics see it.

    Args:
        smiles: Its canonical SMILES.
        properties: logP, SA, QED and weight.
        fragments: SMILES of what is left where BRICS cuts it.
        scaffold: SMILES of its Murcko scaffold; None if that has fewer than two rings.
        fingerprint: Morgan fingerprint of radius 2, 1,024 bits packed into bytes.
        passes: Whether it passes the filters of MOSES; None where ``molsets``, which lists them, is not
            installed.
    """

    smiles: str
    properties: tuple[float, ...]
    fragments: tuple[str, ...]
    scaffold: str | None
    fingerprint: bytes
    passes: bool | None


def describe(
    smiles: Sequence[str],
    *,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Description | None]:
    """Describes molecules; None for what RDKit cannot read.

    Args:
        smiles: The molecules.
        workers: Processes that share the work; 0 does it here.
        progress: Is told how many have been described.
    """
    return list(in_chunks(_some, smiles, workers=workers, progress=progress))


def _some(smiles: Sequence[str]) -> list[Description | None]:
    return [_described(text) for text in smiles]


def _described(smiles: str) -> Description | None:
    # Written canonically first, as MOSES does: what follows may depend on the order of atoms.
    read = molecule(smiles)
    text = None if read is None else Chem.MolToSmiles(read)
    found = None if text is None else molecule(text)
    if text is None or found is None:
        return None
    return Description(
        smiles=text,
        properties=tuple(PROPERTIES[name](found) for name in COMPARED),
        fragments=fragments(found),
        scaffold=scaffold(found),
        fingerprint=fingerprint(found),
        passes=passes(found) if has_moses() else None,
    )


def fingerprint(found: Chem.Mol) -> bytes:
    """Returns the packed Morgan fingerprint of a molecule."""
    bits = _MORGAN.GetFingerprintAsNumPy(found)
    return np.packbits(bits).tobytes()


_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


def unpacked(fingerprints: Sequence[bytes]) -> NDArray[np.uint8]:
    """Returns packed fingerprints as rows of 0 and 1, (N, 1024)."""
    rows = np.frombuffer(b"".join(fingerprints), np.uint8).reshape(-1, BITS // 8)
    return np.unpackbits(rows, axis=1)


def fragments(found: Chem.Mol) -> tuple[str, ...]:
    """Returns the SMILES of the pieces into which BRICS cuts a molecule.

    Source:
        Degen et al. 2008, https://doi.org/10.1002/cmdc.200800178.
    """
    cut = rdmolops.FragmentOnBRICSBonds(found)
    return tuple(Chem.MolToSmiles(cut).split("."))


def scaffold(found: Chem.Mol) -> str | None:
    """Returns the SMILES of the Murcko scaffold; None if it has fewer than two rings.

    Source:
        Bemis and Murcko 1996, https://doi.org/10.1021/jm9602928.
    """
    core = MurckoScaffold.GetScaffoldForMol(found)
    if rdMolDescriptors.CalcNumRings(core) < RINGS:
        return None
    return Chem.MolToSmiles(core) or None

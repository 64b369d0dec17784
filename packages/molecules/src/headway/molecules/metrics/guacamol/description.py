"""What GuacaMol's metrics need to know of each molecule."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import Descriptors, rdFingerprintGenerator

from headway.molecules.chemistry import checked, molecule
from headway.molecules.parallel import in_chunks

CONTINUOUS = ("BertzCT", "MolLogP", "MolWt", "TPSA")
COUNTED = (
    "NumHAcceptors",
    "NumHDonors",
    "NumRotatableBonds",
    "NumAliphaticRings",
    "NumAromaticRings",
)
RADIUS, BITS = 2, 4096


class Written(NamedTuple):
    """A molecule, written in two ways.

    Args:
        smiles: Its canonical SMILES.
        flat: The same without stereochemistry.
    """

    smiles: str
    flat: str


class Profile(NamedTuple):
    """What molecules are like.

    Args:
        descriptors: ``CONTINUOUS`` and ``COUNTED``, (N, 9).
        fingerprints: Morgan fingerprints, bits, (N, 4096).
    """

    descriptors: NDArray[np.float64]
    fingerprints: NDArray[np.uint8]


def written(
    smiles: Sequence[str],
    *,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Written | None]:
    """Returns how molecules are written; None for what RDKit cannot read, or has no atoms.

    Args:
        smiles: The molecules.
        workers: Processes that share the work; 0 does it here.
        progress: Is told how many are done.
    """
    return list(in_chunks(_written, smiles, workers=workers, progress=progress))


def profile(
    flat: Sequence[str],
    *,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Profile:
    """Returns what molecules are like, of which stereochemistry is not known.

    Args:
        flat: The molecules.
        workers: Processes that share the work; 0 does it here.
        progress: Is told how many are done.
    """
    found = list(in_chunks(_described, flat, workers=workers, progress=progress))
    bits = np.frombuffer(b"".join(packed for _, packed in found), np.uint8)
    return Profile(
        np.array([numbers for numbers, _ in found]).reshape(-1, len(CONTINUOUS) + len(COUNTED)),
        np.unpackbits(bits.reshape(-1, BITS // 8), axis=1),
    )


def _written(smiles: Sequence[str]) -> list[Written | None]:
    return [None if (one := molecule(text)) is None else _both(one) for text in smiles]


def _both(found: Chem.Mol) -> Written:
    return Written(Chem.MolToSmiles(found), Chem.MolToSmiles(found, isomericSmiles=False))


def _described(flat: Sequence[str]) -> list[tuple[list[float], bytes]]:
    return [_one(checked(text, "molecule")) for text in flat]


def _one(found: Chem.Mol) -> tuple[list[float], bytes]:
    known = _descriptors()
    numbers = [float(known[name](found)) for name in (*CONTINUOUS, *COUNTED)]
    finite = [number if np.isfinite(number) else 0.0 for number in numbers]
    return finite, np.packbits(_MORGAN.GetFingerprintAsNumPy(found)).tobytes()


_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


@cache
def _descriptors() -> dict[str, Callable[[Chem.Mol], float]]:
    return dict(Descriptors.descList)  # pyright: ignore[reportAttributeAccessIssue]

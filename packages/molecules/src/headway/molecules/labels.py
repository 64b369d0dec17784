"""Properties of many molecules, computed once and kept in a file."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import rdkit
from numpy.typing import NDArray

from headway.core.files import atomic_write
from headway.molecules.chemistry import molecule
from headway.molecules.parallel import in_chunks
from headway.molecules.properties import PROPERTIES


def labels(
    smiles: Sequence[str],
    names: Sequence[str],
    *,
    workers: int = 0,
    folder: Path | None = None,
) -> NDArray[np.float64]:
    """Returns properties of molecules, (N, P); nan for what RDKit cannot read.

    Args:
        smiles: The molecules.
        names: Of ``PROPERTIES``.
        workers: Processes that share the work; 0 does it here.
        folder: Where the answer is kept for the next time, for these molecules, names and this RDKit; it is
            not if None.
    """
    if not names or not smiles:
        return np.full((len(smiles), len(names)), np.nan)
    file = None if folder is None else folder / f"labels-{_key(smiles, names)}.npy"
    if file is not None and file.is_file():
        kept = np.load(file, allow_pickle=False)
        if kept.shape == (len(smiles), len(names)):
            return kept
    some = partial(_some, names=tuple(names))
    found = np.array(list(in_chunks(some, smiles, workers=workers)), dtype=np.float64)
    if file is not None:
        with atomic_write(file) as opened:
            np.save(opened, found)
    return found


def _some(smiles: Sequence[str], names: tuple[str, ...]) -> list[list[float]]:
    read = [molecule(text) for text in smiles]
    return [
        [np.nan if found is None else PROPERTIES[name](found) for name in names] for found in read
    ]


def _key(smiles: Sequence[str], names: Sequence[str]) -> str:
    said = "\n".join([rdkit.__version__, *names, "", *smiles])
    return hashlib.sha256(said.encode()).hexdigest()[:16]

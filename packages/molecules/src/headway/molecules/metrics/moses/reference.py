"""The molecules that generated ones are compared with."""

import hashlib
import pickle
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError, one_line
from headway.core.unpickling import ArraysOnly
from headway.molecules.metrics.moses.chemnet import Moments, chemnet_moments
from headway.molecules.metrics.moses.description import COMPARED, Description, unpacked
from headway.molecules.shipped import moses_folder

Split = Literal["test", "test_scaffolds"]
# Of molsets 0.3.1: what is in these files is known, and other files are not opened.
HASHES: dict[str, str] = {
    "test": "ded25073225a895d4ed17bf1d4223d27560e87ff4cb85786346ca1cc8efa03d3",
    "test_scaffolds": "7b7aba6c1474634a019bebf16f389d554cb9dd1021dfc8c1d1e54430a9f0e7f8",
}


class Reference(NamedTuple):
    """What the metrics need to know of a set of molecules.

    Args:
        chemnet: Moments of ChemNet's features; None leaves FCD out.
        fingerprints: Bits, (N, 1024).
        fragments: How often each fragment occurs.
        scaffolds: How often each scaffold occurs.
        properties: logP, SA, QED and weight of each molecule, (N,) each.
    """

    chemnet: Moments | None
    fingerprints: NDArray[np.uint8]
    fragments: Mapping[str, int]
    scaffolds: Mapping[str, int]
    properties: Mapping[str, NDArray[np.float64]]


def reference_of(
    described: Sequence[Description], *, chemnet: bool = True, device: str = "cpu"
) -> Reference:
    """Returns what the metrics need to know of molecules.

    Args:
        described: The valid ones.
        chemnet: Whether FCD is wanted.
        device: Where ChemNet computes.
    """
    if not described:
        raise UserError("there is no valid molecule to compare with")
    columns = np.array([one.properties for one in described])
    return Reference(
        chemnet=chemnet_moments([one.smiles for one in described], device=device)
        if chemnet
        else None,
        fingerprints=unpacked([one.fingerprint for one in described]),
        fragments=Counter(piece for one in described for piece in one.fragments),
        scaffolds=Counter(one.scaffold for one in described if one.scaffold is not None),
        properties=dict(zip(COMPARED, columns.T, strict=True)),
    )


def moses_reference(split: Split = "test") -> Reference:
    """Returns the statistics that the package of MOSES holds of a split; it is read, not imported.

    Args:
        split: ``test``, or ``test_scaffolds`` whose scaffolds are not in the training set.

    Raises:
        UserError: If ``molsets`` is not installed, or its file is another than that of version 0.3.1.
    """
    if split not in HASHES:
        raise UserError(f"split is {split!r}; there are statistics of {', '.join(HASHES)}")
    path = moses_folder() / "dataset" / "data" / f"{split}_stats.npz"
    if not path.is_file():
        raise UserError(f"there is no {path}; pip install --no-deps molsets==0.3.1")
    if hashlib.sha256(path.read_bytes()).hexdigest() != HASHES[split]:
        raise InputError(
            str(path), "is not the file of molsets 0.3.1; pip install --no-deps molsets==0.3.1"
        )
    held = _load(str(path))
    return Reference(
        chemnet=Moments(held["FCD"]["mu"], held["FCD"]["sigma"]),
        fingerprints=held["SNN"]["fps"].astype(np.uint8),
        fragments=held["Frag"]["frag"],
        scaffolds=held["Scaf"]["scaf"],
        properties={name: np.asarray(held[name]["values"], np.float64) for name in COMPARED},
    )


def _load(path: str) -> dict[str, Any]:
    """Reads the one object of the file; nothing that it names is imported."""
    try:
        with zipfile.ZipFile(path) as packed, packed.open("stats.npy") as file:
            npy.read_magic(file)
            npy.read_array_header_1_0(file)
            held = ArraysOnly(
                file, also={("collections", "Counter"): Counter}, encoding="latin1"
            ).load()
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise InputError(path, f"cannot be read ({one_line(error)[:160]})") from None
    # Numpy pickles an array of one object as a nested one.
    return held.item() if isinstance(held, np.ndarray) else held

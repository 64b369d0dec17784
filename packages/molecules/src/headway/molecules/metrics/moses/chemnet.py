"""The distance between what ChemNet sees in two sets of molecules."""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from headway.core.errors import UserError


class Moments(NamedTuple):
    """Mean (512,) and covariance (512, 512) of the features of ChemNet."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def chemnet_moments(smiles: Sequence[str], *, device: str = "cpu") -> Moments:
    """Returns mean and covariance of what ChemNet sees in molecules.

    Args:
        smiles: Canonical SMILES of at least two molecules.
        device: Where it is computed.

    Raises:
        UserError: If ``fcd_torch`` is not installed, or there are too few molecules.

    Source:
        Preuer et al. 2018, https://arxiv.org/abs/1803.09518; the network by fcd_torch (MIT).
    """
    if len(smiles) < 2:
        raise UserError(f"there are {len(smiles)} valid molecules; FCD needs at least 2")
    with warnings.catch_warnings():
        # Names that numpy gives up.
        warnings.simplefilter("ignore")
        features = _network(device).get_predictions(list(smiles)).astype(np.float64)
    return Moments(features.mean(axis=0), np.cov(features.T))


def frechet_distance(one: Moments, other: Moments) -> float:
    """Returns the Frechet distance of two Gaussians (FCD), squared as everybody reports it.

    Source:
        Dowson and Landau 1982, https://doi.org/10.1016/0047-259X(82)90077-X.
    """
    difference = one.mean - other.mean
    root: Any = linalg.sqrtm(one.covariance @ other.covariance)
    if not np.isfinite(root).all():
        shift = np.eye(len(difference)) * 1e-6
        root = linalg.sqrtm((one.covariance + shift) @ (other.covariance + shift))
    traces = np.trace(one.covariance) + np.trace(other.covariance) - 2 * np.trace(root.real)
    return float(difference @ difference + traces)


@cache
def _network(device: str) -> Any:
    try:
        from fcd_torch import FCD
    except ImportError:
        raise UserError(
            "FCD needs a package that is not installed: pip install fcd_torch"
        ) from None
    return FCD(device=device, canonize=False)

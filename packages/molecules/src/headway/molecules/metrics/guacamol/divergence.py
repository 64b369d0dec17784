"""How far the descriptors of two sets of molecules diverge."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import entropy, gaussian_kde

from headway.core.errors import UserError
from headway.molecules.metrics.guacamol.description import CONTINUOUS, COUNTED, Profile

Values = NDArray[np.float64]
# So that nothing is divided by 0.
FLOOR = 1e-10
POINTS, BINS = 1000, 10
# Molecules at a time.
BLOCK = 2048


def divergences(reference: Profile, found: Profile, *, device: str = "cpu") -> dict[str, float]:
    """Returns the Kullback-Leibler divergence of each descriptor, and of the similarity within a set.

    Args:
        reference: Of the training set.
        found: Of what was generated.
        device: Where fingerprints are compared.

    Raises:
        UserError: If a descriptor is the same for all molecules of a set, so that nothing is distributed.
    """
    said: dict[str, float] = {}
    for place, name in enumerate((*CONTINUOUS, *COUNTED)):
        one, other = reference.descriptors[:, place], found.descriptors[:, place]
        compare = continuous_divergence if name in CONTINUOUS else counted_divergence
        said[name] = compare(one, other, name)
    nearest = [nearest_others(one.fingerprints, device=device) for one in (reference, found)]
    similarity = continuous_divergence(nearest[0], nearest[1], "internal_similarity")
    return said | {"internal_similarity": similarity}


def continuous_divergence(reference: Values, found: Values, name: str) -> float:
    """Returns the divergence of two smoothed densities, at 1,000 points over the range of both.

    Args:
        reference: What is compared with, (N,).
        found: What is compared, (M,).
        name: Of the descriptor, for the message.
    """
    if min(np.ptp(reference), np.ptp(found)) == 0:
        raise UserError(
            f"{name} is the same for all molecules of a set, so it has no distribution; give more molecules"
        )
    both = np.hstack([reference, found])
    at = np.linspace(both.min(), both.max(), num=POINTS)
    return float(entropy(gaussian_kde(reference)(at) + FLOOR, gaussian_kde(found)(at) + FLOOR))


def counted_divergence(reference: Values, found: Values, name: str) -> float:
    """Returns the divergence of two histograms, in ten bins over the range of the reference.

    Args:
        reference: What is compared with, (N,).
        found: What is compared, (M,); what is out of the bins does not count.
        name: Of the descriptor, for the message.
    """
    shares, edges = np.histogram(reference, bins=BINS, density=True)
    inside = (found >= edges[0]) & (found <= edges[-1])
    if not inside.any():
        raise UserError(f"no generated molecule has a {name} as the training set has it")
    others, _ = np.histogram(found, bins=edges, density=True)
    return float(entropy(shares + FLOOR, others + FLOOR))


def nearest_others(bits: NDArray[np.uint8], *, device: str = "cpu") -> Values:
    """Returns the similarity (Tanimoto) of each molecule to the nearest other one, (N,).

    Args:
        bits: Fingerprints, (N, bits).
        device: Where it is computed.
    """
    everything = torch.from_numpy(bits).to(device).float()
    counts = everything.sum(dim=1, dtype=torch.float64)
    nearest = []
    for first in range(0, len(bits), BLOCK):
        # Numbers of common bits are exact in float32; shares are not.
        common = (everything[first : first + BLOCK] @ everything.T).double()
        either = counts[first : first + BLOCK, None] + counts - common
        alike = torch.where(either > 0, common / either, 1.0)
        rows = torch.arange(len(alike), device=device)
        alike[rows, first + rows] = 0.0
        nearest.append(alike.amax(dim=1))
    return torch.cat(nearest).cpu().numpy()

"""How alike sets of molecules are."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Molecules of either side at a time.
BLOCK = 4096


def nearest_similarity(
    reference: NDArray[np.uint8],
    found: NDArray[np.uint8],
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> float:
    """Returns SNN: the mean similarity (Tanimoto) of each molecule to the nearest one of a reference.

    Args:
        reference: Bits, (N, bits).
        found: Bits, (M, bits).
        device: Where it is computed.
        progress: Is told how many of ``found`` have been compared.
    """
    nearest = []
    for some in _blocks(found, device):
        best = torch.zeros(len(some), device=device)
        for others in _blocks(reference, device):
            best = torch.maximum(best, tanimoto(some, others).amax(dim=1))
        nearest.append(best.double())
        if progress is not None:
            progress(len(some))
    return float(torch.cat(nearest).mean())


def internal_diversity(
    found: NDArray[np.uint8],
    *,
    powers: tuple[int, ...] = (1, 2),
    device: torch.device | str = "cpu",
) -> list[float]:
    """Returns for each power p: 1 less the mean over molecules of ``(mean of similarity ** p) ** (1 / p)``.

    Args:
        found: Bits, (M, bits).
        powers: The powers; of MOSES' IntDiv and IntDiv2 if not given.
        device: Where it is computed.
    """
    totals = {power: [] for power in powers}
    for some in _blocks(found, device):
        sums = {
            power: torch.zeros(len(some), dtype=torch.float64, device=device) for power in powers
        }
        for others in _blocks(found, device):
            alike = tanimoto(some, others)
            for power in powers:
                sums[power] += alike.pow(power).sum(dim=1, dtype=torch.float64)
        for power in powers:
            totals[power].append((sums[power] / len(found)).pow(1 / power))
    return [1 - float(torch.cat(totals[power]).mean()) for power in powers]


def tanimoto(some: Tensor, others: Tensor) -> Tensor:
    """Returns the share of common bits among all bits of each pair; 1 where neither has any.

    Shape:
        some: (M, bits) of 0 and 1. others: (N, bits). Output: (M, N).
    """
    common = some @ others.T
    either = some.sum(dim=1, keepdim=True) + others.sum(dim=1) - common
    return torch.where(either > 0, common / either, 1.0)


def cosine(reference: Mapping[str, int], found: Mapping[str, int]) -> float:
    """Returns the cosine of two counts; NaN if one is empty."""
    if not reference or not found:
        return math.nan
    common = sum(count * reference.get(key, 0) for key, count in found.items())
    lengths = [math.sqrt(sum(one * one for one in x.values())) for x in (reference, found)]
    return common / (lengths[0] * lengths[1])


def _blocks(bits: NDArray[np.uint8], device: torch.device | str):
    for first in range(0, len(bits), BLOCK):
        yield torch.from_numpy(bits[first : first + BLOCK]).to(device).float()

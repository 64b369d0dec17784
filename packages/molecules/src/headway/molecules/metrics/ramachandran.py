"""How near generated backbones are to real ones, by the angles of their residues."""

import math

import torch
from torch import Tensor

BINS = 36


def ramachandran_distance(made: Tensor, real: Tensor) -> float:
    """Returns how much two maps of phi and psi differ: 0 for the same, 1 if they share no cell.

    Args:
        made: Angles of generated residues.
        real: Angles of real ones.

    Shape:
        made, real: (N, 2 or more), phi and psi in front, in radians.
    """
    return float((_map(made) - _map(real)).abs().sum()) / 2


def _map(angles: Tensor) -> Tensor:
    cells = ((angles[:, :2] + math.pi) / (2 * math.pi) * BINS).long().clamp(0, BINS - 1)
    counts = torch.bincount((cells[:, 0] * BINS + cells[:, 1]).cpu(), minlength=BINS**2)
    return counts.double() / max(1, len(angles))

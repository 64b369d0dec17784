"""The six angles of each residue that a backbone can be built from."""

import math

import torch
from torch import Tensor

ANGLES = ("phi", "psi", "omega", "N-CA-C", "CA-C-N", "C-N-CA")
"""Three torsions and three angles between bonds; psi, omega and the last two lead to the next residue."""


def wrapped(angles: Tensor) -> Tensor:
    """Returns angles between -pi and pi."""
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi


def angles_of(backbone: Tensor) -> Tensor:
    """Returns the angles of each residue, in radians; what an end of the chain lacks is 0.

    Args:
        backbone: Places of N, CA and C.

    Shape:
        backbone: (N, 3, 3), residues, atoms, axes. Output: (N, 6), in the order of ``ANGLES``.

    Source:
        Wu et al. 2022, https://arxiv.org/abs/2209.15611, table 1.
    """
    n, ca, c = backbone.unbind(dim=1)
    found = backbone.new_zeros(len(backbone), len(ANGLES))
    found[1:, 0] = torsion(c[:-1], n[1:], ca[1:], c[1:])
    found[:-1, 1] = torsion(n[:-1], ca[:-1], c[:-1], n[1:])
    found[:-1, 2] = torsion(ca[:-1], c[:-1], n[1:], ca[1:])
    found[:, 3] = angle(n, ca, c)
    found[:-1, 4] = angle(ca[:-1], c[:-1], n[1:])
    found[:-1, 5] = angle(c[:-1], n[1:], ca[1:])
    return found


def angle(first: Tensor, middle: Tensor, last: Tensor) -> Tensor:
    """Returns the angle at the middle one of three atoms, (...)."""
    one, other = first - middle, last - middle
    across = torch.linalg.cross(one, other).norm(dim=-1)
    return torch.atan2(across, (one * other).sum(dim=-1))


def torsion(first: Tensor, second: Tensor, third: Tensor, fourth: Tensor) -> Tensor:
    """Returns the torsion about the bond between the second and the third of four atoms, (...)."""
    before, along, behind = second - first, third - second, fourth - third
    left, right = torch.linalg.cross(before, along), torch.linalg.cross(along, behind)
    across = (torch.linalg.cross(left, right) * along).sum(dim=-1) / along.norm(dim=-1)
    return torch.atan2(across, (left * right).sum(dim=-1))

"""Places of the atoms of a backbone, one after the other, from its angles."""

import math

import torch
from torch import Tensor

# Lengths of the bonds N-CA, CA-C and C-N in angstrom, as FoldingDiff has them.
N_CA, CA_C, C_N = 1.46, 1.54, 1.34


def coordinates_of(angles: Tensor) -> Tensor:
    """Returns the places of N, CA and C, the first N at the origin.

    Torsions and angles at the ends that ``angles_of`` sets to 0 are not read.

    Args:
        angles: Of each residue, in radians.

    Shape:
        angles: (..., N, 6), in the order of ``ANGLES``. Output: (..., N, 3, 3) in angstrom.

    Source:
        Parsons et al. 2005, https://doi.org/10.1002/jcc.20237 (natural extension reference frame); Wu et al.
        2022, https://arxiv.org/abs/2209.15611, section 2.1.
    """
    phi, psi, omega, at_ca, at_c, at_n = angles.unbind(dim=-1)
    first = torch.zeros((*angles.shape[:-2], 3), dtype=angles.dtype, device=angles.device)
    second = first.clone()
    second[..., 0] = N_CA
    opening = math.pi - at_ca[..., 0]
    ahead = torch.stack([opening.cos(), opening.sin(), torch.zeros_like(opening)], dim=-1)
    atoms = [first, second, second + CA_C * ahead]
    for place in range(1, angles.shape[-2]):
        before = place - 1
        for length, bend, turn in (
            (C_N, at_c[..., before], psi[..., before]),
            (N_CA, at_n[..., before], omega[..., before]),
            (CA_C, at_ca[..., place], phi[..., place]),
        ):
            atoms.append(_next(atoms[-3:], length, bend, turn))
    return torch.stack(atoms, dim=-2).unflatten(-2, (-1, 3))


def _next(last: list[Tensor], length: float, bend: Tensor, turn: Tensor) -> Tensor:
    """The place of an atom from the three before it."""
    first, second, third = last
    along = torch.nn.functional.normalize(third - second, dim=-1)
    across = torch.nn.functional.normalize(torch.linalg.cross(second - first, along), dim=-1)
    upward = torch.linalg.cross(across, along)
    parts = (-bend.cos(), bend.sin() * turn.cos(), bend.sin() * turn.sin())
    axes = zip(parts, (along, upward, across), strict=True)
    return third + length * sum(part[..., None] * axis for part, axis in axes)

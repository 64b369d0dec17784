"""Darcy flow: pressure in a medium that lets through more here and less there."""

import torch
from torch import Tensor

from headway.core.errors import UserError


def darcy(permeability: Tensor, source: Tensor, *, tolerance: float = 1e-10) -> Tensor:
    """Returns ``u`` of ``-div(a grad u) = f`` on the unit square, 0 at its border.

    Finite volumes around the middles of cells; between two cells the harmonic mean of their permeabilities.
    The system is symmetric, and is solved by conjugate gradients with its diagonal as preconditioner.

    Args:
        permeability: a, above 0.
        source: f.
        tolerance: What is left of the residual, as a share of the source.

    Shape:
        permeability, source: (B, N, N). Output: (B, N, N), float64.

    Raises:
        UserError: If a permeability is not positive.
    """
    if not bool((permeability > 0).all()):
        raise UserError("permeability must be above 0 everywhere")
    sides = conductances(permeability.double())
    diagonal = sum(sides)
    assert isinstance(diagonal, Tensor)
    cell = 1 / permeability.shape[1] ** 2
    right = source.double() * cell
    u = torch.zeros_like(right)
    residual = right.clone()
    direction = z = residual / diagonal
    product = _dot(residual, z)
    goal = tolerance * _dot(right, right).sqrt()
    for _ in range(20 * permeability.shape[1]):
        if bool((_dot(residual, residual).sqrt() <= goal).all()):
            break
        image = outflow(direction, sides)
        length = product / _dot(direction, image).clamp_min(1e-300)
        u, residual = u + length * direction, residual - length * image
        z = residual / diagonal
        before, product = product, _dot(residual, z)
        direction = z + product / before.clamp_min(1e-300) * direction
    return u


def conductances(permeability: Tensor) -> list[Tensor]:
    """Returns how well each cell is joined to those above, below, on its left and on its right.

    Towards the border, half a cell away, a cell lets through twice as well.
    """
    a = permeability
    found = []
    for axis in (1, 2):
        near, far = a.narrow(axis, 0, a.shape[axis] - 1), a.narrow(axis, 1, a.shape[axis] - 1)
        inner = 2 * near * far / (near + far)
        first, last = 2 * a.narrow(axis, 0, 1), 2 * a.narrow(axis, a.shape[axis] - 1, 1)
        found += [torch.cat([first, inner], dim=axis), torch.cat([inner, last], dim=axis)]
    return found


def outflow(u: Tensor, sides: list[Tensor]) -> Tensor:
    """Returns what flows out of each cell."""
    total = torch.zeros_like(u)
    for place, side in enumerate(sides):
        axis, backwards = 1 + place // 2, place % 2 == 0
        border = torch.zeros_like(u.narrow(axis, 0, 1))
        inner = u.narrow(axis, 0 if backwards else 1, u.shape[axis] - 1)
        other = torch.cat([border, inner] if backwards else [inner, border], dim=axis)
        total = total + side * (u - other)
    return total


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2), keepdim=True)

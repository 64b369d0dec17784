"""What the kernels are given: tensors by position on a grid, and the grid."""

from typing import Any, NamedTuple

from torch import Tensor

_Scalar = Any


class Positions(NamedTuple):
    """The features of every position, (B, H, Y, X, D), with neighbouring features side by side."""

    start: Any
    stride_b: _Scalar
    stride_h: _Scalar
    stride_y: _Scalar
    stride_x: _Scalar


class Grid(NamedTuple):
    """Items, heads, rows and columns."""

    B: _Scalar
    H: _Scalar
    Y: _Scalar
    X: _Scalar


def positions_of(tensor: Tensor) -> Positions:
    """A (B, H, Y, X, D) tensor; it must have neighbouring features side by side."""
    return Positions(tensor, *tensor.stride()[:4])

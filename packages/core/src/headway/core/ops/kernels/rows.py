"""Rows of matrices as kernels read and write them."""

from typing import Any, NamedTuple

import triton
import triton.language as tl
from torch import Tensor

LOG2E: tl.constexpr = tl.constexpr(1.4426950408889634)


class Rows(NamedTuple):
    """A matrix of rows for each item and head, (B, H, N, D), with neighbouring features side by side.

    One argument of a kernel: members are a tensor and numbers on the side of the launch, a pointer and
    scalars in a kernel.
    """

    start: Any
    stride_b: Any
    stride_h: Any
    stride_n: Any


def rows_of(tensor: Tensor) -> Rows:
    """A (B, H, N, D) tensor; it must have neighbouring features side by side."""
    return Rows(tensor, *tensor.stride()[:3])


@triton.jit
def head_of(rows, batch, head):
    """Where one item and head of a group begins; batch and head are 64-bit numbers."""
    return rows.start + batch * rows.stride_b + head * rows.stride_h


@triton.jit
def load_rows(start, rows, count, stride, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Rows of a matrix of width D; zeros beyond `count` rows and beyond the width."""
    columns = tl.arange(0, BLOCK_D)
    pointers = start + rows[:, None] * stride + columns[None, :]
    mask = (rows < count)[:, None]
    if D != BLOCK_D:
        mask = mask & (columns < D)[None, :]
    return tl.load(pointers, mask=mask, other=0.0)


@triton.jit
def store_rows(start, rows, count, stride, values, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The counterpart of `load_rows`."""
    columns = tl.arange(0, BLOCK_D)
    pointers = start + rows[:, None] * stride + columns[None, :]
    mask = (rows < count)[:, None]
    if D != BLOCK_D:
        mask = mask & (columns < D)[None, :]
    tl.store(pointers, values.to(start.dtype.element_ty), mask=mask)

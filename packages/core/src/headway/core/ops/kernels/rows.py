"""Rows of matrices as kernels read and write them."""

import triton
import triton.language as tl

LOG2E: tl.constexpr = tl.constexpr(1.4426950408889634)


@triton.jit
def load_rows(start, rows, count, stride, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Rows of a matrix of width D; zeros beyond `count` rows and beyond the width."""
    columns = tl.arange(0, BLOCK_D)
    places = start + rows[:, None] * stride + columns[None, :]
    mask = (rows < count)[:, None]
    if D != BLOCK_D:
        mask = mask & (columns < D)[None, :]
    return tl.load(places, mask=mask, other=0.0)


@triton.jit
def store_rows(start, rows, count, stride, values, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The counterpart of `load_rows`."""
    columns = tl.arange(0, BLOCK_D)
    places = start + rows[:, None] * stride + columns[None, :]
    mask = (rows < count)[:, None]
    if D != BLOCK_D:
        mask = mask & (columns < D)[None, :]
    tl.store(places, values.to(start.dtype.element_ty), mask=mask)

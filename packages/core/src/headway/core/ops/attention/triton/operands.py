"""What kernels are given: named groups of pointers, strides and numbers, the same for all of them.

A group is one argument of a kernel; a member that is None is a constant there, so that an option that is
not used costs nothing. Launches build them in `options`.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import Rows

# Members are tensors and numbers on the side of the launch, pointers and scalars in a kernel.
_Pointer = Any
_Scalar = Any


class Plane(NamedTuple):
    """A tensor that broadcasts to the scores (B, H, T, S): strides are zero where it does."""

    start: _Pointer
    stride_b: _Scalar
    stride_h: _Scalar
    stride_t: _Scalar
    stride_s: _Scalar


class Table(NamedTuple):
    """Learned biases (entries, H) and, as a plane, which of them each pair of query and key takes."""

    start: _Pointer
    stride_e: _Scalar
    stride_h: _Scalar
    entries: _Scalar
    numbers: Plane


class Relative(NamedTuple):
    """Queries (B, H, T, D) of a second product, and its keys by distance: (H, T + S - 1, D).

    The key of distance s - t is row s - t + T - 1; a stride of zero says that heads share them.
    """

    query: Rows
    key: Rows


class Dropout(NamedTuple):
    """A weight stays if its draw, made of the seed and its position, is above the threshold."""

    seed: _Pointer
    threshold: _Scalar
    gain: _Scalar


class Packing(NamedTuple):
    """Where packed items lie: for each query the bounds of its keys, for each key those of its queries.

    The shifts take a query's position to that of the key that it is aligned with.
    """

    key_begin: _Pointer
    key_end: _Pointer
    query_shift: _Pointer
    query_begin: _Pointer
    query_end: _Pointer
    key_shift: _Pointer


class Blocks(NamedTuple):
    """Where the blocks of packed rows begin and end; no block holds rows of two items."""

    begin: _Pointer
    end: _Pointer
    count: _Scalar


class Options(NamedTuple):
    """What makes scores of products, in the order of the arguments of `ops.attention`."""

    bias: Plane | None
    mask: Plane | None
    lengths: _Pointer | None
    packing: Packing | None
    shift: _Scalar
    left: _Scalar | None
    right: _Scalar | None
    scale: _Scalar
    scales: _Pointer | None
    slopes: _Pointer | None
    table: Table | None
    relative: Relative | None
    softcap: _Scalar | None
    sinks: _Pointer | None
    dropout: Dropout | None


class Shape(NamedTuple):
    """Items, query heads, queries and keys."""

    B: _Scalar
    H: _Scalar
    T: _Scalar
    S: _Scalar


@triton.jit
def load_plane(plane, batch, head, rows, columns, mask):
    """The part of a plane that a tile of scores lies under; zero outside the mask."""
    start = plane.start + batch * plane.stride_b + head * plane.stride_h
    # A plane may hold more elements than 32 bits count.
    pointers = start + rows.to(tl.int64) * plane.stride_t + columns * plane.stride_s
    return tl.load(pointers, mask=mask, other=0)


@triton.jit
def find_block(program, blocks, count, BLOCK: tl.constexpr):
    """First row of a program's block, the end of what it may touch, and what is left of its number."""
    if blocks is None:
        number = tl.cdiv(count, BLOCK)
        begin = (program % number) * BLOCK
        end = count
    else:
        number = blocks.count
        begin = tl.load(blocks.begin + program % number)
        end = tl.load(blocks.end + program % number)
    return begin, end, program // number

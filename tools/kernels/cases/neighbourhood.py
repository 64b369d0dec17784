"""The kernels of `ops.neighbourhood_attention`."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from aot import Case
from recorder import specialised

from cases import tile_in_table
from headway.core.ops.kernels.tiles import Tile
from headway.core.ops.neighbourhood.triton.backward import key_value_kernel, query_kernel
from headway.core.ops.neighbourhood.triton.forward import forward_kernel
from headway.core.ops.neighbourhood.triton.launch import tile_shape
from headway.core.ops.neighbourhood.triton.operands import Grid, positions_of
from headway.core.ops.neighbourhood.triton.table import table_kernel

KERNELS: dict[str, Any] = {
    "forward": forward_kernel,
    "query": query_kernel,
    "key_value": key_value_kernel,
    "table": table_kernel,
}
# The first stage of NAT-Tiny: 56 x 56 tokens, windows of 7 x 7, one head of one item; a sequence has as
# many tokens.
_SIDE, _WINDOW = 56, 7
_BATCH, _HEADS = 64, 2
# Matrices of rows that stay with a program, and products of a pair of rows.
_SIDES = {"forward": 2, "query": 3, "key_value": 4, "table": 2}
_PRODUCTS = {"forward": 2, "query": 3, "key_value": 4, "table": 2}


def cases(
    arches: Sequence[int | str], dtypes: Sequence[str], widths: Sequence[int]
) -> Iterator[Case]:
    """Every kernel for pictures (with a table) and for padded sequences."""
    for arch, dtype, width, kernel, picture in itertools.product(
        arches, dtypes, (w for w in widths if w <= 128), KERNELS, (True, False)
    ):
        yield case(kernel, arch, dtype, width, picture=picture)


def case(
    kernel: str,
    arch: int | str,
    dtype: str,
    width: int,
    *,
    picture: bool = True,
    tile: Tile | None = None,
) -> Case:
    """One kernel, with the tile of the table unless another is given."""
    if tile is None:
        tile = tile_in_table("neighbourhood", kernel, arch, dtype, width)
    function = KERNELS[kernel]
    query_y, query_x, key_y, key_x = tile_shape(tile, _SIDE if picture else 1)
    high = _WINDOW if picture else 1
    constants: dict[str, Any] = {
        "D": width,
        "WINDOW_Y": high,
        "WINDOW_X": _WINDOW,
        "TABLE_Y": high,
        "TABLE_X": _WINDOW,
        "QUERY_Y": query_y,
        "QUERY_X": query_x,
        "KEY_Y": key_y,
        "KEY_X": key_x,
        "BLOCK_ENTRIES": 16,
        "BLOCK_T": tile.t,
        "BLOCK_S": tile.s,
        "PRECISION": "ieee",
    }
    sizes = (_SIDE, _SIDE) if picture else (1, _SIDE * _SIDE)
    values = _values(sizes, dtype, width, padded=not picture)
    names = function.arg_names
    signature, found, aligned = specialised(names, tuple(values[n] for n in names if n in values))
    traffic = _traffic(kernel, sizes, tile, 4 if dtype == "float32" else 2, width)
    return Case(
        op="neighbourhood",
        kernel=f"{kernel} ({'picture' if picture else 'sequence'})",
        function=function,
        arch=arch,
        dtype=dtype,
        width=width,
        signature=signature,
        constants=found | {name: x for name, x in constants.items() if name in names},
        aligned=aligned,
        warps=tile.warps,
        stages=tile.stages,
        shape=f"{sizes[0]} x {sizes[1]}, windows of {high} x {_WINDOW}",
        loaded=traffic[0],
        minimal=traffic[1],
        unfused=traffic[2],
        flops=traffic[3],
    )


def _traffic(
    kernel: str, sizes: tuple[int, int], tile: Tile, item: int, width: int
) -> tuple[int, int, int, int]:
    """Bytes that tiles load and store, that the same blocks need, and that separate operations move; flops.

    A block of one side stays in registers and meets the rows of the other side that one of its rows may
    see. In separate operations a key and a value are gathered for every pair, and the scores are written
    and read once per step: product, bias, softmax, and backward three times more.
    """
    query_y, query_x, key_y, key_x = tile_shape(tile, sizes[0])
    windows = [min(_WINDOW, size) for size in sizes]
    tokens, pairs = math.prod(sizes), math.prod(sizes) * math.prod(windows)
    stays = tokens * width * item * _SIDES[kernel]
    steps = 3 if kernel == "forward" else 6
    unfused = stays + 2 * pairs * item * (2 * width + steps)
    flops = 2 * pairs * width * _PRODUCTS[kernel]
    if kernel == "table":
        # A block of a row of queries meets one row of keys, at one distance of rows at a time.
        met = tokens * windows[0]
        blocks = met // sizes[1]
        visited, seen = _rows(sizes[1], windows[1], tile.t, tile.s, False)
        stays = met * width * item * 2
        loaded, minimal = (stays + blocks * rows * width * item * 2 for rows in (visited, seen))
        return loaded, minimal, unfused, flops
    by_keys = kernel == "key_value"
    own, step = (query_y, query_x), (key_y, key_x)
    own, step = (step, own) if by_keys else (own, step)
    visited = seen = 1
    for size, window, block, other in zip(sizes, windows, own, step, strict=True):
        visits, needs = _rows(size, window, block, other, by_keys)
        visited, seen = visited * visits, seen * needs
    loaded, minimal = (stays + rows * width * item * 2 for rows in (visited, seen))
    return loaded, minimal, unfused, flops


def _rows(size: int, window: int, own: int, step: int, by_keys: bool) -> tuple[int, int]:
    """Along an axis: the rows that all blocks load, and that they need."""
    firsts = [min(max(place - window // 2, 0), size - window) for place in range(size)]
    visited = seen = 0
    for begin in range(0, size, own):
        end = min(begin + own, size)
        if by_keys:
            met = [q for q, first in enumerate(firsts) if first < end and first + window > begin]
            start, stop = met[0], met[-1] + 1
        else:
            start, stop = firsts[begin], firsts[end - 1] + window
        seen += stop - start
        visited += min(-(-(stop - start) // step) * step, size - start)
    return visited, seen


def _values(sizes: tuple[int, int], dtype: str, width: int, *, padded: bool) -> dict[str, Any]:
    """The arguments of all kernels by name, on no device; tokens lie as projections leave them."""
    kind, grid = getattr(torch, dtype), Grid(_BATCH, _HEADS, *sizes)
    rows = torch.empty((_BATCH, *sizes, _HEADS, width), dtype=kind, device="meta")
    places = positions_of(rows.movedim(3, 1))
    number = torch.empty(grid, device="meta")
    tensors = dict.fromkeys(("query", "key", "value"), places)
    dense = dict.fromkeys(
        ("out", "grad_out", "grad_query", "grad_key", "grad_value", "table"), rows
    )
    floats = dict.fromkeys(("lse", "delta", "partial"), number)
    lengths = torch.empty(_BATCH, dtype=torch.int64, device="meta") if padded else None
    return {
        **tensors,
        **dense,
        **floats,
        "lengths": lengths,
        "scale": 0.5,
        "grid": grid,
        "visits": 7,
    }

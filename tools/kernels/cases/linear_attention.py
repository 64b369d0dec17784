"""The kernels of `ops.linear_attention`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import triton
from aot import Case

from cases import TYPES
from headway.core.ops.kernels.tiles import Tile
from headway.core.ops.linear_attention.triton.backward import (
    key_kernel,
    query_kernel,
    value_kernel,
)
from headway.core.ops.linear_attention.triton.forward import output_kernel, state_kernel
from headway.core.ops.linear_attention.triton.launch import tile_of

KERNELS: dict[str, Any] = {
    "state": state_kernel,
    "output": output_kernel,
    "query": query_kernel,
    "key": key_kernel,
    "value": value_kernel,
}
# The typical shape: items times heads, and tokens.
_HEADS, _TOKENS = 64, 4096
_HALF = ("query", "key", "value", "rows_in", "values_in", "out", "grad_out")
_SAME = ("grad_query", "grad_key", "grad_value")


def cases(
    arches: Sequence[int | str], dtypes: Sequence[str], widths: Sequence[int]
) -> Iterator[Case]:
    """Every kernel with decay and normaliser, and with neither."""
    for arch, dtype, width, kernel, plain in itertools.product(
        arches, dtypes, (w for w in widths if w <= 128), KERNELS, (False, True)
    ):
        yield case(kernel, arch, dtype, width, plain=plain)


def case(
    kernel: str,
    arch: int | str,
    dtype: str,
    width: int,
    *,
    plain: bool = False,
    tile: Tile | None = None,
) -> Case:
    """One kernel, with the tile of the table unless another is given."""
    single = dtype == "float32"
    if tile is None:
        tile = tile_of(kernel, arch if isinstance(arch, int) else 80, single, width)
    function = KERNELS[kernel]
    # The states run backwards in the case with all options: those are one more there.
    constants: dict[str, Any] = {
        "D": width,
        "BLOCK_D": max(16, triton.next_power_of_2(width)),
        "BLOCK_T": tile.t,
        "BLOCK_S": tile.s,
        "HAS_DECAY": not plain,
        "NORMALIZE": not plain,
        "REVERSE": not plain,
        "PRECISION": "ieee",
        "STATE_PRECISION": "ieee" if single else "tf32",
    }
    if plain:
        constants |= {"decay": None, "share": None, "extra": None}
    signature = {name: _type(name, dtype) for name in function.arg_names}
    aligned = frozenset(
        name
        for name, kind in signature.items()
        if kind.startswith("*") or name.startswith("stride_") or name == "E"
    )
    loaded, minimal, unfused, flops = _work(kernel, width, tile, 4 if single else 2)
    return Case(
        op="linear_attention",
        kernel=f"{kernel} ({'none' if plain else 'all'})",
        function=function,
        arch=arch,
        dtype=dtype,
        width=width,
        signature=signature,
        constants=constants,
        aligned=aligned,
        warps=tile.warps,
        stages=tile.stages,
        shape=f"B*H {_HEADS}, N {_TOKENS}, states between chunks of {tile.t}",
        loaded=loaded,
        minimal=minimal,
        unfused=unfused,
        flops=flops,
    )


def _work(kernel: str, width: int, tile: Tile, size: int) -> tuple[int, int, int, int]:
    """Bytes that the tiles load, that the arguments hold, that separate operations move; operations."""
    tokens = _HEADS * _TOKENS
    row, state = tokens * width * size, tokens // tile.t * width * width * 4
    blocks = triton.cdiv(width, tile.s)
    within, across = 2 * tokens * tile.t * width, 2 * tokens * width * width
    # Scores in float32, written, masked and read again.
    scores = 4 * tokens * tile.t * 4
    if kernel == "state":
        # Keys once per block of columns; apart, float32 copies of both and sums over chunks.
        minimal = 2 * row + state
        return minimal + (blocks - 1) * row, minimal, 2 * row + 16 * row // size + 3 * state, across
    rows = {"output": 4, "query": 5, "key": 5, "value": 4}[kernel]
    minimal = rows * row + state
    # Two products within a chunk and one with the state, each written apart.
    unfused = minimal + 16 * row // size + 2 * scores
    return minimal, minimal, unfused, 2 * within + across


def _type(name: str, dtype: str) -> str:
    if name in _HALF or name in _SAME:
        return "*" + TYPES[dtype]
    pointers = ("share", "extra", "decay", "states", "sums", "total", "moved")
    return "*fp32" if name in pointers or name.startswith("grad_") else "i32"

"""The kernels of `ops.linear_attention`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import triton
from aot import Case
from recorder import specialised

from headway.core.ops.kernels.constants import padded
from headway.core.ops.kernels.rows import rows_of
from headway.core.ops.kernels.tiles import Tile
from headway.core.ops.linear_attention.triton.backward import (
    key_kernel,
    query_kernel,
    value_kernel,
)
from headway.core.ops.linear_attention.triton.blocks import Sizes
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
        "BLOCK_D": padded(width),
        "BLOCK_T": tile.t,
        "BLOCK_S": tile.s,
        "NORMALIZE": not plain,
        "REVERSE": not plain,
        "PRECISION": "ieee",
        "STATE_PRECISION": "ieee" if single else "tf32",
    }
    values, names = _values(dtype, width, tile, plain=plain), function.arg_names
    signature, found, aligned = specialised(names, tuple(values[n] for n in names if n in values))
    loaded, minimal, unfused, flops = _work(kernel, width, tile, 4 if single else 2)
    return Case(
        op="linear_attention",
        kernel=f"{kernel} ({'none' if plain else 'all'})",
        function=function,
        arch=arch,
        dtype=dtype,
        width=width,
        signature=signature,
        constants=found | {name: x for name, x in constants.items() if name in names},
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


def _values(dtype: str, width: int, tile: Tile, *, plain: bool) -> dict[str, Any]:
    """The arguments of all kernels by name, on no device; tokens lie as projections leave them."""
    rows = torch.empty(8, _TOKENS, 8, width, dtype=getattr(torch, dtype), device="meta")
    group = rows_of(rows.transpose(1, 2))
    number = torch.empty(_HEADS, _TOKENS, device="meta")
    some = None if plain else number
    halves = ("query", "key", "value", "rows_in", "values_in", "out", "grad_out")
    grads = ("grad_query", "grad_key", "grad_value")
    floats = ("states", "sums", "grad_states", "grad_sums", "total", "moved")
    return {
        **dict.fromkeys((*halves, *grads), group),
        **dict.fromkeys(floats, number),
        **dict.fromkeys(("decay", "share", "extra"), some),
        "sizes": Sizes(8, _TOKENS, triton.cdiv(_TOKENS, tile.t), width),
    }

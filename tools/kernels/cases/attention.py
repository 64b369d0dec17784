"""The kernels of `ops.attention`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import triton
from aot import Case

from cases import TYPES
from headway.core.ops.attention.triton.backward import (
    delta_kernel,
    key_value_kernel,
    query_kernel,
)
from headway.core.ops.attention.triton.bias import bias_kernel
from headway.core.ops.attention.triton.forward import forward_kernel
from headway.core.ops.attention.triton.launch import DELTA_ROWS
from headway.core.ops.kernels.tiles import Tile, tile_for

KERNELS: dict[str, Any] = {
    "delta": delta_kernel,
    "forward": forward_kernel,
    "key_value": key_value_kernel,
    "query": query_kernel,
    "bias": bias_kernel,
}
_FLOATS = ("lse", "delta", "grad_lse", "partial")
_SCALARS = ("scale", "scale_log2")


def cases(
    arches: Sequence[int | str], dtypes: Sequence[str], widths: Sequence[int]
) -> Iterator[Case]:
    """Every kernel with all options and with none."""
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
    if tile is None and kernel == "delta":
        tile = Tile(DELTA_ROWS, 0, 4, 3)
    elif tile is None:
        single = dtype == "float32"
        number = arch if isinstance(arch, int) else 80
        tile = tile_for("attention", kernel, arch=number, single=single, width=width)
    function = KERNELS[kernel]
    on = not plain
    constants = {
        "GROUPS": 1 if plain else 4,
        "D": width,
        "BLOCK_D": max(16, triton.next_power_of_2(width)),
        "BLOCK_T": tile.t,
        "BLOCK_S": tile.s,
        "HAS_BIAS": on or kernel == "bias",
        "HAS_LENGTHS": on,
        "HAS_GRAD_LSE": on,
        "CAUSAL": on,
        "PRECISION": "ieee",
        "ONE_T": False,
        "ONE_S": False,
        # What a launch finds to be 1 becomes a constant; so it is for a bias with dense rows.
        "stride_bias_s": 1,
    }
    if not constants["HAS_BIAS"]:
        constants["bias"] = None
    if not on:
        constants |= {"lengths": None, "grad_lse": None}
    signature = {name: _type(name, dtype) for name in function.arg_names}
    # A launch finds these to be multiples of 16; the rows of a bias need not be.
    aligned = frozenset(
        name
        for name in function.arg_names
        if signature[name].startswith("*") or (name.startswith("stride_") and "bias" not in name)
    )
    return Case(
        op="attention",
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
        tensor_cores=kernel != "delta",
    )


def _type(name: str, dtype: str) -> str:
    if name in _FLOATS:
        return "*fp32"
    if name == "lengths":
        return "*i64"
    if name in _SCALARS:
        return "fp32"
    pointers = ("query", "key", "value", "bias", "out")
    if name in pointers or name.startswith("grad_"):
        return "*" + TYPES[dtype]
    return "i32"

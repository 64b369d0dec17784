"""The kernels of `ops.neighbourhood_attention`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from aot import Case

from cases import TYPES
from headway.core.ops.kernels.tiles import Tile, tile_for
from headway.core.ops.neighbourhood.triton.backward import key_value_kernel, query_kernel
from headway.core.ops.neighbourhood.triton.forward import forward_kernel
from headway.core.ops.neighbourhood.triton.launch import tile_shape
from headway.core.ops.neighbourhood.triton.table import table_kernel

KERNELS: dict[str, Any] = {
    "forward": forward_kernel,
    "query": query_kernel,
    "key_value": key_value_kernel,
    "table": table_kernel,
}
_FLOATS = ("lse", "delta", "partial")
_POINTERS = (
    "query",
    "key",
    "value",
    "table",
    "out",
    "grad_out",
    "grad_query",
    "grad_key",
    "grad_value",
)
# The first stage of NAT-Tiny: 56 x 56 tokens, windows of 7 x 7, one head of one item.
_SIDE, _WINDOW = 56, 7


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
        number = arch if isinstance(arch, int) else 80
        single = dtype == "float32"
        tile = tile_for("neighbourhood", kernel, arch=number, single=single, width=width)
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
        "HAS_TABLE": True,
        "HAS_LENGTHS": not picture,
        "PRECISION": "ieee",
    }
    if picture:
        constants["lengths"] = None
    else:
        constants["Y"] = 1
    signature = {name: _type(name, dtype) for name in function.arg_names}
    aligned = frozenset(
        name
        for name in function.arg_names
        if signature[name].startswith("*") or name.startswith("stride_")
    )
    return Case(
        op="neighbourhood",
        kernel=f"{kernel} ({'picture' if picture else 'sequence'})",
        function=function,
        arch=arch,
        dtype=dtype,
        width=width,
        signature=signature,
        constants={name: x for name, x in constants.items() if name in function.arg_names},
        aligned=aligned,
        warps=tile.warps,
        stages=tile.stages,
    )


def _type(name: str, dtype: str) -> str:
    if name in _FLOATS:
        return "*fp32"
    if name == "lengths":
        return "*i64"
    if name == "scale":
        return "fp32"
    return "*" + TYPES[dtype] if name in _POINTERS else "i32"

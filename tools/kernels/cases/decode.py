"""The kernels of `ops.decode`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import triton
from aot import Case

from cases import TYPES, tile_in_table
from headway.core.ops.decode.triton.kernels import merge_kernel, split_kernel
from headway.core.ops.decode.triton.launch import SPLIT
from headway.core.ops.kernels.tiles import Tile

KERNELS: dict[str, Any] = {"split": split_kernel, "merge": merge_kernel}
# The typical shape: items times heads of keys, keys, queries per head of keys.
_HEADS, _KEYS, _GROUPS = 256, 4096, 4
_TENSORS = {"lengths": "*i64", "partial": "*fp32", "tops": "*fp32", "totals": "*fp32"}


def cases(
    arches: Sequence[int | str], dtypes: Sequence[str], widths: Sequence[int]
) -> Iterator[Case]:
    """Both kernels, that of the splits with a window and without."""
    for arch, dtype, width, kernel, plain in itertools.product(
        arches, dtypes, widths, KERNELS, (False, True)
    ):
        if kernel == "split" or plain:
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
    if kernel == "merge":
        tile = Tile(16, 0, 4, 3)
    elif tile is None:
        tile = tile_in_table("decode", kernel, arch, dtype, width)
    block = max(16, triton.next_power_of_2(width))
    constants: dict[str, Any] = {
        "GROUPS": _GROUPS,
        "D": width,
        "BLOCK_D": block,
        "E": width,
        "BLOCK_E": block,
        "BLOCK_T": 16,
        "BLOCK_S": tile.s,
        "SPLIT": SPLIT,
        "HAS_WINDOW": not plain,
        "PRECISION": "ieee",
        # A step decodes one token: a launch finds a 1.
        "T": 1,
    }
    signature = {name: _type(name, dtype) for name in KERNELS[kernel].arg_names}
    size, parts = 4 if single else 2, _KEYS // SPLIT
    rows = 2 * _HEADS * _GROUPS * width * size
    partial = _HEADS * _GROUPS * parts * (width + 2) * 4
    cache = 2 * _HEADS * _KEYS * width * size
    moved = cache + rows // 2 + partial if kernel == "split" else partial + rows // 2
    # Scores and weights in float32, written and read.
    scores = 4 * _HEADS * _GROUPS * _KEYS * 4
    return Case(
        op="decode",
        kernel=f"{kernel} ({'none' if plain else 'all'})",
        function=KERNELS[kernel],
        arch=arch,
        dtype=dtype,
        width=width,
        signature=signature,
        constants=constants,
        aligned=frozenset(n for n, t in signature.items() if t[0] == "*" or n[:7] == "stride_"),
        warps=tile.warps,
        stages=tile.stages,
        tensor_cores=kernel == "split",
        shape=f"B*Hkv {_HEADS}, {_KEYS} keys, {_GROUPS} heads share them",
        loaded=moved,
        minimal=moved,
        # Heads of keys repeated for those of queries, as grouped queries are written by hand.
        unfused=(2 * _GROUPS + 1) * cache + scores if kernel == "split" else moved,
        flops=4 * _HEADS * _GROUPS * _KEYS * width if kernel == "split" else 0,
    )


def _type(name: str, dtype: str) -> str:
    if name in ("query", "keys", "values", "out"):
        return "*" + TYPES[dtype]
    return "fp32" if name == "scale_log2" else _TENSORS.get(name, "i32")

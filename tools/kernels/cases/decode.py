"""The kernels of `ops.decode`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from aot import Case
from recorder import specialised

from cases import tile_in_table
from headway.core.ops.decode.triton.kernels import Sizes, merge_kernel, split_kernel
from headway.core.ops.decode.triton.launch import SPLIT
from headway.core.ops.kernels.constants import padded
from headway.core.ops.kernels.rows import rows_of
from headway.core.ops.kernels.tiles import Tile

KERNELS: dict[str, Any] = {"split": split_kernel, "merge": merge_kernel}
# The typical shape: items times heads of keys, keys, queries per head of keys.
_HEADS, _KEYS, _GROUPS = 256, 4096, 4


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
    block = padded(width)
    constants: dict[str, Any] = {
        "GROUPS": _GROUPS,
        "D": width,
        "BLOCK_D": block,
        "E": width,
        "BLOCK_E": block,
        "BLOCK_T": 16,
        "BLOCK_S": tile.s,
        "SPLIT": SPLIT,
        "PRECISION": "ieee",
    }
    values, names = _values(dtype, width, plain=plain), KERNELS[kernel].arg_names
    signature, found, aligned = specialised(names, tuple(values[n] for n in names if n in values))
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
        constants=found | {name: x for name, x in constants.items() if name in names},
        aligned=aligned,
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


def _values(dtype: str, width: int, *, plain: bool) -> dict[str, Any]:
    """The arguments of both kernels by name, on no device, for a step of one token."""
    kind, heads = getattr(torch, dtype), 8
    batch, splits = _HEADS // heads, _KEYS // SPLIT
    rows = torch.empty(batch, 1, heads * _GROUPS, width, dtype=kind, device="meta").transpose(1, 2)
    cache = torch.empty(batch, heads, _KEYS, width, dtype=kind, device="meta")
    partial = torch.empty(_HEADS, splits, _GROUPS, width, device="meta")
    return {
        **dict.fromkeys(("query", "out"), rows_of(rows)),
        **dict.fromkeys(("keys", "values"), rows_of(cache)),
        **dict.fromkeys(("partial", "tops", "totals"), partial),
        "lengths": torch.empty(batch, dtype=torch.int64, device="meta"),
        "scale_log2": 0.5,
        "sizes": Sizes(heads, 1, _GROUPS, _KEYS, splits),
        "window": None if plain else 512,
    }

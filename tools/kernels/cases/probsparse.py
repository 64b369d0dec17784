"""The kernel of `ops.probsparse`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import triton
from aot import Case

from cases import TYPES, tile_in_table
from headway.core.ops.kernels.tiles import Tile
from headway.core.ops.probsparse.triton.measure import measure_kernel

KERNELS: dict[str, Any] = {"measure": measure_kernel}
# The typical shape: items times heads, tokens, and sampled keys (five times the logarithm).
_HEADS, _TOKENS, _SAMPLED = 64, 4096, 45
_TENSORS = {"sample": "*i64", "sample_mask": "*u8", "counts": "*fp32", "out": "*fp32"}


def cases(
    arches: Sequence[int | str], dtypes: Sequence[str], widths: Sequence[int]
) -> Iterator[Case]:
    """The kernel with a mask of the sample and without."""
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
    """The kernel, with the tile of the table unless another is given."""
    single = dtype == "float32"
    if tile is None:
        tile = tile_in_table("probsparse", kernel, arch, dtype, width)
    constants: dict[str, Any] = {
        "D": width,
        "BLOCK_D": max(16, triton.next_power_of_2(width)),
        "BLOCK_T": tile.t,
        "BLOCK_S": tile.s,
        "HAS_MASK": not plain,
        "PRECISION": "ieee",
    }
    if plain:
        constants["sample_mask"] = None
    signature = {name: _type(name, dtype) for name in KERNELS[kernel].arg_names}
    size = 4 if single else 2
    rows, keys = _HEADS * _TOKENS * width * size, _HEADS * _SAMPLED * width * size
    answer = _HEADS * _TOKENS * 4
    # Every program reads the sampled keys; they stay in the cache on the chip.
    blocks = triton.cdiv(_TOKENS, tile.t)
    return Case(
        op="probsparse",
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
        shape=f"B*H {_HEADS}, N {_TOKENS}, {_SAMPLED} keys",
        loaded=rows + blocks * keys + answer,
        minimal=rows + keys + answer,
        # The sampled keys copied; scores written, and read for the largest and for the mean.
        unfused=rows + 3 * keys + 3 * _HEADS * _TOKENS * _SAMPLED * size + 3 * answer,
        flops=2 * _HEADS * _TOKENS * _SAMPLED * width,
    )


def _type(name: str, dtype: str) -> str:
    if name in ("query", "key"):
        return "*" + TYPES[dtype]
    return _TENSORS.get(name, "i32")

"""The kernel of `ops.probsparse`."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import triton
from aot import Case
from recorder import specialised

from cases import tile_in_table
from headway.core.ops.kernels.constants import padded
from headway.core.ops.kernels.rows import rows_of
from headway.core.ops.kernels.tiles import Tile
from headway.core.ops.probsparse.triton.measure import measure_kernel

KERNELS: dict[str, Any] = {"measure": measure_kernel}
# The typical shape: items times heads, tokens, and sampled keys (five times the logarithm).
_HEADS, _TOKENS, _SAMPLED = 64, 4096, 45


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
        "BLOCK_D": padded(width),
        "BLOCK_T": tile.t,
        "BLOCK_S": tile.s,
        "PRECISION": "ieee",
    }
    values, names = _values(dtype, width, plain=plain), KERNELS[kernel].arg_names
    signature, found, aligned = specialised(names, tuple(values[n] for n in names if n in values))
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
        constants=found | constants,
        aligned=aligned,
        warps=tile.warps,
        stages=tile.stages,
        shape=f"B*H {_HEADS}, N {_TOKENS}, {_SAMPLED} keys",
        loaded=rows + blocks * keys + answer,
        minimal=rows + keys + answer,
        # The sampled keys copied; scores written, and read for the largest and for the mean.
        unfused=rows + 3 * keys + 3 * _HEADS * _TOKENS * _SAMPLED * size + 3 * answer,
        flops=2 * _HEADS * _TOKENS * _SAMPLED * width,
    )


def _values(dtype: str, width: int, *, plain: bool) -> dict[str, Any]:
    """The arguments of the kernel by name, on no device; tokens lie as projections leave them."""
    rows = torch.empty(8, _TOKENS, 8, width, dtype=getattr(torch, dtype), device="meta")
    sample = torch.empty(8, _SAMPLED, dtype=torch.int64, device="meta")
    return {
        **dict.fromkeys(("query", "key"), rows_of(rows.transpose(1, 2))),
        "sample": sample,
        "sample_mask": None if plain else sample.to(torch.uint8),
        "counts": torch.empty(8, device="meta"),
        "out": torch.empty(8, 8, _TOKENS, device="meta"),
        "H": 8,
        "T": _TOKENS,
        "U": _SAMPLED,
    }

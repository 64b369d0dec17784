"""The kernels of `ops.scan`; scans multiply no matrices, so none uses tensor cores."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import triton
from aot import Case

from cases import TYPES
from headway.core.ops.kernels.tiles import Tile, tile_for
from headway.core.ops.scan.triton.launch import CHUNK
from headway.core.ops.scan.triton.recurrence import recurrence_kernel
from headway.core.ops.scan.triton.selective import gradient_kernel, scan_kernel

KERNELS: dict[str, Any] = {
    "recurrence": recurrence_kernel,
    "scan": scan_kernel,
    "gradient": gradient_kernel,
}
# The typical shape: items, tokens, channels; of the associative scan, rows and places.
_ITEMS, _TOKENS, _CHANNELS, _ROWS = 8, 2048, 1536, 8 * 1536
_INTEGERS = ("M", "N", "D", "S", "CHUNKS")


def cases(
    arches: Sequence[int | str], dtypes: Sequence[str], widths: Sequence[int]
) -> Iterator[Case]:
    """Selective scans in float32, by 16 states per channel and by 64; others in every type."""
    for arch in arches:
        for dtype, plain in itertools.product(dtypes, (False, True)):
            yield case("recurrence", arch, dtype, 64, plain=plain)
        for kernel, states in itertools.product(("scan", "gradient"), (16, 64)):
            yield case(kernel, arch, "float32", states)


def case(
    kernel: str,
    arch: int | str,
    dtype: str,
    width: int,
    *,
    plain: bool = False,
    tile: Tile | None = None,
) -> Case:
    """One kernel, with the tile of the table unless another is given; `width` is the size of state."""
    if tile is None:
        number = arch if isinstance(arch, int) else 80
        tile = tile_for("scan", kernel, arch=number, single=False, width=64)
    constants: dict[str, Any] = {
        "BLOCK_T": tile.t,
        "BLOCK_S": tile.s if kernel == "recurrence" else triton.next_power_of_2(width),
        "REVERSE": not plain,
        "CHUNK": CHUNK,
    }
    signature = {
        name: "i32" if name in _INTEGERS else "*" + TYPES[dtype]
        for name in KERNELS[kernel].arg_names
    }
    loaded, minimal, unfused = _work(kernel, width, tile, 4 if dtype == "float32" else 2)
    shape = f"{_ROWS} rows of {_TOKENS}"
    if kernel != "recurrence":
        shape = f"B {_ITEMS}, N {_TOKENS}, {_CHANNELS} channels of {width} states"
    return Case(
        op="scan",
        kernel=f"{kernel} ({'none' if plain else 'all'})",
        function=KERNELS[kernel],
        arch=arch,
        dtype=dtype,
        width=width,
        signature=signature,
        constants=constants,
        aligned=frozenset(n for n, t in signature.items() if t[0] == "*" or n in ("N", "D", "S")),
        warps=tile.warps,
        stages=tile.stages,
        tensor_cores=False,
        shape=shape,
        loaded=loaded,
        minimal=minimal,
        unfused=unfused,
    )


def _work(kernel: str, states: int, tile: Tile, size: int) -> tuple[int, int, int]:
    """Bytes that the tiles load, that the arguments hold, that separate operations move."""
    if kernel == "recurrence":
        moved = 3 * _ROWS * _TOKENS * size
        # A tree of log2(N) levels, each reading and writing both.
        return moved, moved, 4 * 11 * _ROWS * _TOKENS * size
    # What all blocks of channels read, and what a chunk writes and reads again, comes from the cache.
    rows = _ITEMS * _TOKENS * _CHANNELS * 4
    inputs = _ITEMS * _TOKENS * states * 4
    if kernel == "scan":
        minimal = 3 * rows + 2 * inputs
        return minimal, minimal, 6 * rows * states
    # Parts of the gradients of B and C, one for each block. Steps and inputs are read twice: for the
    # states at the start of each chunk, and backwards.
    parts = 2 * triton.cdiv(_CHANNELS, tile.t) * inputs
    minimal = 5 * rows + 2 * inputs + parts
    return minimal + 2 * rows + inputs, minimal, 14 * rows * states

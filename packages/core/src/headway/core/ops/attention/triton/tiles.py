"""Tile sizes by architecture, type and head width, found by compiling ahead of time.

`tools/kernels/audit.py` compiles the half-precision entries for sm_80 and sm_90 and fails when one
spills registers, needs more shared memory than there is, or misses the tensor cores. Nothing is
tuned at run time.
"""

from dataclasses import dataclass

KERNELS = ("forward", "key_value", "query", "bias")
# Rows per program of the delta kernel, which multiplies no matrices and needs no tuning.
DELTA_ROWS = 64


@dataclass(frozen=True)
class Tile:
    """The launch shape of a kernel.

    Args:
        t: Queries per block.
        s: Keys per block.
        warps: Warps per program.
        stages: Depth of the software pipeline.
    """

    t: int
    s: int
    warps: int
    stages: int


# By architecture, then by kernel, then by padded head width.
_HALF: dict[int, dict[str, dict[int, Tile]]] = {
    80: {
        "forward": {32: Tile(128, 32, 4, 2), 64: Tile(128, 64, 8, 2), 128: Tile(64, 32, 8, 2)},
        "key_value": {32: Tile(32, 64, 4, 2), 64: Tile(128, 32, 8, 2), 128: Tile(64, 32, 8, 1)},
        "query": {32: Tile(128, 32, 4, 2), 64: Tile(32, 64, 4, 2), 128: Tile(64, 32, 8, 1)},
        "bias": {32: Tile(128, 32, 4, 2), 64: Tile(32, 64, 4, 2), 128: Tile(64, 32, 8, 1)},
    },
    90: {
        "forward": {32: Tile(128, 32, 4, 2), 64: Tile(128, 64, 8, 2), 128: Tile(64, 128, 8, 2)},
        "key_value": {32: Tile(64, 128, 8, 2), 64: Tile(64, 128, 8, 2), 128: Tile(64, 64, 8, 1)},
        "query": {32: Tile(128, 64, 8, 2), 64: Tile(128, 64, 8, 2), 128: Tile(64, 64, 8, 2)},
        "bias": {32: Tile(128, 32, 4, 2), 64: Tile(64, 64, 4, 2), 128: Tile(64, 64, 8, 1)},
    },
}
_SINGLE = Tile(32, 32, 8, 1)
_SINGLE_BIAS_128 = Tile(32, 16, 8, 1)
# The interpreter's time goes by the number of programs and steps, not by their size.
_INTERPRETED = Tile(64, 64, 4, 1)


def tile_for(kernel: str, *, arch: int, single: bool, block_d: int) -> Tile:
    """The tile of a kernel.

    Args:
        kernel: One of `KERNELS`.
        arch: Compute capability times ten; 0 is the interpreter.
        single: Whether the inputs are float32.
        block_d: Head width, padded to a power of two.
    """
    if arch == 0:
        return _INTERPRETED
    if single:
        return _SINGLE_BIAS_128 if kernel == "bias" and block_d == 128 else _SINGLE
    # Hopper has tiles of its own; the others share those that fit in 99 KiB of shared memory.
    return _HALF[90 if arch == 90 else 80][kernel][max(block_d, 32)]

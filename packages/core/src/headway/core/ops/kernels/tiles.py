"""Launch shapes by op, kernel, architecture and width, found by compiling ahead of time.

They stand in `tiles.json`, which `tools/kernels/audit.py` checks: no spills, tensor cores, shared memory
within the limit. Nothing is tuned at run time.
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources

from headway.core.ops.kernels.machine import INTERPRETER


@dataclass(frozen=True)
class Tile:
    """The launch shape of a kernel.

    Args:
        t: Queries (rows) per block.
        s: Keys (columns) per block.
        warps: Warps per program.
        stages: Depth of the software pipeline.
    """

    t: int
    s: int
    warps: int
    stages: int


# The interpreter's time goes by the number of programs and steps, not by their size.
_INTERPRETED = Tile(64, 64, 4, 1)


def tile_for(op: str, kernel: str, *, arch: int, single: bool, width: int) -> Tile:
    """The tile of a kernel.

    Args:
        op: Name of the op.
        kernel: Name of the kernel within the op.
        arch: Compute capability times ten, or `INTERPRETER`. One without entries of its own takes those
            of 80, whose tiles fit in 99 KiB of shared memory.
        single: Whether the inputs are float32.
        width: Head width, padded to a power of two. The nearest width that is not smaller counts.

    Raises:
        KeyError: No tile is known: the caller's check of its inputs has a gap.
    """
    if arch == INTERPRETER:
        return _INTERPRETED
    entries = _tables()[op][kernel]
    table = entries["single"] if single else entries.get(str(arch), entries["80"])
    fitting = [int(known) for known in table if int(known) >= width]
    if not fitting:
        raise KeyError(f"{op}.{kernel} has no tile of width {width}")
    return Tile(*table[str(min(fitting))])


@functools.cache
def _tables() -> dict[str, dict[str, dict[str, dict[str, list[int]]]]]:
    return json.loads(
        resources.files("headway.core.ops.kernels").joinpath("tiles.json").read_text()
    )

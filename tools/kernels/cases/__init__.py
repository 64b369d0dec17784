"""What the audit compiles: one module per op, each with `cases(arches, dtypes, widths)`."""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence

from aot import Case

from headway.core.ops.kernels.tiles import Tile, tile_for

TYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
OPS = sorted(module.name for module in pkgutil.iter_modules(__path__))


def cases(
    arches: Sequence[int | str],
    dtypes: Sequence[str],
    widths: Sequence[int],
    ops: Sequence[str] = OPS,
) -> Iterator[Case]:
    """All cases of the ops.

    Args:
        arches: Compute capabilities times ten, or names of AMD architectures.
        dtypes: Names of types.
        widths: Head widths; an op leaves out those that it does not take.
        ops: Names of modules of this package.
    """
    for op in ops:
        yield from importlib.import_module(f"cases.{op}").cases(arches, dtypes, widths)


def tile_in_table(op: str, kernel: str, arch: int | str, dtype: str, width: int) -> Tile:
    """What a launch would take; AMD's architectures take the tiles of sm_80."""
    number = arch if isinstance(arch, int) else 80
    return tile_for(op, kernel, arch=number, single=dtype == "float32", width=width)

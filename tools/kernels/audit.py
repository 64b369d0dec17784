"""Compiles every attention kernel ahead of time and checks its binary; needs no GPU.

Prints a table; exit 1 if a kernel spills registers, needs more shared memory than there is, or
misses the tensor cores. Compiled kernels stay in Triton's cache, so a second run is quick.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headway.core.ops.attention.triton import interpreted
from headway.core.ops.attention.triton.tiles import DELTA_ROWS, KERNELS, Tile, tile_for

COLUMNS = (
    *("kernel", "arch", "dtype", "width", "options", "t", "s", "warps", "stages"),
    *("registers", "spills", "shared", "limit", "tensor_cores"),
)


def cases(
    arches: list[int], dtypes: list[str], widths: list[int], kernels: list[str], plain: list[bool]
) -> Iterator[Any]:
    from aot import Case

    for arch, dtype, width, kernel, bare in itertools.product(
        arches, dtypes, widths, kernels, plain
    ):
        if kernel == "delta":
            tile = Tile(DELTA_ROWS, 0, 4, 3)
        else:
            tile = tile_for(kernel, arch=arch, single=dtype == "float32", block_d=width)
        yield Case(kernel, arch, dtype, width, tile, bare, groups=1 if bare else 4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two kernels, bfloat16, width 64")
    parser.add_argument("--arch", type=int, nargs="+", default=[80, 90])
    parser.add_argument("--dtype", nargs="+", default=["float16", "bfloat16"])
    parser.add_argument("--width", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--kernel", nargs="+", default=["delta", *KERNELS])
    parser.add_argument("--out", type=Path, help="also write the rows here, one JSON object each")
    arguments = parser.parse_args()
    if interpreted():
        print("TRITON_INTERPRET is set, so there is nothing to compile; unset it", file=sys.stderr)
        return 2
    from aot import as_record, inspect

    chosen = cases(
        arguments.arch, arguments.dtype, arguments.width, arguments.kernel, [False, True]
    )
    if arguments.quick:
        chosen = cases(arguments.arch, ["bfloat16"], [64], ["forward", "bias"], [False])
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS), flush=True)
    records: list[dict[str, Any]] = []
    faults: list[str] = []
    for case in chosen:
        report = inspect(case)
        records.append(as_record(case, report))
        print("| " + " | ".join(str(records[-1][name]) for name in COLUMNS) + " |", flush=True)
        faults += [f"{case}: {fault}" for fault in report.faults(case)]
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(record) + "\n" for record in records))
    print(f"{len(records)} kernels, {len(faults)} faults")
    print("\n".join(faults), end="")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

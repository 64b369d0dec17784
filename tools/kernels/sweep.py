"""Compiles many tile sizes of one op ahead of time and writes what each costs: `sweep.py OP OUT.jsonl`.

From this table the entries of `tiles.json` are chosen. The op's module in `cases` must have a function
`case(kernel, arch, dtype, width, tile=...)` and a table `KERNELS`.
"""

import argparse
import importlib
import itertools
import json
from pathlib import Path

from aot import as_record, inspect
from triton.compiler.errors import CompilationError
from triton.runtime.errors import PTXASError

from headway.core.ops.kernels.tiles import Tile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("op")
    parser.add_argument("out", type=Path)
    parser.add_argument("--arch", type=int, nargs="+", default=[80, 90])
    parser.add_argument("--width", type=int, nargs="+", default=[64, 32, 128])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--kernel", nargs="+", help="all of the op if left out")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--warps", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--stages", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    module = importlib.import_module(f"cases.{arguments.op}")
    tiles = [
        Tile(t, s, warps, stages)
        for t, s, warps, stages in itertools.product(
            arguments.sizes, arguments.sizes, arguments.warps, arguments.stages
        )
        if t * s <= 128 * 64 and t * s >= 32 * 8 * warps
    ]
    with arguments.out.open("w") as out:
        for width, arch, kernel, tile in itertools.product(
            arguments.width, arguments.arch, arguments.kernel or module.KERNELS, tiles
        ):
            case = module.case(kernel, arch, arguments.dtype, width, tile=tile)
            try:
                report = inspect(case)
            except (CompilationError, PTXASError, RuntimeError) as error:
                print(f"{case.kernel} {arch} {width} {tile}: {error}".splitlines()[0])
                continue
            out.write(json.dumps(as_record(case, report) | {"faults": report.faults(case)}) + "\n")
            out.flush()


if __name__ == "__main__":
    main()

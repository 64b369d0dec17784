"""Compiles every kernel ahead of time and checks its binary; needs no GPU.

Prints a table; exit 1 if a kernel for a gated architecture spills registers, needs more shared memory than
there is, misses the tensor cores or loads more than 1.5 times what any algorithm must. Elsewhere a fault
stands in the table. Compiled kernels stay in Triton's cache, so a second run is quick.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from headway.core.ops.kernels import interpreted

COLUMNS = (
    *("op", "kernel", "arch", "dtype", "width", "t", "s", "warps", "stages", "registers", "spills"),
    *("shared", "limit", "tensor_cores", "occupancy", "loaded/minimal", "unfused/minimal"),
    *("roofline", "shape"),
)
GATED = (80, 90)
OTHERS = (86, 100, 120, "gfx942")


def architecture(name: str) -> int | str:
    return int(name) if name.isdigit() else name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="bfloat16, width 64, gated ones only")
    parser.add_argument("--arch", type=architecture, nargs="+", default=[*GATED, *OTHERS])
    parser.add_argument("--dtype", nargs="+", default=["float16", "bfloat16"])
    parser.add_argument("--width", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--op", nargs="+", help="names of modules in cases; all if left out")
    parser.add_argument("--kernel", nargs="+", help="only kernels whose names begin so")
    parser.add_argument("--out", type=Path, help="also write the rows here, one JSON object each")
    arguments = parser.parse_args()
    if interpreted():
        print("TRITON_INTERPRET is set, so there is nothing to compile; unset it", file=sys.stderr)
        return 2
    from aot import as_record, inspect
    from cases import OPS, cases

    if arguments.quick:
        arguments.arch, arguments.dtype, arguments.width = [*GATED], ["bfloat16"], [64]
    prefixes = tuple(arguments.kernel or [""])
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS), flush=True)
    records: list[dict[str, Any]] = []
    faults: dict[bool, list[str]] = {True: [], False: []}
    for case in cases(arguments.arch, arguments.dtype, arguments.width, arguments.op or OPS):
        if not case.kernel.startswith(prefixes):
            continue
        report = inspect(case)
        records.append(as_record(case, report))
        found = report.faults(case)
        records[-1]["faults"] = found
        print("| " + " | ".join(str(records[-1][name]) for name in COLUMNS) + " |", flush=True)
        where = f"{case.op}.{case.kernel} {records[-1]['arch']} {case.dtype} width {case.width}"
        faults[case.arch in GATED] += [f"{where}: {fault}" for fault in found]
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(record) + "\n" for record in records))
    gated, other = faults[True], faults[False]
    print(f"{len(records)} kernels, {len(gated)} faults; {len(other)} outside the gate")
    print("\n".join([*gated, *(f"(outside the gate) {fault}" for fault in other)]))
    return 1 if gated else 0


if __name__ == "__main__":
    sys.exit(main())

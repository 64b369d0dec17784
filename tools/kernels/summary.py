"""Writes what the audit found as a page: `summary.py AUDIT.jsonl... > docs/kernels_audit.md`.

The files come from `audit.py --out`.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
TARGETS = ("sm_80", "sm_90", "sm_86", "sm_100", "sm_120", "gfx942")
SHOWN = (
    *("kernel", "arch", "t", "s", "warps", "stages", "registers", "spills", "shared", "limit"),
    *("tensor_cores", "occupancy", "loaded/minimal", "unfused/minimal", "roofline"),
)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def totals(rows: list[Row]) -> str:
    """How many kernels of each op compiled for each target, and how many of them have a fault."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        count = counts[row["op"], row["arch"]]
        count[0] += 1
        count[1] += bool(row["faults"])
    ops = sorted({op for op, _ in counts})

    def cell(op: str, target: str) -> str:
        made, faulty = counts[op, target]
        return f"{made}, {faulty} with faults" if faulty else str(made)

    return table(["op", *TARGETS], ([op, *(cell(op, target) for target in TARGETS)] for op in ops))


def page(rows: list[Row]) -> str:
    shown = [row for row in rows if row["arch"] in TARGETS[:2] and row["width"] == 64]
    shown = [row for row in shown if row["dtype"] == "bfloat16"]
    parts = [
        "# What the binaries of the kernels hold",
        "Written by `tools/kernels/summary.py` from the output of `tools/kernels/audit.py`; "
        "[kernels.md](kernels.md) says what the columns mean and what was tried against the faults.",
        f"## All {len(rows)} kernels\n\nfloat16 and bfloat16, every width that an op takes.",
        totals(rows),
        "## bfloat16, width 64",
    ]
    for op in sorted({row["op"] for row in shown}):
        own = [row for row in shown if row["op"] == op]
        shapes = sorted({row["shape"] for row in own if row["shape"]})
        parts.append(f"### {op}\n\n" + (f"Shapes: {'; '.join(shapes)}." if shapes else ""))
        parts.append(table(SHOWN, ([row[name] for name in SHOWN] for row in own)))
    faulty = [row for row in rows if row["faults"]]
    parts.append("## Faults\n\nNone is in what is gated, sm_80 and sm_90, unless it is named here.")
    names = ("op", "kernel", "arch", "dtype", "width")
    lines = ([*(row[name] for name in names), "; ".join(row["faults"])] for row in faulty)
    parts.append(table([*names, "fault"], lines))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    # A kernel that was compiled again counts as it was the last time.
    rows: dict[tuple[object, ...], Row] = {}
    for path in parser.parse_args().files:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[tuple(row[name] for name in ("op", "kernel", "arch", "dtype", "width"))] = row
    print(page(list(rows.values())), end="")


if __name__ == "__main__":
    main()

"""Measures the tests that train, with many seeds, with the C++ kernels and without.

    python tools/portable/seeds.py [FILE ...] [--seeds 0,1,2,3,4]

It prints a Markdown table: the bound of each number, its worst value either way, what is left up to the bound
as a share of the worst value, and seconds per seed. The exit status is 1 if a test fails.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from run import LEARNS, ROOT, environment, learners

WAYS = {"plain": "no C++ kernels", "fast": "as it is"}
Key = tuple[str, str]  # a test, and what it measures with its bound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, usage="%(prog)s [file ...]")
    parser.add_argument("files", nargs="*", help="files with tests; all that train if none")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--jobs", type=int, default=1, help="tests that run side by side")
    parser.add_argument("-k", default="", help="as pytest's")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), help="plain, fast or a setting")
    args = parser.parse_args()
    found: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    seconds: dict[str, list[float]] = defaultdict(list)
    failed = 0
    for way in args.ways:
        failed |= measure(way, args, found, seconds)
    print(f"| test | bound | {' | '.join(f'worst {way}' for way in args.ways)} | margin | s |")
    print("|---" * (len(args.ways) + 4) + "|")
    for (test, bound), values in found.items():
        best = min if ">" in bound else max
        worst = {way: best(values[way]) if values[way] else float("nan") for way in args.ways}
        limit = float(bound.split()[-1])
        left = abs(limit - best(worst.values())) / max(abs(limit), 1e-30)
        cells = [test, bound, *(f"{worst[way]:.3g}" for way in args.ways), f"{left:.0%}"]
        mean = sum(seconds[test]) / len(seconds[test])
        print("| " + " | ".join([*cells, f"{mean:.1f}"]) + " |")
    return failed


def measure(way: str, args: argparse.Namespace, found: dict, seconds: dict) -> int:
    """Runs the tests one way and adds what they measured."""
    with tempfile.TemporaryDirectory() as folder, environment(WAYS.get(way, way)) as variables:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", LEARNS, "-n", str(args.jobs)]
        command += ["-p", "no:cacheprovider", f"--junitxml={report}", "-ojunit_family=xunit1"]
        command += [f"--seeds={args.seeds}", "-k", args.k, *(args.files or learners())]
        run = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
        if run.returncode:
            print(f"{way}:\n{run.stdout[-3000:]}{run.stderr[-1000:]}", file=sys.stderr)
        if not report.exists():
            return 1
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.get("classname", "").rsplit(".", 1)[-1] + "::" + case.get("name", "")
            test = re.sub(r"-seed\d+|seed\d+-|\[seed\d+\]", "", name)
            seconds[test].append(float(case.get("time", 0)))
            for item in case.iter("property"):
                value = float(item.get("value", "nan"))
                found[test, item.get("name", "")][way].append(value)
    return int(run.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())

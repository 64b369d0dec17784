"""What it costs to import headway.timeseries, against torch: process CPU time, interleaved, least of several.

python tools/bench/imports.py [--rounds 5]
"""

import argparse
import resource
import subprocess
import sys

STATEMENTS = (
    "import torch",
    "import headway.timeseries",
    "import headway.timeseries.models",
    "from headway.timeseries import Forecaster",
)


def seconds(statement: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found = [[seconds(statement) for statement in STATEMENTS] for _ in range(rounds)]
    least = [min(each) for each in zip(*found, strict=True)]
    print("| | CPU s | more than torch |")
    print("|---|---|---|")
    for statement, time in zip(STATEMENTS, least, strict=True):
        print(f"| `{statement}` | {time:.2f} | {time - least[0]:+.2f} |")


if __name__ == "__main__":
    main()

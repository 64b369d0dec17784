"""Runs the tests that depend on the machine as other machines would run them.

    python tools/portable/run.py [SETTING ...]

These are the tests of the ops and parts of core that meet kernels, and those marked `learns`. It prints one
line per setting; the exit status is 1 if one of them fails.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
MARK = "pytest.mark.learns"
LEARNS = "learns and not slow and not gpu and not interpret"
COMPILERS = ("c++", "g++", "clang++", "gcc", "cc", "clang")
OPS = ("native", "decode", "attention", "neighbourhood", "scan", "window_attention", "dropout")
# Slower than the rest together, and about graphs and binaries instead of numbers.
LEFT_OUT = ("ahead_of_time", "triton", "test_graphs")

# What is set around the tests. None takes a variable away.
SETTINGS: dict[str, dict[str, str | None]] = {
    "no C++ kernels": {"HEADWAY_NATIVE": "0"},
    "PyTorch without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "PyTorch with AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "vectors of 4 floats": {"HEADWAY_VECTOR": "4"},
    "vectors of 8 floats": {"HEADWAY_VECTOR": "8"},
    "vectors of 16 floats": {"HEADWAY_VECTOR": "16"},
    "no compiler": {"CXX": None},
    "no Triton": {"PYTHONPATH": str(HERE / "without_triton")},
    "two threads": {"OMP_NUM_THREADS": "2"},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, usage="%(prog)s [setting ...]")
    parser.add_argument("settings", nargs="*", help=f"any of {list(SETTINGS)}; all if none")
    parser.add_argument("--jobs", type=int, default=2, help="tests that run side by side")
    args = parser.parse_args()
    unknown = [name for name in args.settings if name not in SETTINGS]
    if unknown:
        parser.error(f"no setting is called {unknown[0]!r}; there are {list(SETTINGS)}")
    failed = [name for name in args.settings or SETTINGS if not passes(name, args.jobs)]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


def passes(name: str, jobs: int) -> bool:
    """Runs the tests in a setting and prints a line; if they fail, what they said as well."""
    start = time.monotonic()
    with environment(name) as variables:
        jobs = max(1, jobs // int(variables["OMP_NUM_THREADS"]))
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(jobs), "--dist", "worksteal"]
        command += ["-p", "no:cacheprovider"]
        choices = ([*kernels(), "-k", "not compile and not export"], [*learners(), "-m", LEARNS])
        runs = [
            subprocess.run(
                [*command, *choice], cwd=ROOT, env=variables, capture_output=True, text=True
            )
            for choice in choices
        ]
    said = [run.stdout.strip().splitlines() or ["nothing was printed"] for run in runs]
    seconds = time.monotonic() - start
    good = all(run.returncode == 0 for run in runs)
    counts = "; ".join(lines[-1].strip("= ") for lines in said)
    print(f"{'ok    ' if good else 'FAILED'} {name:24} {counts} ({seconds:.0f} s)", flush=True)
    for run, lines in zip(runs, said, strict=True):
        if run.returncode:
            print("\n".join([*lines[-60:], run.stderr[-2000:]]), flush=True)
    return good


@contextmanager
def environment(name: str) -> Iterator[dict[str, str]]:
    """The variables of a setting; those of this machine where the name is none."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    for key, value in SETTINGS.get(name, {}).items():
        if value is None:
            variables.pop(key, None)
        else:
            variables[key] = value
    with tempfile.TemporaryDirectory() as folder:
        if name == "no compiler":
            variables["PATH"] = without_compilers(Path(folder), variables["PATH"])
        yield variables


def without_compilers(folder: Path, path: str) -> str:
    """A folder with all programs of a path but the compilers."""
    for place in path.split(os.pathsep):
        for program in sorted(Path(place).glob("*")) if place else []:
            link = folder / program.name
            is_compiler = any(part in COMPILERS for part in program.name.split("-"))
            if not is_compiler and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


def kernels() -> list[str]:
    """Files with the tests of kernels and of what calls them."""
    core = ROOT / "packages" / "core" / "tests"
    found = [path for name in OPS for path in sorted((core / "ops" / name).glob("test_*.py"))]
    found += [core / "parts" / "test_every_part.py", core / "parts" / "test_mixers.py"]
    return [str(path) for path in found if not any(word in path.name for word in LEFT_OUT)]


def learners() -> list[str]:
    """Files in which something is trained until it does what is claimed of it."""
    found = sorted((ROOT / "packages").glob("*/tests/**/test_*.py"))
    return [str(path) for path in found if MARK in path.read_text()]


if __name__ == "__main__":
    sys.exit(main())

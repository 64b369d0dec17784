"""Kernels of every op compile for GPUs that are not there, without faults."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
TOOLS = Path(__file__).parents[4] / "tools" / "kernels"
# Attention has a test of its own; what is left out here, `make test-all` compiles.
KERNELS = {
    "decode": [],
    "deformable_attention": [],
    "linear_attention": [],
    "neighbourhood": ["--kernel", "forward", "table"],
    "probsparse": [],
    "scan": [],
    "window_attention": [],
}


def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
    # The interpreter's flag would leave nothing to compile.
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "audit.py", "--quick", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=TOOLS)


# By far the most variants.
SLOW = {"linear_attention"}


@pytest.mark.parametrize(
    "op", [pytest.param(op, marks=[pytest.mark.slow] * (op in SLOW)) for op in KERNELS]
)
def test_kernels_compile_without_faults(op: str) -> None:
    done = audit("--op", op, *KERNELS[op])
    assert done.returncode == 0, done.stdout + done.stderr
    assert " kernels, 0 faults; 0 outside the gate" in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith(f"| {op}")]
    assert {"sm_80", "sm_90"} == {row.split("|")[3].strip() for row in rows}


def test_every_op_is_here() -> None:
    cases = {path.stem for path in (TOOLS / "cases").glob("*.py")} - {"__init__", "attention"}
    assert cases == set(KERNELS)

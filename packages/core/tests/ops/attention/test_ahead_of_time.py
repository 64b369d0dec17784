"""Kernels compile for GPUs that are not there, and the audit finds what is wrong with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway.core.ops.attention.triton.tiles import KERNELS, tile_for

pytest.importorskip("triton")
TOOLS = Path(__file__).parents[5] / "tools" / "kernels"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    # The interpreter's flag would leave nothing to compile.
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=env, cwd=TOOLS
    )


def test_kernels_compile_without_spills_and_with_tensor_cores() -> None:
    done = run("audit.py", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kernels, 0 faults" in done.stdout
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| forward")]
    assert {row[2].strip() for row in rows} == {"sm_80", "sm_90"}
    assert all(int(row[14]) > 0 for row in rows)


def test_a_tile_that_spills_is_found() -> None:
    code = """
from aot import Case, inspect
from headway.core.ops.attention.triton.tiles import Tile
case = Case("key_value", 80, "bfloat16", 128, Tile(64, 64, 4, 1))
print(inspect(case).faults(case))
"""
    done = run("-c", code)
    assert "spills" in done.stdout, done.stdout + done.stderr


def test_the_audit_refuses_to_run_interpreted() -> None:
    done = subprocess.run(
        [sys.executable, TOOLS / "audit.py"],
        capture_output=True,
        text=True,
        env=os.environ | {"TRITON_INTERPRET": "1"},
    )
    assert done.returncode == 2
    assert "unset it" in done.stderr


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("arch", [0, 80, 86, 89, 90, 100, 120])
def test_every_architecture_type_and_width_has_a_tile(kernel: str, arch: int) -> None:
    for single in (False, True):
        for block_d in (16, 32, 64, 128):
            tile = tile_for(kernel, arch=arch, single=single, block_d=block_d)
            assert tile.t >= 16
            assert tile.s >= 16

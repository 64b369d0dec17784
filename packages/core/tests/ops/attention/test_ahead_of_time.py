"""Kernels compile for GPUs that are not there, and the audit finds what is wrong with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
TOOLS = Path(__file__).parents[5] / "tools" / "kernels"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    # The interpreter's flag would leave nothing to compile.
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=env, cwd=TOOLS
    )


def test_kernels_compile_without_spills_and_with_tensor_cores() -> None:
    done = run("audit.py", "--quick", "--op", "attention", "--kernel", "forward", "bias")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 faults; 0 outside the gate" in done.stdout
    header, *rows = [
        [cell.strip() for cell in line.split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("| attention") or line.startswith("| op")
    ]
    rows = [dict(zip(header, row, strict=True)) for row in rows]
    assert {row["arch"] for row in rows} == {"sm_80", "sm_90"}
    assert {row["kernel"].split()[0] for row in rows} == {"forward", "bias"}
    assert all(int(row["tensor_cores"]) > 0 for row in rows)


def test_a_tile_that_spills_is_found() -> None:
    code = """
from aot import inspect
from cases.attention import case
from headway.core.ops.kernels.tiles import Tile
wrong = case("key_value", 80, "bfloat16", 128, tile=Tile(64, 64, 4, 1))
print(inspect(wrong).faults(wrong))
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


def test_what_is_compiled_is_what_a_launch_would_compile() -> None:
    code = """
from absent import specialise
from aot import source
from cases.attention import SETS, launch_of, case

pairs = {"forward": "none", "query": "language", "key_value": "packed", "table": "vision", "distance": "shift"}
for kernel, options in pairs.items():
    function, arguments, constants, _ = launch_of(kernel, 80, "bfloat16", 32, options)
    launched = specialise(function, arguments, constants, 80)
    compiled = source(case(kernel, 80, "bfloat16", 32, options=options))
    assert launched.signature == compiled.signature, kernel
    assert launched.constants == compiled.constants, kernel
    assert {k: v for k, v in launched.attrs.items() if v} == compiled.attrs, kernel
    print(kernel)
"""
    done = run("-c", code)
    assert done.stdout.split() == ["forward", "query", "key_value", "table", "distance"], (
        done.stdout + done.stderr
    )

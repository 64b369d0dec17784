"""The kernels compile for GPUs that are not there, without faults."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
TOOLS = Path(__file__).parents[5] / "tools" / "kernels"


def test_kernels_compile_without_spills_and_with_tensor_cores() -> None:
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "audit.py", "--quick", "--op", "linear_attention"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=TOOLS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 kernels, 0 faults; 0 outside the gate" in done.stdout

"""Compiles attention kernels for a GPU that need not be there, and reads the binary."""

import re
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler import compile as compile_kernel

from headway.core.ops.attention.triton.backward import (
    delta_kernel,
    key_value_kernel,
    query_kernel,
)
from headway.core.ops.attention.triton.bias import bias_kernel
from headway.core.ops.attention.triton.forward import forward_kernel
from headway.core.ops.attention.triton.tiles import Tile

_KERNELS: dict[str, Any] = {
    "forward": forward_kernel,
    "delta": delta_kernel,
    "key_value": key_value_kernel,
    "query": query_kernel,
    "bias": bias_kernel,
}
_TYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
# Bytes of shared memory that one program can have, by compute capability times ten.
SHARED_LIMIT = {80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448, 100: 232_448, 120: 101_376}
_TENSOR_CORES = re.compile(r"\b(HMMA|HGMMA|UTCHMMA)\b")
_SPILLS = re.compile(r"\b(STL|LDL)\b")
_FLOATS = ("lse", "delta", "grad_lse", "partial")
_SCALARS = ("scale", "scale_log2")
_SIZES = ("B", "H", "T", "S", "bias_b", "bias_h", "visits", "shift")


@dataclass(frozen=True)
class Case:
    """One kernel for one architecture.

    Args:
        kernel: Name of the kernel.
        arch: Compute capability times ten.
        dtype: Name of the inputs' type.
        width: Head width.
        tile: Launch shape.
        plain: Without bias, lengths and causal; otherwise with all three.
        groups: Query heads per key head.
        ones: With all sizes equal to one, which a launch turns into constants.
    """

    kernel: str
    arch: int
    dtype: str
    width: int
    tile: Tile
    plain: bool = False
    groups: int = 1
    ones: bool = False


@dataclass(frozen=True)
class Report:
    """What the binary of a case holds.

    Args:
        registers: Per thread.
        spills: Instructions that store to or load from local memory.
        local: Bytes of local memory per thread.
        shared: Bytes of shared memory per program.
        tensor_cores: Instructions that run on tensor cores.
    """

    registers: int
    spills: int
    local: int
    shared: int
    tensor_cores: int

    def faults(self, case: Case) -> list[str]:
        """What breaks the gate, in words."""
        found = []
        if self.spills or self.local:
            found.append(f"spills ({self.spills} instructions, {self.local} bytes)")
        if self.shared > SHARED_LIMIT[case.arch]:
            found.append(f"shared memory {self.shared} > {SHARED_LIMIT[case.arch]}")
        if case.kernel != "delta" and case.dtype != "float32" and not self.tensor_cores:
            found.append("no tensor cores")
        return found


def inspect(case: Case) -> Report:
    """Compiles a case (or takes it from Triton's cache) and reads its binary."""
    kernel = _KERNELS[case.kernel]
    source = _source(kernel, case)
    options = {"num_warps": case.tile.warps, "num_stages": case.tile.stages}
    compiled = compile_kernel(source, target=GPUTarget("cuda", case.arch, 32), options=options)
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        usage = _cuobjdump("--dump-resource-usage", cubin)
        sass = _cuobjdump("-sass", cubin)
    return Report(
        registers=_number(usage, "REG"),
        spills=len(_SPILLS.findall(sass)),
        local=_number(usage, "LOCAL"),
        shared=compiled.metadata.shared,
        tensor_cores=len(_TENSOR_CORES.findall(sass)),
    )


def _source(kernel: Any, case: Case) -> ASTSource:
    on = not case.plain
    constants = {
        "GROUPS": case.groups,
        "D": case.width,
        "BLOCK_D": max(16, triton.next_power_of_2(case.width)),
        "BLOCK_T": case.tile.t,
        "BLOCK_S": case.tile.s,
        "HAS_BIAS": on or case.kernel == "bias",
        "HAS_LENGTHS": on,
        "HAS_GRAD_LSE": on,
        "CAUSAL": on,
        "PRECISION": "ieee",
        "ONE_T": False,
        "ONE_S": False,
        # What a launch finds to be 1 becomes a constant; so it is for a bias with dense rows.
        "stride_bias_s": 1,
    }
    if case.ones:
        constants |= dict.fromkeys(_SIZES, 1) | {"ONE_T": True, "ONE_S": True}
    if not constants["HAS_BIAS"]:
        constants["bias"] = None
    if not on:
        constants |= {"lengths": None, "grad_lse": None}
    constants = {name: constants[name] for name in kernel.arg_names if name in constants}
    signature = {name: _type(name, case.dtype) for name in kernel.arg_names}
    signature |= dict.fromkeys(constants, "constexpr")
    # A launch finds these to be multiples of 16; the rows of a bias need not be.
    aligned = {
        (number,): [["tt.divisibility", 16]]
        for number, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*")
        or (name.startswith("stride_") and name not in constants and "bias" not in name)
    }
    return ASTSource(kernel, signature=signature, constexprs=constants, attrs=aligned)


def _type(name: str, dtype: str) -> str:
    if name in _FLOATS:
        return "*fp32"
    if name == "lengths":
        return "*i64"
    if name in _SCALARS:
        return "fp32"
    pointers = ("query", "key", "value", "bias", "out")
    if name in pointers or name.startswith("grad_"):
        return "*" + _TYPES[dtype]
    return "i32"


def _cuobjdump(option: str, cubin: Path) -> str:
    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    run = subprocess.run([program, option, cubin], capture_output=True, text=True, check=True)
    return run.stdout


def _number(text: str, name: str) -> int:
    found = re.search(rf"\b{name}:(\d+)", text)
    if found is None:
        raise RuntimeError(f"cuobjdump names no {name}")
    return int(found.group(1))


def as_record(case: Case, report: Report) -> dict[str, Any]:
    """One row of the table."""
    tile = asdict(case.tile)
    return {
        "kernel": case.kernel,
        "arch": f"sm_{case.arch}",
        "dtype": case.dtype,
        "width": case.width,
        "options": "none" if case.plain else "all",
        **tile,
        **asdict(report),
        "limit": SHARED_LIMIT[case.arch],
    }

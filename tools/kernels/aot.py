"""Compiles kernels for a GPU that need not be there, and reads the binary."""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from devices import DEVICES, Device
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler import compile as compile_kernel

_TENSOR_CORES = re.compile(r"\b(HMMA|HGMMA|UTCHMMA)\b")
_SPILLS = re.compile(r"\b(STL|LDL)\b")
# AMD's matrix cores, and what its assembler says of a kernel.
_MATRIX_CORES = re.compile(r"\bv_(?:mfma|wmma|smfmac)_")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kernel for one architecture.

    Args:
        op: Name of the op.
        kernel: Name of the kernel within the op, and of the options that it is compiled with.
        function: The kernel.
        arch: Compute capability times ten, or the name of an AMD architecture.
        dtype: Name of the inputs' type.
        width: Head width, or what else the tiles go by.
        signature: Triton's type of each argument that is not a constant ("*bf16", "i32", "fp32"); for a
            group of arguments a tuple of types, in which a constant is "constexpr".
        constants: Values of the constants, arguments that a launch finds to be 1 or None included. A
            member of a group goes by a path: the name of the group, then the places in it.
        aligned: Names or paths of the arguments that a launch finds to be multiples of 16, pointers
            included.
        warps: Warps per program.
        stages: Depth of the software pipeline.
        tensor_cores: Whether the kernel must use tensor cores.
        shape: The typical shape that the next four are for, in words.
        loaded: Bytes that the tiles read and write.
        minimal: Bytes that any algorithm must read and write.
        unfused: Bytes that the same work moves in separate operations.
        flops: Floating-point operations of its matrix products.
    """

    op: str
    kernel: str
    function: Any
    arch: int | str
    dtype: str
    width: int
    signature: Mapping[str, Any]
    constants: Mapping[Any, Any]
    aligned: frozenset[Any]
    warps: int
    stages: int
    tensor_cores: bool = True
    shape: str = ""
    loaded: int = 0
    minimal: int = 0
    unfused: int = 0
    flops: int = 0

    @property
    def device(self) -> Device:
        """What is known of the architecture."""
        return DEVICES[self.arch]


@dataclass(frozen=True)
class Report:
    """What the binary of a case holds.

    Args:
        registers: Per thread.
        spills: Instructions (AMD: registers) that go to local memory.
        local: Bytes of local memory per thread.
        shared: Bytes of shared memory per program.
        tensor_cores: Instructions that run on tensor cores.
        occupancy: Share of the warps of a processor that fit at once.
    """

    registers: int
    spills: int
    local: int
    shared: int
    tensor_cores: int
    occupancy: float

    def faults(self, case: Case) -> list[str]:
        """What breaks the gate, in words."""
        found = []
        if self.spills or self.local:
            found.append(f"spills ({self.spills} instructions, {self.local} bytes)")
        if self.shared > case.device.shared_per_block:
            found.append(f"shared memory {self.shared} > {case.device.shared_per_block}")
        if case.tensor_cores and case.dtype != "float32" and not self.tensor_cores:
            found.append("no tensor cores")
        if case.minimal and case.loaded > 1.5 * case.minimal:
            found.append(f"loads {case.loaded / case.minimal:.2f} times the minimum")
        return found


def inspect(case: Case) -> Report:
    """Compiles a case (or takes it from Triton's cache) and reads its binary."""
    amd = isinstance(case.arch, str)
    target = GPUTarget("hip", case.arch, 64) if amd else GPUTarget("cuda", case.arch, 32)
    options = {"num_warps": case.warps, "num_stages": case.stages}
    compiled = compile_kernel(source(case), target=target, options=options)
    shared: int = compiled.metadata.shared
    if amd:
        text = compiled.asm["amdgcn"]
        registers = _number(text, r"\.vgpr_count:\s*(\d+)")
        spills = _number(text, r"\.vgpr_spill_count:\s*(\d+)")
        local = _number(text, r"\.private_segment_fixed_size:\s*(\d+)")
        cores = len(_MATRIX_CORES.findall(text))
    else:
        with tempfile.TemporaryDirectory() as folder:
            cubin = Path(folder) / "kernel.cubin"
            cubin.write_bytes(compiled.asm["cubin"])
            usage = _cuobjdump("--dump-resource-usage", cubin)
            sass = _cuobjdump("-sass", cubin)
        registers = _number(usage, r"\bREG:(\d+)")
        spills = len(_SPILLS.findall(sass))
        local = _number(usage, r"\bLOCAL:(\d+)")
        cores = len(_TENSOR_CORES.findall(sass))
    occupancy = case.device.occupancy(registers, shared, case.warps)
    return Report(registers, spills, local, shared, cores, occupancy)


def source(case: Case) -> ASTSource:
    """What Triton compiles for a case."""
    names: list[str] = case.function.arg_names
    number = {name: place for place, name in enumerate(names)}

    def path(key: str | tuple[Any, ...]) -> tuple[int, ...]:
        name, *inner = (key,) if isinstance(key, str) else key
        return (number[name], *inner)

    constants = {
        path(key): value
        for key, value in case.constants.items()
        if (key if isinstance(key, str) else key[0]) in number
    }
    given = {place[0] for place in constants if len(place) == 1}
    missing = [n for n in names if number[n] not in given and n not in case.signature]
    if missing:
        raise KeyError(f"{case.op}.{case.kernel}: no type and no value for {', '.join(missing)}")
    signature = {n: "constexpr" if number[n] in given else case.signature[n] for n in names}
    aligned = {
        path(key): [["tt.divisibility", 16]]
        for key in case.aligned
        if (key if isinstance(key, str) else key[0]) in number and path(key) not in constants
    }
    return ASTSource(case.function, signature=signature, constexprs=constants, attrs=aligned)


def _cuobjdump(option: str, cubin: Path) -> str:
    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    run = subprocess.run([program, option, cubin], capture_output=True, text=True, check=True)
    return run.stdout


def _number(text: str, pattern: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"the compiler's output has nothing like {pattern!r}")
    return int(found.group(1))


def as_record(case: Case, report: Report) -> dict[str, Any]:
    """One row of the table."""
    time, bound = case.device.roofline(case.flops, case.minimal)
    return {
        "op": case.op,
        "kernel": case.kernel,
        "arch": case.arch if isinstance(case.arch, str) else f"sm_{case.arch}",
        "dtype": case.dtype,
        "width": case.width,
        "t": case.constants.get("BLOCK_T", ""),
        "s": case.constants.get("BLOCK_S", ""),
        "warps": case.warps,
        "stages": case.stages,
        "registers": report.registers,
        "spills": report.spills,
        "shared": report.shared,
        "limit": case.device.shared_per_block,
        "tensor_cores": report.tensor_cores,
        "occupancy": f"{report.occupancy:.2f}",
        "loaded/minimal": f"{case.loaded / case.minimal:.2f}" if case.minimal else "",
        "unfused/minimal": f"{case.unfused / case.minimal:.1f}" if case.minimal else "",
        "roofline": f"{time * 1e6:.1f} us ({bound})" if time else "",
        "shape": case.shape,
    }

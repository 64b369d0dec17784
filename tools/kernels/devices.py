"""What is known of the GPUs that kernels are compiled for, from the vendors' data sheets."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Device:
    """Limits of one multiprocessor, and the two roofs of the whole device.

    Args:
        shared_per_block: Bytes of shared memory that one program can have.
        shared: Bytes of shared memory of a multiprocessor.
        registers: Registers of a multiprocessor.
        warps: Warps that it holds at once.
        blocks: Programs that it holds at once.
        lanes: Threads of a warp.
        bandwidth: Bytes per second of device memory; 0 where no roof is drawn.
        flops: Half-precision tensor-core operations per second, dense.
    """

    shared_per_block: int
    shared: int
    registers: int = 65_536
    warps: int
    blocks: int
    lanes: int = 32
    bandwidth: float = 0.0
    flops: float = 0.0

    def occupancy(self, registers: int, shared: int, warps: int) -> float:
        """Share of the warps that fit at once.

        Args:
            registers: Per thread; they are handed out by 256 to a warp.
            shared: Bytes per program, to which the system adds 1 KiB.
            warps: Per program.
        """
        per_warp = math.ceil(max(registers, 1) * self.lanes / 256) * 256
        fitting = [
            self.registers // per_warp // warps,
            self.shared // (shared + 1024),
            self.warps // warps,
            self.blocks,
        ]
        return min(fitting) * warps / self.warps

    def roofline(self, flops: int, moved: int) -> tuple[float, str]:
        """The least seconds that the work can take, and which roof says so."""
        if not self.bandwidth or not moved:
            return 0.0, ""
        compute, memory = flops / self.flops, moved / self.bandwidth
        return (compute, "compute") if compute > memory else (memory, "memory")


# Shared memory: CUDA C++ programming guide, technical specifications per compute capability.
# Roofs: A100 SXM 80 GB and H100 SXM data sheets. The figures of gfx942 are those of a compute unit of MI300.
DEVICES: dict[int | str, Device] = {
    80: Device(
        shared_per_block=166_912,
        shared=167_936,
        warps=64,
        blocks=32,
        bandwidth=2.039e12,
        flops=312e12,
    ),
    86: Device(shared_per_block=101_376, shared=102_400, warps=48, blocks=16),
    89: Device(shared_per_block=101_376, shared=102_400, warps=48, blocks=24),
    90: Device(
        shared_per_block=232_448,
        shared=233_472,
        warps=64,
        blocks=32,
        bandwidth=3.35e12,
        flops=989e12,
    ),
    100: Device(shared_per_block=232_448, shared=233_472, warps=64, blocks=32),
    120: Device(shared_per_block=101_376, shared=102_400, warps=48, blocks=24),
    "gfx942": Device(
        shared_per_block=65_536, shared=65_536, registers=131_072, warps=32, blocks=32, lanes=64
    ),
}

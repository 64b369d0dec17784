"""A driver for a GPU that is not there: launches are specialised and compiled as on one, and end there."""

from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase


class AbsentDriver(DriverBase):
    """Claims a CUDA device of some architecture."""

    def __init__(self, arch: int) -> None:
        self.arch = arch

    @classmethod
    def is_active(cls) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Always."""
        return True

    def get_current_target(self) -> GPUTarget:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The architecture that was asked for."""
        return GPUTarget("cuda", self.arch, 32)

    def get_active_torch_device(self) -> torch.device:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Where tensors have no memory."""
        return torch.device("meta")

    def get_current_device(self) -> int:
        """The only one."""
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        """The only one."""
        del device
        return 0

    def get_benchmarker(self) -> Any:
        """Nothing can be measured."""
        raise RuntimeError("there is no device to measure on")

    def get_device_interface(self) -> Any:
        """The processor stands in."""
        return torch.cpu

    def map_python_to_cpp_type(self, ty: str) -> str:
        """For a launcher that is never built."""
        return ty


def specialise(
    kernel: Any, arguments: tuple[Any, ...], constants: dict[str, Any], arch: int
) -> Any:
    """What the just-in-time compiler makes of a launch: the source with signature, constants, attributes."""
    triton.runtime.driver.set_active(AbsentDriver(arch))
    return kernel.warmup(*arguments, **constants, grid=(1,)).src

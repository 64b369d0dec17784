"""What kernels of all ops are compiled for."""

import torch
import triton
from torch import Tensor


def padded(width: int) -> int:
    """The side of a tile that holds rows of this width: no less than tensor cores multiply."""
    return max(16, triton.next_power_of_2(width))


def precision(tensor: Tensor) -> str:
    """How products of tensors of this type are made: float32 as torch is set, narrow ones exactly."""
    exact = tensor.dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest"
    return "ieee" if exact else "tf32"

"""Tensors laid out as kernels read them."""

from torch import Tensor


def dense_rows(tensor: Tensor) -> Tensor:
    """The tensor with neighbouring features side by side; a copy only if they are not."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()

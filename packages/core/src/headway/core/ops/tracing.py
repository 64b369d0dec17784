"""What may be asked of tensors while a graph is made of them."""

import torch
from torch import Tensor


def readable(numbers: Tensor) -> bool:
    """Whether the values can be looked at; doing so would stall a GPU and break a trace."""
    return (
        numbers.is_cpu
        and type(numbers) is Tensor
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )

"""What may be asked of tensors while a graph is made of them."""

from typing import TypeVar, cast

import torch
from torch import Tensor

from headway.core.private_torch import in_transform, mark_constant

Function = TypeVar("Function")


def readable(numbers: Tensor) -> bool:
    """Whether the values can be looked at; doing so would stall a GPU and break a trace."""
    return (
        numbers.is_cpu
        and type(numbers) is Tensor
        and not torch.compiler.is_compiling()
        and not in_transform()
    )


def settled(x: Tensor) -> Tensor:
    """The same numbers, in a graph that is exported with plain strides.

    Where a number of tokens is computed from a free one (by strides of a convolution), what follows would
    compare it with other strides of a transposed view, and the answer would bind the free one.
    """
    return x.contiguous() if torch.compiler.is_exporting() else x


def at_least(number: int) -> int:
    """The same number, in a graph that is exported one about which no more is known than that it is as large.

    What follows divides by it, as a transform does by its length, and a tracer cannot divide sums that are
    computed from a free number (by strides of a convolution) by each other.
    """
    if not torch.compiler.is_exporting() or isinstance(number, int):
        return number
    length = cast(int, torch.scalar_tensor(number, dtype=torch.int64).item())
    torch._check(length >= number)
    return length


def constant(function: Function) -> Function:
    """Marks a function whose answer a tracer takes as it is, instead of following it."""
    mark_constant(function)
    return function

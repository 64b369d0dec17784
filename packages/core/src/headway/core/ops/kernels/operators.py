"""What the operators of all ops share: types under autocast, and vmap as a longer batch."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headway.core.ops.mapping import folded


def autocast_type(tensor: Tensor) -> torch.dtype | None:
    """The type that autocast gives to attention's inputs where the tensor lives; None if it is off."""
    device = tensor.device.type
    # The first question is about other devices; compilers of PyTorch 2.10 cannot trace it.
    if not torch.compiler.is_compiling() and not torch.amp.is_autocast_available(device):
        return None
    if not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def autocast(*tensors: Tensor) -> list[Tensor]:
    """The tensors in the type that autocast asks for where it is on, else in their common type."""
    dtype = autocast_type(tensors[0])
    if dtype is not None:
        return [x.to(dtype) if x.dtype in _NARROW else x for x in tensors]
    dtype = tensors[0].dtype
    for x in tensors[1:]:
        dtype = torch.promote_types(dtype, x.dtype)
    return [x.to(dtype) for x in tensors]


def without_autocast(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """Within it, products keep their types on the tensor's device: sums stay wide."""
    if autocast_type(tensor) is not None:
        return torch.autocast(tensor.device.type, enabled=False)
    return contextlib.nullcontext()


def fold_into_batch(operator: Any) -> None:
    """Registers vmap for an operator all of whose tensors begin with the batch.

    Args:
        operator: Of `torch.library.custom_op`, with tensors, optional tensors and plain values. Outputs
            without elements stand for what is missing and are handed on.
    """

    def mapped(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        size: int = info.batch_size
        arguments_folded = [
            folded(x, dim, size) if isinstance(x, Tensor) else x
            for x, dim in zip(arguments, in_dims, strict=True)
        ]
        outputs = operator(*arguments_folded)
        single = isinstance(outputs, Tensor)
        parts = [outputs] if single else list(outputs)
        unfolded = [
            x.unflatten(0, (size, -1)) if x.numel() else x.new_empty((size, *x.shape))
            for x in parts
        ]
        return (unfolded[0], 0) if single else (tuple(unfolded), (0,) * len(unfolded))

    operator.register_vmap(mapped)


def loop_over_batch(operator: Any) -> None:
    """Registers vmap as a loop, for an operator with a tensor that the whole batch shares.

    Args:
        operator: Of `torch.library.custom_op`, with several outputs.
    """

    def mapped(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        size: int = info.batch_size
        calls = [
            operator(
                *(
                    x if dim is None else x.select(dim, number)
                    for x, dim in zip(arguments, in_dims, strict=True)
                )
            )
            for number in range(size)
        ]
        outputs = tuple(torch.stack(parts) for parts in zip(*calls, strict=True))
        return outputs, (0,) * len(outputs)

    operator.register_vmap(mapped)


def register_flops(operator: Any, formula: Callable[..., int]) -> None:
    """Tells `torch.utils.flop_counter` how many operations an operator takes.

    Args:
        operator: Of `torch.library.custom_op`.
        formula: Gets the arguments with shapes in the place of tensors, and `out_shape`.
    """
    from torch.utils.flop_counter import register_flop_formula

    register_flop_formula(operator._opoverload._overloadpacket)(formula)


_NARROW = (torch.float32, torch.float16, torch.bfloat16)

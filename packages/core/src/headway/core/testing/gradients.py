"""Outputs and gradients of one function, so that two functions can be compared in all of them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor


def outputs_and_gradients(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    options: Mapping[str, object],
    *,
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Runs a function and differentiates it for a random gradient of its output.

    Args:
        function: Called with the inputs and, as keywords, the options.
        inputs: Tensors to differentiate.
        options: Further arguments; floating-point tensors among them are differentiated too.
        dtype: What floating-point tensors are cast to first; strides and broadcasts are kept.
        seed: Of the gradient of the output, which is the same for every dtype.

    Returns:
        "output" and each gradient under the position of its input or the name of its option.
    """
    given = [_leaf(x, dtype) for x in inputs]
    named = {
        name: _leaf(x, dtype) if isinstance(x, Tensor) and x.is_floating_point() else x
        for name, x in options.items()
    }
    output = function(*given, **named)
    generator = torch.Generator().manual_seed(seed)
    grad = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype)
    leaves = {str(number): x for number, x in enumerate(given)}
    leaves |= {n: x for n, x in named.items() if isinstance(x, Tensor) and x.requires_grad}
    grads = torch.autograd.grad(output, list(leaves.values()), grad, allow_unused=True)
    found = {"output": output.detach()}
    for (name, leaf), grad_leaf in zip(leaves.items(), grads, strict=True):
        found[name] = torch.zeros_like(leaf) if grad_leaf is None else grad_leaf
    return found


def _leaf(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    cast = tensor.detach()
    if dtype is not None and cast.dtype != dtype:
        # A cast in place of the same memory layout: expanded and transposed tensors stay so.
        wide = torch.empty_strided(cast.shape, cast.stride(), dtype=dtype, device=cast.device)
        base = cast.as_strided((_extent(cast),), (1,))
        wide.as_strided((_extent(cast),), (1,)).copy_(base)
        cast = wide
    return cast.requires_grad_()


def _extent(tensor: Tensor) -> int:
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in pairs) if tensor.numel() else 0

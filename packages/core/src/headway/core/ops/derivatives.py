"""Second derivatives of fused ops: the first ones again, through the plain reference."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def differentiate_gradients(
    function: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
    incoming: Sequence[Tensor | None],
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Differentiates the gradients of a function.

    Args:
        function: Takes the inputs and returns one output for each of `grads`; plain PyTorch.
        inputs: Its inputs; what is None stays None.
        grads: Gradients of its outputs; an output whose gradient is None does not count.
        wanted: Which inputs the first derivative was taken of.
        incoming: Gradients of those first derivatives, one for each input.

    Returns:
        Gradients of `inputs` and of `grads`.
    """
    with torch.enable_grad():
        leaves = [_leaf(x) for x in inputs]
        seeds = [_leaf(x) for x in grads]
        outputs = function(*leaves)
        pairs = [(o, g) for o, g in zip(outputs, seeds, strict=True) if g is not None]
        triples = zip(leaves, wanted, incoming, strict=True)
        asked = [(x, further) for x, want, further in triples if x is not None and want]
        first = torch.autograd.grad(
            [o for o, _ in pairs],
            [x for x, _ in asked],
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
        chained = [
            (grad, further)
            for grad, (_, further) in zip(first, asked, strict=True)
            if grad is not None and further is not None and grad.requires_grad
        ]
        every = [x for x in (*leaves, *seeds) if x is not None and x.requires_grad]
        second = iter(
            torch.autograd.grad(
                [grad for grad, _ in chained],
                every,
                [further for _, further in chained],
                allow_unused=True,
            )
            if chained
            else [None] * len(every)
        )
    found = [None if x is None or not x.requires_grad else next(second) for x in (*leaves, *seeds)]
    return found[: len(leaves)], found[len(leaves) :]


def _leaf(tensor: Tensor | None) -> Tensor | None:
    if tensor is None:
        return None
    tensor = tensor.detach()
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor

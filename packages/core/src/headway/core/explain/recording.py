"""One forward pass with everything that an explanation needs."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.taps import listen


class Recording(NamedTuple):
    """What a model reported.

    Args:
        answer: What the model returned.
        weights: Attention weights in the order of computation, (B, H, T, S) each.
        output: What the last block returned, (B, N, C).
    """

    answer: Any
    weights: list[Tensor]
    output: Tensor


def record_attention(model: nn.Module, *inputs: Any, gradients: bool) -> Recording:
    """Runs the model in evaluation mode and keeps its attention weights.

    Raises:
        UserError: If no mixer of the model reports weights.
    """
    weights: list[Tensor] = []
    outputs: list[Tensor] = []

    def keep(module: str, tap: str, value: Tensor) -> None:
        if gradients:
            value.retain_grad()
        (weights if tap == "weights" else outputs).append(value)

    training = model.training
    model.eval()
    try:
        # Frozen models are explained, too: something at the start of the graph must need gradients.
        with torch.set_grad_enabled(gradients), listen(model, "weights", "output", listener=keep):
            answer = model(*inputs)
    finally:
        model.train(training)
    if not weights or not outputs:
        raise UserError(
            f"{type(model).__name__} reports no attention weights; explanations by attention need "
            "mixers that attend"
        )
    return Recording(answer, weights, outputs[-1])


def square(weights: Tensor) -> bool:
    """Whether these are weights of tokens among themselves."""
    return weights.shape[-1] == weights.shape[-2]


def check_tokens(weights: list[Tensor]) -> int:
    """Returns the number of tokens, the same in every layer.

    Raises:
        UserError: If tokens were merged or dropped on the way.
    """
    numbers = {layer.shape[-1] for layer in weights if square(layer)}
    if len(numbers) != 1:
        raise UserError(
            f"the layers attend over different numbers of tokens ({sorted(numbers)}); "
            "explain the model without token reduction"
        )
    return numbers.pop()

"""One pass through a model with everything that an explanation needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import evaluating
from headway.core.taps import Listener, listen

Answer = Callable[[Any], Tensor]


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


def record_attention(
    model: nn.Module, inputs: Sequence[Any], keywords: Mapping[str, Any] | None
) -> Recording:
    """Runs the model in evaluation mode and keeps its attention weights.

    Raises:
        UserError: If no mixer of the model reports weights.
    """
    weights: list[Tensor] = []
    outputs: list[Tensor] = []

    def keep(module: str, tap: str, value: Tensor) -> None:
        (weights if tap == "weights" else outputs).append(value)

    answer = run_listening(model, inputs, keywords, ("weights", "output"), keep)
    if not weights or not outputs:
        raise UserError(
            f"{type(model).__name__} reports no attention weights; explanations by attention need "
            "mixers that attend, token_relevance explains any model"
        )
    return Recording(answer, weights, outputs[-1])


def run_listening(
    model: nn.Module,
    inputs: Sequence[Any],
    keywords: Mapping[str, Any] | None,
    taps: Sequence[str],
    listener: Listener,
) -> Any:
    """Calls the model in evaluation mode with somebody listening; returns what it returns."""
    with evaluating(model), listen(model, *taps, listener=listener):
        return model(*inputs, **(keywords or {}))


@contextmanager
def differentiable(model: nn.Module) -> Iterator[None]:
    """Lets gradients flow through the model, through a frozen one too, for as long as it is open."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    for parameter in frozen:  # something at the start of the graph must need gradients
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def chosen_answers(
    model: nn.Module, returned: Any, answer: Answer | None, target: int | Tensor | None
) -> Tensor:
    """Returns the answer of each item that is to be explained, (B,).

    Raises:
        UserError: If there are no answers (B, K), or the target does not exist.
    """
    answers = returned if answer is None else answer(returned)
    if not isinstance(answers, Tensor) or answers.ndim != 2:
        raise UserError(
            "an explanation needs answers (B, K); say with answer= which of what "
            f"{type(model).__name__} returns they are"
        )
    if target is None:
        chosen = answers.argmax(dim=1)
    else:
        chosen = torch.as_tensor(target, device=answers.device).expand(len(answers))
        if bool(((chosen < 0) | (chosen >= answers.shape[1])).any()):
            raise UserError(
                f"there are {answers.shape[1]} answers, numbered from 0; got target {target}"
            )
    return answers.gather(1, chosen[:, None])[:, 0]


def square(weights: Tensor) -> bool:
    """Whether these are weights of tokens among themselves."""
    return weights.shape[-1] == weights.shape[-2]


def check_tokens(recording: Recording) -> int:
    """Returns the number of tokens, the same in every layer and in what the last block returned.

    Raises:
        UserError: If tokens were merged or dropped on the way, or attend within windows.
    """
    items, tokens = recording.output.shape[:2]
    layers = [layer for layer in recording.weights if square(layer)]
    cut = next((layer for layer in layers if layer.shape[0] != items), None)
    if cut is not None:
        raise UserError(
            f"the model attends within windows ({cut.shape[0]} of {cut.shape[-1]} tokens for {items} "
            "items); token_relevance explains it"
        )
    numbers = {layer.shape[-1] for layer in layers}
    if numbers != {tokens}:
        raise UserError(
            f"the layers attend over different numbers of tokens ({sorted(numbers | {tokens})}); "
            "explain the model without token reduction, or use token_relevance"
        )
    return tokens

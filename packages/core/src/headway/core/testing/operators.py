"""What is asked of every operator besides its values: traces, checkpoints, counts."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from headway.core.private_torch import TorchDispatchMode


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def operators_of(function: Callable[[], Any]) -> list[str]:
    """The names of the operators that a call runs, in order."""
    with _Recorder() as recorder:
        function()
    return recorder.names


def runs_under_checkpointing(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], operator: Any
) -> tuple[int, list[Tensor]]:
    """How often an operator runs when its outputs are kept and all else is computed again.

    Args:
        function: Called with the inputs.
        inputs: Tensors that require gradients.
        operator: The overload whose outputs must be saved.

    Returns:
        The number of runs, forward and backward together, and the gradients of the sum of the output.
    """

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        keep = op is operator
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    grads: list[Tensor] = []

    def call() -> None:
        out = checkpoint(
            function,
            *inputs,
            use_reentrant=False,
            context_fn=functools.partial(create_selective_checkpoint_contexts, policy),
        )
        assert isinstance(out, Tensor)
        # A step that is not saved, so that something is computed again.
        grads.extend(torch.autograd.grad(out.sin().sum(), list(inputs)))

    names = operators_of(call)
    return names.count(str(operator)), grads

"""Lion, an optimiser that keeps one moment."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class LionOptimizer(Optimizer):
    """Steps along the sign of an interpolation of gradient and momentum.

    Args:
        params: Parameters or parameter groups.
        lr: Length of the step of every weight.
        weight_decay: Decoupled decay.
        betas: Interpolation of the update, and decay of the momentum.

    Source:
        Chen et al. 2023, https://arxiv.org/abs/2302.06675, algorithm 2.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Updates the weights once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"]
                direction = torch.lerp(weight.grad, momentum, first).sign_()
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-group["lr"])
                momentum.lerp_(weight.grad, 1 - second)
        return loss

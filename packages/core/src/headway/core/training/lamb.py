"""LAMB, layer-wise scaled Adam."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class LambOptimizer(Optimizer):
    """Adam's step, scaled in each weight by the ratio of the norms of weight and step.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        weight_decay: Decay, part of the scaled step.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.

    Source:
        You et al. 2020, https://arxiv.org/abs/1904.00962, algorithm 2 with phi the identity.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        )

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
                    state["step"] = 0
                    state["mean"] = torch.zeros_like(weight)
                    state["square"] = torch.zeros_like(weight)
                state["step"] += 1
                mean, square = state["mean"], state["square"]
                mean.lerp_(weight.grad, 1 - first)
                square.mul_(second).addcmul_(weight.grad, weight.grad, value=1 - second)
                unbiased = mean / (1 - first ** state["step"])
                scale = (square / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
                step = unbiased.div_(scale).add_(weight, alpha=group["weight_decay"])
                ratio = weight.norm() / step.norm()
                # A weight or a step of zero has no ratio: take Adam's own step.
                ratio = torch.where(ratio.isfinite() & (ratio > 0), ratio, torch.ones_like(ratio))
                weight.sub_(step.mul_(ratio), alpha=group["lr"])
        return loss

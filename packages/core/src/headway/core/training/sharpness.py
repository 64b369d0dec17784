"""Sharpness-aware minimisation: gradients are taken where the loss is highest nearby."""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from headway.core.errors import UserError


class SharpnessAware(Optimizer):
    """Climbs to the worst point within a radius, takes the gradient there, and lets another optimiser step.

    Each step calls the closure twice. Hyper-parameters (learning rate, decay) are those of ``base``, whose
    groups this shares, so schedules move them as usual.

    Args:
        base: What steps with the gradient.
        rho: Radius, in the norm of all parameters together.

    Raises:
        UserError: If the radius is not positive.

    Source:
        Foret et al. 2020, https://arxiv.org/abs/2010.01412, algorithm 1 and eq. 2.
    """

    def __init__(self, base: Optimizer, *, rho: float) -> None:
        if rho <= 0:
            raise UserError(f"rho is {rho}; the radius must be above 0 (0.05 in the paper)")
        self.base, self.rho = base, rho
        super().__init__(base.param_groups, base.defaults)
        # One list, so that what a schedule writes is what the other reads.
        self.param_groups = base.param_groups
        self.state = base.state

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Runs the closure here and at the worst point nearby, then steps from here.

        Returns:
            The loss here.

        Raises:
            UserError: If there is no closure.
        """
        if closure is None:
            raise UserError("SAM needs a closure that computes the loss again and its gradients")
        run = torch.enable_grad()(closure)
        loss = run()
        moved = self._climb()
        run()
        for parameter, before in moved:
            parameter.data.copy_(before)
        self.base.step()
        return loss

    @torch.no_grad()
    def _climb(self) -> list[tuple[Tensor, Tensor]]:
        """Moves each parameter along its gradient; returns what each one was before."""
        parameters = [
            p for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        if not parameters:
            return []
        norms = torch.stack([p.grad.norm().to(parameters[0].device) for p in parameters])
        factor = self.rho / (norms.norm() + 1e-12)
        moved = []
        for parameter in parameters:
            # A copy: x + e - e is not x in every last bit.
            moved.append((parameter, parameter.detach().clone()))
            parameter.add_(parameter.grad * factor.to(parameter))
        return moved

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the base optimiser; the radius is an argument."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues the base optimiser."""
        self.base.load_state_dict(state_dict)
        self.param_groups, self.state = self.base.param_groups, self.base.state

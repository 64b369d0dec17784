"""Sharpness-aware minimisation against its two equations."""

import pytest
import torch

from headway.core.errors import UserError
from headway.core.training import SAM, SGD
from headway.core.training.sharpness import SharpnessAware


def loss_of(weight: torch.Tensor) -> torch.Tensor:
    return (weight**4).sum() + (weight[0] * weight[1]) ** 2


def test_a_step_takes_the_gradient_of_the_worst_point_nearby() -> None:
    weight = torch.tensor([0.7, -0.4], dtype=torch.float64, requires_grad=True)
    optimizer = SAM(base=SGD(lr=0.1, momentum=0.0), rho=0.3)([{"params": [weight]}])
    start = weight.detach().clone()
    (gradient,) = torch.autograd.grad(loss_of(weight), weight)
    worst = (start + 0.3 * gradient / gradient.norm()).requires_grad_()
    (there,) = torch.autograd.grad(loss_of(worst), worst)

    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of(weight)
        loss.backward()
        return loss.item()

    loss = optimizer.step(closure)
    assert loss == loss_of(start).item()
    torch.testing.assert_close(weight.detach(), start - 0.1 * there)
    assert not torch.allclose(weight.detach(), start - 0.1 * gradient)


def test_among_equal_minima_it_moves_to_the_flat_ones() -> None:
    # Every point with a * b = 1 is a minimum, and its curvature is a^2 + b^2: least where both are 1.
    curvature = {}
    for rho in (None, 0.2):
        weight = torch.tensor([3.0, 0.5], dtype=torch.float64, requires_grad=True)
        optimizer = SGD(lr=0.02, momentum=0.0)([{"params": [weight]}])
        if rho is not None:
            optimizer = SharpnessAware(optimizer, rho=rho)

        def closure(
            weight: torch.Tensor = weight, optimizer: torch.optim.Optimizer = optimizer
        ) -> float:
            optimizer.zero_grad()
            loss = (weight[0] * weight[1] - 1) ** 2
            loss.backward()
            return loss.item()

        for _ in range(1500):
            optimizer.step(closure)
        curvature[rho] = weight.square().sum().item()
    assert curvature[None] > 8.5
    assert curvature[0.2] < 3.0


def test_schedules_and_saved_states_reach_the_optimiser_inside() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = SAM(base=SGD(lr=0.1, momentum=0.9), rho=0.1)([{"params": [weight]}])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)

    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of(weight)
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    schedule.step()
    assert optimizer.base.param_groups[0]["lr"] == pytest.approx(0.05)
    saved = optimizer.state_dict()
    again = SAM(base=SGD(lr=0.1, momentum=0.9), rho=0.1)([{"params": [weight]}])
    again.load_state_dict(saved)
    momentum = optimizer.base.state[weight]["momentum_buffer"]
    assert torch.equal(again.base.state[weight]["momentum_buffer"], momentum)


def test_what_cannot_work_is_refused() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(UserError, match="rho is 0"):
        SAM(base=SGD(lr=0.1), rho=0)([{"params": [weight]}])
    with pytest.raises(UserError, match="needs a closure"):
        SAM(base=SGD(lr=0.1))([{"params": [weight]}]).step()

"""Optimisers as recipes name them: a class with numbers that is called with parameter groups.

``class_path: AdamW`` with ``init_args: {lr: 1e-3}`` in a recipe builds one of these; the task calls it
once the groups (weight decay, layer decay) are known.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch.optim import Optimizer

from headway.core.errors import UserError
from headway.core.training.lamb import LambOptimizer
from headway.core.training.lion import LionOptimizer
from headway.core.training.sharpness import SharpnessAware

ParameterGroups = list[dict[str, Any]]


class OptimizerFactory(ABC):
    """What a task takes as ``optimizer``.

    Args:
        lr: Learning rate at the end of the warm-up.
        weight_decay: Decay of the groups that do not set their own.
    """

    def __init__(self, *, lr: float, weight_decay: float = 0.0) -> None:
        if lr <= 0:
            raise UserError(f"lr is {lr}; a learning rate must be above 0")
        if weight_decay < 0:
            raise UserError(f"weight_decay is {weight_decay}; it must be 0 or more")
        self.lr = lr
        self.weight_decay = weight_decay

    @abstractmethod
    def __call__(self, groups: ParameterGroups) -> Optimizer:
        """Returns the optimiser of these groups."""


class AdamW(OptimizerFactory):
    """Adam with decoupled weight decay.

    Args:
        lr: Learning rate at the end of the warm-up.
        weight_decay: Decoupled decay; matrices only, see ``parameter_groups``.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.

    Source:
        Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """

    def __init__(
        self,
        *,
        lr: float,
        weight_decay: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.betas = betas
        self.eps = eps

    def __call__(self, groups: ParameterGroups) -> Optimizer:
        """Returns the optimiser of these groups."""
        return torch.optim.AdamW(
            groups, lr=self.lr, weight_decay=self.weight_decay, betas=self.betas, eps=self.eps
        )


class Adam(OptimizerFactory):
    """Adam; a weight decay here is the L2 penalty of the loss.

    Args:
        lr: Learning rate at the end of the warm-up.
        weight_decay: L2 penalty.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.

    Source:
        Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
    """

    def __init__(
        self,
        *,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.betas = betas
        self.eps = eps

    def __call__(self, groups: ParameterGroups) -> Optimizer:
        """Returns the optimiser of these groups."""
        return torch.optim.Adam(
            groups, lr=self.lr, weight_decay=self.weight_decay, betas=self.betas, eps=self.eps
        )


class SGD(OptimizerFactory):
    """Stochastic gradient descent.

    Args:
        lr: Learning rate at the end of the warm-up.
        weight_decay: L2 penalty.
        momentum: Decay of the running sum of gradients.
        nesterov: Looks ahead along the momentum.
    """

    def __init__(
        self,
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        nesterov: bool = False,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if nesterov and momentum <= 0:
            raise UserError(f"nesterov needs momentum above 0; momentum is {momentum}")
        self.momentum = momentum
        self.nesterov = nesterov

    def __call__(self, groups: ParameterGroups) -> Optimizer:
        """Returns the optimiser of these groups."""
        return torch.optim.SGD(
            groups,
            lr=self.lr,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
        )


class Lion(OptimizerFactory):
    """Sign of an interpolated momentum; takes a third to a tenth of AdamW's learning rate.

    Args:
        lr: Learning rate at the end of the warm-up.
        weight_decay: Decoupled decay; three to ten times that of AdamW.
        betas: Interpolation of the update, and decay of the momentum.

    Source:
        Chen et al. 2023, https://arxiv.org/abs/2302.06675, algorithm 2.
    """

    def __init__(
        self, *, lr: float, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.betas = betas

    def __call__(self, groups: ParameterGroups) -> Optimizer:
        """Returns the optimiser of these groups."""
        return LionOptimizer(groups, lr=self.lr, weight_decay=self.weight_decay, betas=self.betas)


class LAMB(OptimizerFactory):
    """Adam whose step is scaled to the norm of each weight; for large batches.

    Args:
        lr: Learning rate at the end of the warm-up.
        weight_decay: Decay, part of the scaled step.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.

    Source:
        You et al. 2020, https://arxiv.org/abs/1904.00962, algorithm 2.
    """

    def __init__(
        self,
        *,
        lr: float,
        weight_decay: float = 0.02,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        self.betas = betas
        self.eps = eps

    def __call__(self, groups: ParameterGroups) -> Optimizer:
        """Returns the optimiser of these groups."""
        return LambOptimizer(
            groups, lr=self.lr, weight_decay=self.weight_decay, betas=self.betas, eps=self.eps
        )


class SAM(OptimizerFactory):
    """Sharpness-aware minimisation around another optimiser: twice the work, flatter minima.

    Args:
        base: What steps, with its learning rate and decay.
        rho: Radius within which the loss is to be low.

    Source:
        Foret et al. 2020, https://arxiv.org/abs/2010.01412.
    """

    def __init__(self, *, base: OptimizerFactory, rho: float = 0.05) -> None:
        super().__init__(lr=base.lr, weight_decay=base.weight_decay)
        self.base, self.rho = base, rho

    def __call__(self, groups: ParameterGroups) -> Optimizer:
        """Returns the optimiser of these groups."""
        return SharpnessAware(self.base(groups), rho=self.rho)

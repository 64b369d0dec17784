"""Sampling under the condition that a part of the data is known."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.generation.diffusion.process import GaussianDiffusion


@dataclass(frozen=True)
class Reconstruction:
    """Holds on to known values while the rest is generated: imputation, or a forecast of what comes.

    After each step of sampling the free part is moved so that the prediction of the known part becomes
    right, and the known part is replaced by itself with the noise of the step. The model needs no training
    for it. At the end the known part is what it was, exactly.

    Args:
        known: The data; what stands where ``mask`` is False does not matter.
        mask: True where a value is known.
        rate: How far a value is moved at once while there is much noise; less later.
        closeness: How strongly the moved sample is held near the unmoved one.

    Shape:
        known, mask: as the samples.

    Raises:
        UserError: If the shapes differ.

    Source:
        Yuan and Qiao 2024, https://arxiv.org/abs/2403.01742, algorithm 1, with the number of moves per step
        of its code, which gives each move to a new Adagrad: a step of the size ``rate`` along the sign.
    """

    known: Tensor
    mask: Tensor
    rate: float = 0.05
    closeness: float = 0.01

    def __post_init__(self) -> None:
        if self.known.shape != self.mask.shape:
            raise UserError(
                f"known {tuple(self.known.shape)} and mask {tuple(self.mask.shape)} must be of one shape"
            )

    def hold(
        self,
        x: Tensor,
        step: Tensor,
        predict: Callable[[Tensor, Tensor], Tensor],
        process: GaussianDiffusion,
        draw: Callable[[], Tensor],
    ) -> Tensor:
        """Returns the sample with its free part moved and its known part put back.

        Args:
            x: The sample.
            step: Where it is, -1 for the data themselves.
            predict: Predicts the data from ``(x, step)``.
            process: The process.
            draw: Draws noise of the shape of ``x``.
        """
        known = torch.where(self.mask, self.known, torch.zeros_like(self.known))
        place = int(step[0])
        if place < 0:
            return torch.where(self.mask, known, x)
        moves, rate = self._effort(place / process.steps)
        unmoved = x
        for _ in range(moves):
            x = self._moved(x, unmoved, step, predict, rate, known)
        return torch.where(self.mask, process.add_noise(known, step, draw()), x)

    def _effort(self, share: float) -> tuple[int, float]:
        """Returns how often and how far a sample is moved, by its place in the process."""
        if share < 0.05:
            return 0, 0.0
        if share > 0.9:
            return 3, self.rate
        return (2, self.rate / 2) if share > 0.75 else (1, self.rate / 4)

    def _moved(
        self,
        x: Tensor,
        unmoved: Tensor,
        step: Tensor,
        predict: Callable[[Tensor, Tensor], Tensor],
        rate: float,
        known: Tensor,
    ) -> Tensor:
        # Whoever samples may do so in inference mode, which knows no slopes.
        with torch.inference_mode(False), torch.enable_grad():
            x = x.clone().detach().requires_grad_()
            mask, known, unmoved = self.mask.clone(), known.clone(), unmoved.clone()
            error = torch.where(mask, predict(x, step.clone()) - known, torch.zeros_like(x))
            away = self.closeness * (x - unmoved).square()
            (slope,) = torch.autograd.grad((error.square() + away).sum(), x)
        return x.detach() - rate * slope.sign()

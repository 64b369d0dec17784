"""The Gaussian diffusion process: noising, its posterior, and steps back."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module


class GaussianDiffusion(Module):
    """Adds Gaussian noise in steps 0 (almost none) to the last (nothing but noise).

    ``CosineDiffusion`` and ``LinearDiffusion`` say how much. Nothing is learned; a model that predicts the
    data ``start`` from the noisy ``x`` goes backwards with ``posterior`` or ``jump``.

    Args:
        betas: The variance that each step adds.

    Shape:
        betas: (steps,). start, x, noise: (B, ...). step: (B,), whole numbers.

    Raises:
        UserError: If a variance is not between 0 and 1.

    Source:
        Ho et al. 2020, https://arxiv.org/abs/2006.11239; jumps: Song et al. 2020,
        https://arxiv.org/abs/2010.02502.
    """

    signal: Tensor
    betas: Tensor

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        if betas.ndim != 1 or not bool(((betas > 0) & (betas < 1)).all()):
            raise UserError("betas must be one variance between 0 and 1 for each step")
        self.steps = len(betas)
        self.given = betas.detach().double().cpu()
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the variances, and the share of that of the data that is left after a step (alpha bar)."""
        return {"betas": self.given.clone(), "signal": torch.cumprod(1 - self.given, dim=0)}

    def add_noise(self, start: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """Returns the data after a step (eq. 4)."""
        signal = self._at(self.signal, step, start)
        return signal.sqrt() * start + (1 - signal).sqrt() * noise

    def draw(
        self, start: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns a random step and noise for each item, as training needs them.

        Args:
            start: Data.
            generator: Of the draws, on the CPU; the default one of the device of the data if None.

        Shape:
            Output: (B,), (B, ...).
        """
        device = "cpu" if generator is not None else start.device
        step = torch.randint(0, self.steps, (len(start),), generator=generator, device=device)
        noise = torch.randn(start.shape, generator=generator, device=device, dtype=start.dtype)
        return step.to(start.device), noise.to(start.device)

    def noise_in(self, x: Tensor, step: Tensor, start: Tensor) -> Tensor:
        """Returns the noise that made ``x`` of ``start``."""
        signal = self._at(self.signal, step, x)
        return (x - signal.sqrt() * start) / (1 - signal).sqrt()

    def start_of(self, x: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """Returns the data that ``x`` was made of with this noise."""
        signal = self._at(self.signal, step, x)
        return (x - (1 - signal).sqrt() * noise) / signal.sqrt()

    def posterior(self, x: Tensor, step: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and variance of the data one step earlier, given both ends (eq. 6 and 7).

        Before step 0 lie the data themselves: their variance is 0.
        """
        signal, beta = self._at(self.signal, step, x), self._at(self.betas, step, x)
        before = self._before(step, x)
        mean = (
            before.sqrt() * beta / (1 - signal) * start
            + (1 - beta).sqrt() * (1 - before) / (1 - signal) * x
        )
        return mean, beta * (1 - before) / (1 - signal)

    def jump(
        self, x: Tensor, step: Tensor, to: Tensor, start: Tensor, noise: Tensor, eta: float
    ) -> Tensor:
        """Returns the data at an earlier step, -1 for the data themselves (DDIM, eq. 12).

        Args:
            x: The data at ``step``.
            step: Where they are.
            to: Where they go.
            start: What the model takes the data for.
            noise: Fresh noise.
            eta: How much of it enters: 0 none; 1 as much as the posterior has.
        """
        signal, target = self._at(self.signal, step, x), self._signal_or_one(to, x)
        fresh = eta * ((1 - target) / (1 - signal) * (1 - signal / target)).clamp_min(0).sqrt()
        old = (1 - target - fresh.square()).clamp_min(0).sqrt()
        return target.sqrt() * start + old * self.noise_in(x, step, start) + fresh * noise

    def loss_weight(self, step: Tensor) -> Tensor:
        """Returns how much a step counts in a loss of the predicted data, as Diffusion-TS weighs it.

        Source:
            Yuan and Qiao 2024, https://arxiv.org/abs/2403.01742, eq. 6 (with the code's factor 1/100).
        """
        beta, signal = self.betas[step], self.signal[step]
        weight = ((1 - beta) * (1 - signal)).sqrt() / beta / 100
        return weight.to(torch.get_default_dtype())

    def _before(self, step: Tensor, like: Tensor) -> Tensor:
        return self._signal_or_one(step - 1, like)

    def _signal_or_one(self, step: Tensor, like: Tensor) -> Tensor:
        signal = self._at(self.signal, step.clamp_min(0), like)
        data = (step < 0).reshape(-1, *[1] * (like.ndim - 1))
        return torch.where(data, torch.ones_like(signal), signal)

    @staticmethod
    def _at(values: Tensor, step: Tensor, like: Tensor) -> Tensor:
        """Returns the value of each item's step, ready to be multiplied with ``like``."""
        wide = torch.promote_types(like.dtype, torch.float32)
        return values[step].to(wide).reshape(-1, *[1] * (like.ndim - 1))

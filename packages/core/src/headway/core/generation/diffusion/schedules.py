"""How much noise each step of a diffusion adds."""

import math

import torch

from headway.core.errors import UserError
from headway.core.generation.diffusion.process import GaussianDiffusion


class LinearDiffusion(GaussianDiffusion):
    """Variances that rise linearly; with 1000 steps from 0.0001 to 0.02.

    Args:
        steps: Of the process; fewer steps add more noise each.

    Raises:
        UserError: If there are no steps.

    Source:
        Ho et al. 2020, https://arxiv.org/abs/2006.11239, section 4.
    """

    def __init__(self, steps: int = 1000) -> None:
        scale = 1000 / _checked(steps)
        ends = scale * 0.0001, scale * 0.02
        betas = torch.linspace(*ends, steps, dtype=torch.float64, device="cpu")
        super().__init__(betas.clamp_max(0.999))


class CosineDiffusion(GaussianDiffusion):
    """What is left of the data falls like a squared cosine, slowly at both ends.

    Args:
        steps: Of the process.

    Raises:
        UserError: If there are no steps.

    Source:
        Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672, eq. 17.
    """

    def __init__(self, steps: int = 1000) -> None:
        places = torch.arange(_checked(steps) + 1, dtype=torch.float64, device="cpu") / steps
        signal = torch.cos((places + 0.008) / 1.008 * math.pi / 2) ** 2
        super().__init__((1 - signal[1:] / signal[:-1]).clamp(0, 0.999))


def _checked(steps: int) -> int:
    if steps < 1:
        raise UserError(f"steps of a diffusion must be at least 1, got {steps}")
    return steps

"""The step of a process as numbers."""

import math

import torch
from torch import Tensor


def step_embedding(step: Tensor, dim: int) -> Tensor:
    """Returns sines, then cosines, of the step of a diffusion at geometric wavelengths up to 10000.

    Shape:
        step: (B,). Output: (B, dim).
    """
    half = dim // 2
    exponents = torch.arange(half, device=step.device) / max(1, half - 1)
    angles = step[:, None].float() * torch.exp(-math.log(10000.0) * exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=1)

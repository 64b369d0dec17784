"""Diffusion: what noise does to data, and how a model that knows the data takes it off again."""

from headway.core.generation.diffusion.flow import Velocity, flow, on_the_way
from headway.core.generation.diffusion.masked import (
    Unmasked,
    Unmasking,
    hide,
    masked_bound,
    masking_times,
)
from headway.core.generation.diffusion.process import GaussianDiffusion
from headway.core.generation.diffusion.reconstruction import Reconstruction
from headway.core.generation.diffusion.sampling import Denoiser, sample
from headway.core.generation.diffusion.schedules import CosineDiffusion, LinearDiffusion

__all__ = [
    "CosineDiffusion",
    "Denoiser",
    "GaussianDiffusion",
    "LinearDiffusion",
    "Reconstruction",
    "Unmasked",
    "Unmasking",
    "Velocity",
    "flow",
    "hide",
    "masked_bound",
    "masking_times",
    "on_the_way",
    "sample",
]

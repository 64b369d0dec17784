"""Diffusion: what noise does to data, and how a model that knows the data takes it off again."""

from headway.core.generation.diffusion.flow import Velocity, flow, on_the_way
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
    "Velocity",
    "flow",
    "on_the_way",
    "sample",
]

"""Sinusoidal position embeddings."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.module import Module


class SinusoidalPosition(Module):
    """Sines and cosines of the place at geometric wavelengths; nothing is learned.

    Channel 2i is a sine, 2i + 1 a cosine of the same wavelength; with several axes each axis has its
    own share of the channels, in order.

    Args:
        dim: Channels.
        axes: Coordinates of a place: 1 for sequences, 2 for pictures.
        theta: Base of the wavelengths.

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5.
    """

    def __init__(self, dim: int, *, axes: int = 1, theta: float = 10000.0) -> None:
        super().__init__()
        if dim % (2 * axes):
            raise UserError(f"dim {dim} must be a multiple of {2 * axes} for {axes} axes")
        self.dim, self.axes, self.theta = dim, axes, theta

    def forward(self, positions: Tensor | Layout, *, tokens: int | None = None) -> Tensor:
        """Returns the embedding of places, or of the tokens of a layout.

        Shape:
            positions: (B or 1, N, axes). Output: (B or 1, N, dim).
        """
        if isinstance(positions, Layout):
            if tokens is None:
                raise UserError("SinusoidalPosition needs tokens=N beside a layout")
            positions = positions.token_positions(tokens)
        if positions.shape[-1] != self.axes:
            raise UserError(
                f"SinusoidalPosition(axes={self.axes}) got places with {positions.shape[-1]} coordinates"
            )
        width = self.dim // self.axes
        exponents = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
        angles = positions.float()[..., None] * self.theta**-exponents
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-3)

"""Positions from the neighbourhood, by one wide convolution over time."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.module import Module
from headway.core.ops.tracing import settled


class ConvolutionalPosition(Module):
    """What is added to tokens for their places: a grouped convolution over all that is near, and GELU.

    Where a sequence begins and ends, the convolution meets zeros, so that every token learns how far both
    are. Each step of the kernel has a length of its own, beside its direction (weight normalisation).

    Args:
        dim: Channels of a token.
        window: Steps of the kernel. An even one reaches one step further back than ahead.
        groups: Groups of channels that are convolved by themselves.

    Shape:
        x: (B, N, dim). Output: the same, to be added.

    Raises:
        UserError: If the groups do not divide the channels.

    Source:
        Baevski et al. 2020, https://arxiv.org/abs/2006.11477, section 2; Salimans and Kingma 2016,
        https://arxiv.org/abs/1602.07868.
    """

    def __init__(self, dim: int, *, window: int = 128, groups: int = 16) -> None:
        super().__init__()
        if groups < 1 or dim % groups:
            raise UserError(f"groups is {groups}; it must divide the {dim} channels")
        if window < 1:
            raise UserError(f"window is {window}; it must be at least 1")
        self.window, self.groups = window, groups
        std = 2 / math.sqrt(window * dim)
        self.direction = nn.Parameter(torch.randn(dim, dim // groups, window) * std)
        self.length = nn.Parameter(self._norms(self.direction.detach()))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Convolves; what padding holds is not heard."""
        real = layout.token_mask(x.shape[1]) if layout is not None else None
        if real is not None:
            x = x.masked_fill(~real[..., None], 0.0)
        weight = self.direction * (self.length / self._norms(self.direction))
        # Filled up by hand: how many steps padding="same" adds, no tracer of a free length can tell.
        before = self.window // 2
        x = F.pad(x.transpose(1, 2), (before, self.window - 1 - before))
        x = F.conv1d(x, weight, self.bias, groups=self.groups)
        return F.gelu(settled(x.transpose(1, 2)))

    @staticmethod
    def _norms(direction: Tensor) -> Tensor:
        return direction.square().sum(dim=(0, 1), keepdim=True).sqrt()

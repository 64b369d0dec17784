"""Distilling of the Informer: half the tokens, the strongest of each neighbourhood."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.resample.base import Resampler
from headway.core.systems import system


@system(
    id=104,
    name="Informer (distilling)",
    paper="https://arxiv.org/abs/2012.07436",
    claim="halves the sequence by a circular convolution and a max-pool that keeps the strongest tokens",
    test="packages/core/tests/parts/test_distilling.py",
)
class Distilling(Resampler):
    """A circular convolution over three tokens, batch norm, ELU, and a max-pool of stride 2.

    A padded item is wrapped at its own end, so it gives what it would give alone; in training the
    statistics of the batch norm are those of the whole batch, padding included.

    Args:
        dim: Channels of a token.
        padding: Tokens that the circle adds at each end: 1 in the original, 2 in widespread ports, which
            makes the result one token longer.

    Shape:
        x: (B, N, dim). Output: (B, (N + 2 * padding - 3) // 2 + 1, dim) and its layout.

    Source:
        Zhou et al. 2020, https://arxiv.org/abs/2012.07436, eq. 5.
    """

    def __init__(self, dim: int, *, padding: int = 1) -> None:
        super().__init__()
        if padding not in (1, 2):
            raise UserError(f"padding is 1 (original) or 2 (ports), got {padding}")
        self.padding = padding
        self.convolution = nn.Conv1d(dim, dim, 3)
        self.norm = nn.BatchNorm1d(dim)

    def resample(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Halves the sequence."""
        if layout.prefix or layout.valid is not None or layout.offsets is not None:
            raise UserError(
                "Distilling takes sequences and right-padded sequences (lengths), "
                "not prefix, valid or offsets"
            )
        if layout.grid is not None and len(layout.grid) != 1:
            raise UserError(f"Distilling takes a sequence, got a grid of {len(layout.grid)} axes")
        lengths = layout.lengths
        wrapped = _wrap(x, lengths, self.padding).transpose(1, 2)
        hidden = F.elu(self.norm(self.convolution(wrapped)))
        grown = 2 * self.padding - 2
        if lengths is not None:
            lengths = lengths + grown
            hidden = hidden.masked_fill(~_real(hidden.shape[2], lengths)[:, None], -math.inf)
        pooled = F.max_pool1d(hidden, 3, stride=2, padding=1).transpose(1, 2)
        if lengths is not None:
            lengths = (lengths - 1) // 2 + 1
            pooled = pooled.masked_fill(~_real(pooled.shape[1], lengths)[..., None], 0.0)
        return pooled, Layout(lengths=lengths)


def _real(tokens: int, lengths: Tensor) -> Tensor:
    """Returns (B, tokens) bool, True before the end of a row."""
    return torch.arange(tokens, device=lengths.device) < lengths[:, None]


def _wrap(x: Tensor, lengths: Tensor | None, padding: int) -> Tensor:
    """Adds tokens of the other end at both ends; of the item's own end if there are lengths."""
    if lengths is None:
        return torch.cat([x[:, -padding:], x, x[:, :padding]], dim=1)
    positions = torch.arange(-padding, x.shape[1] + padding, device=x.device)
    source = positions % lengths.clamp_min(1)[:, None]
    wrapped = x.gather(1, source[..., None].expand(-1, -1, x.shape[2]))
    return wrapped.masked_fill((positions >= lengths[:, None] + padding)[..., None], 0.0)

"""Blocks of the Autoformer: what is left of the sequence after its trend is taken off."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.timeseries.layers.decomposition import SeriesDecomposition


class SeasonalPart(Module):
    """The sequence without its moving average, in the place of a norm.

    Args:
        dim: Channels (not used).
        window: Steps of the average, odd.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Wu et al. 2021, https://arxiv.org/abs/2106.13008, eq. 3.
    """

    def __init__(self, dim: int, *, window: int = 25) -> None:
        super().__init__()
        self.decomposition = SeriesDecomposition(window)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the seasonal part."""
        return self.decomposition(x)[0]


class SeasonalNorm(Module):
    """Layer norm without its mean over the sequence, so that no trend comes in by its bias.

    Args:
        dim: Channels.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        The code of Wu et al. 2021, https://github.com/thuml/Autoformer.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises."""
        x = self.norm(x)
        return x - x.mean(dim=1, keepdim=True)


class TrendDecoderBlock(Module):
    """Mixer, cross mixer and feed-forward; the trend of each sum is taken off and handed on.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixers.
        variates: Series of the trend.
        mixer: Builds the mixer, ``(dim, heads)``.
        cross: Builds the mixer that reads the encoder, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        window: Steps of the moving average.

    Shape:
        x: (B, N, dim). memory: (B, M, dim). Output: (B, N, dim) and the trend (B, N, variates).

    Source:
        Wu et al. 2021, https://arxiv.org/abs/2106.13008, eq. 4.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        variates: int,
        *,
        mixer: MixerFactory,
        cross: MixerFactory,
        feedforward: FeedForwardFactory,
        window: int,
    ) -> None:
        super().__init__()
        self.mixer = mixer(dim, heads)
        self.cross = cross(dim, heads)
        self.feedforward = feedforward(dim)
        self.decomposition = SeriesDecomposition(window)
        self.trend = nn.Conv1d(dim, variates, 3, bias=False)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the seasonal part and the trend that was taken off it."""
        steps: list[Callable[[Tensor], Tensor]] = [
            self.mixer,
            lambda tokens: self.cross(tokens, context=memory),
            self.feedforward,
        ]
        trend = torch.zeros_like(x)
        for step in steps:
            x, taken = self.decomposition(x + step(x))
            trend = trend + taken
        wrapped = F.pad(trend.transpose(1, 2), (1, 1), mode="circular")
        return x, self.trend(wrapped).transpose(1, 2)

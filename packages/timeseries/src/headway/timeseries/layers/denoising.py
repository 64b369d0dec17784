"""Blocks that know how noisy their input is."""

from typing import NamedTuple

from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.norms.adaptive import AdaptiveLayerNorm
from headway.timeseries.layers.interpretable import FourierSeason, PolynomialTrend


class DenoisingBlock(Module):
    """A pre-norm block; the norm of the mixer is told the step of the diffusion.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        mixer: Builds the mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.

    Shape:
        x: (B, N, dim). condition: (B, dim). Output: the same as x.
    """

    def __init__(
        self, dim: int, heads: int, *, mixer: MixerFactory, feedforward: FeedForwardFactory
    ) -> None:
        super().__init__()
        self.mixer_norm = AdaptiveLayerNorm(dim)
        self.mixer = mixer(dim, heads)
        self.norm = LayerNorm(dim, eps=1e-5)
        self.feedforward = feedforward(dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Mixes and transforms the tokens."""
        x = x + self.mixer(self.mixer_norm(x, condition))
        return x + self.feedforward(self.norm(x))


class Parts(NamedTuple):
    """What a decoder block gives: tokens without their mean, and its share of the series.

    Args:
        tokens: (B, N, dim).
        mean: What the mean of the tokens says of the level of the series, (B, 1, features).
        trend: (B, N, features).
        season: In the channels of the tokens, (B, N, dim).
    """

    tokens: Tensor
    mean: Tensor
    trend: Tensor
    season: Tensor


class DecomposingBlock(Module):
    """A decoder block of Diffusion-TS: it takes a trend, a season and a level off the tokens.

    Args:
        length: Tokens.
        dim: Channels of a token.
        heads: Heads of the mixers.
        features: Series.
        mixer: Builds the mixer, ``(dim, heads)``.
        cross: Builds the mixer that reads the encoder, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.

    Shape:
        x, memory: (B, length, dim). condition: (B, dim).

    Source:
        Yuan and Qiao 2024, https://arxiv.org/abs/2403.01742, section 3.2.
    """

    def __init__(
        self,
        length: int,
        dim: int,
        heads: int,
        features: int,
        *,
        mixer: MixerFactory,
        cross: MixerFactory,
        feedforward: FeedForwardFactory,
    ) -> None:
        super().__init__()
        self.mixer_norm, self.cross_norm = AdaptiveLayerNorm(dim), AdaptiveLayerNorm(dim)
        self.mixer, self.cross = mixer(dim, heads), cross(dim, heads)
        self.split = nn.Conv1d(length, 2 * length, 1)
        self.trend = PolynomialTrend(length, dim, features)
        self.season = FourierSeason()
        self.norm = LayerNorm(dim, eps=1e-5)
        self.feedforward = feedforward(dim)
        self.level = nn.Linear(dim, features)

    def forward(self, x: Tensor, condition: Tensor, memory: Tensor) -> Parts:
        """Returns tokens and parts."""
        x = x + self.mixer(self.mixer_norm(x, condition))
        x = x + self.cross(self.cross_norm(x, condition), context=memory)
        first, second = self.split(x).chunk(2, dim=1)
        trend, season = self.trend(first), self.season(second)
        x = x + self.feedforward(self.norm(x))
        mean = x.mean(dim=1, keepdim=True)
        return Parts(x - mean, self.level(mean), trend, season)

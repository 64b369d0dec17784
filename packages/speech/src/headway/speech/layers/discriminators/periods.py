"""Looking at every second, third, fifth ... sample."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from headway.speech.layers.discriminators.base import Discriminator, Looking


class PeriodDiscriminator(Discriminator):
    """Lays the samples out in rows of a period, for several periods, and convolves down the columns.

    Args:
        periods: Samples of a row.
        channels: Channels of the first convolution; 32 as published. The others have 4, 16, 32 and 32
            times as many.

    Shape:
        waveforms: (B, S). Output: lists of (B, C, rows, period).

    Source:
        Kong et al. 2020 (HiFi-GAN), https://arxiv.org/abs/2010.05646, section 2.3.
    """

    def __init__(self, *, periods: Sequence[int] = (2, 3, 5, 7, 11), channels: int = 32) -> None:
        super().__init__()
        self.periods = tuple(periods)
        widths = [1, *(channels * times for times in (1, 4, 16, 32, 32))]

        def look() -> Looking:
            layers = [
                nn.Conv2d(before, after, (5, 1), (3 if place < 4 else 1, 1), (2, 0))
                for place, (before, after) in enumerate(pairwise(widths))
            ]
            return Looking(
                *map(weight_norm, [*layers, nn.Conv2d(widths[-1], 1, (3, 1), 1, (1, 0))])
            )

        self.looks = nn.ModuleList(look() for _ in periods)

    def forward(self, waveforms: Tensor) -> list[list[Tensor]]:
        """Looks at rows of each period."""
        found = []
        for period, look in zip(self.periods, self.looks, strict=True):
            short = -waveforms.shape[1] % period
            rows = F.pad(waveforms[:, None], (0, short), mode="reflect" if short else "constant")
            found.append(look(rows.unflatten(2, (-1, period))))
        return found

"""Looking at samples, and at means of neighbouring ones."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from headway.core.errors import UserError
from headway.speech.layers.discriminators.base import Discriminator, Looking

# Channels as multiples of the first, kernel, stride, groups (as published, for 128 channels).
_LAYERS = (
    (1, 15, 1, 1),
    (1, 41, 2, 4),
    (2, 41, 2, 16),
    (4, 41, 4, 16),
    (8, 41, 4, 16),
    (8, 41, 1, 16),
    (8, 5, 1, 1),
)


class ScaleDiscriminator(Discriminator):
    """Grouped convolutions over the samples, their means of two, of four and so on.

    Args:
        scales: How many; the first looks at the samples, under spectral normalisation.
        channels: Channels of the first convolution, a multiple of 16; 128 as published.

    Shape:
        waveforms: (B, S). Output: lists of (B, C, places).

    Raises:
        UserError: If the channels do not divide into the groups.

    Source:
        Kong et al. 2020 (HiFi-GAN), https://arxiv.org/abs/2010.05646, section 2.3.
    """

    def __init__(self, *, scales: int = 3, channels: int = 128) -> None:
        super().__init__()
        if scales < 1 or channels % 16:
            raise UserError(
                f"scales is {scales} and channels {channels}; give one scale at least, and a multiple of 16"
            )

        def look(place: int) -> Looking:
            layers, before = [], 1
            for times, kernel, stride, groups in _LAYERS:
                after = times * channels
                layers.append(nn.Conv1d(before, after, kernel, stride, kernel // 2, groups=groups))
                before = after
            norm = spectral_norm if place == 0 else weight_norm
            return Looking(*map(norm, [*layers, nn.Conv1d(before, 1, 3, padding=1)]))

        self.looks = nn.ModuleList(look(place) for place in range(scales))

    def forward(self, waveforms: Tensor) -> list[list[Tensor]]:
        """Looks at each scale."""
        x, found = waveforms[:, None], []
        for place, look in enumerate(self.looks):
            if place:
                x = F.avg_pool1d(x, 4, 2, padding=2)
            found.append(look(x))
        return found

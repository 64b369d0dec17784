"""Looking at spectra, each band of frequencies by itself."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from headway.core.errors import UserError
from headway.speech.layers.discriminators.base import Discriminator, Looking

BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


class BandDiscriminator(Discriminator):
    """Multi-band, multi-scale and in time and frequency: complex spectra of several sizes, cut into bands.

    Each band of each size has convolutions of its own, so what is wrong in the quiet high bands is not
    drowned by what is loud below. Each band has a score, too: the published code joins the bands for a last
    convolution, and brings all sounds to one level first.

    Args:
        sizes: Samples of the windows; a step is a quarter of a window.
        borders: Where bands begin and end, as shares of the frequencies.
        channels: Channels of the convolutions.

    Shape:
        waveforms: (B, S). Output: lists of (B, C, steps, frequencies).

    Raises:
        UserError: If the borders do not rise from 0 to 1.

    Source:
        Kumar et al. 2023 (DAC), https://arxiv.org/abs/2306.06546, section 3.3, which HiFi-SR takes over.
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int] = (2048, 1024, 512),
        borders: Sequence[float] = BANDS,
        channels: int = 32,
    ) -> None:
        super().__init__()
        rising = all(low < high for low, high in pairwise(borders))
        if len(borders) < 2 or borders[0] != 0 or borders[-1] != 1 or not rising:
            raise UserError(f"borders are {tuple(borders)}; they rise from 0 to 1")
        self.sizes, self.borders = tuple(sizes), tuple(borders)

        def look() -> Looking:
            layers = [nn.Conv2d(2, channels, (3, 9), 1, (1, 4))]
            layers += [nn.Conv2d(channels, channels, (3, 9), (1, 2), (1, 4)) for _ in range(3)]
            layers += [nn.Conv2d(channels, channels, 3, 1, 1), nn.Conv2d(channels, 1, 3, 1, 1)]
            return Looking(*map(weight_norm, layers))

        bands = len(borders) - 1
        self.looks = nn.ModuleList(nn.ModuleList(look() for _ in range(bands)) for _ in sizes)

    def forward(self, waveforms: Tensor) -> list[list[Tensor]]:
        """Looks at each band of each spectrum."""
        found = []
        for size, looks in zip(self.sizes, self.looks, strict=True):
            window = torch.hann_window(size).to(waveforms)
            spectrum = torch.stft(
                waveforms, size, size // 4, window=window, return_complex=True, pad_mode="constant"
            )
            x = torch.view_as_real(spectrum).permute(0, 3, 2, 1)
            cuts = [round(border * x.shape[3]) for border in self.borders]
            assert isinstance(looks, nn.ModuleList)
            found += [
                look(x[..., low:high])
                for look, (low, high) in zip(looks, pairwise(cuts), strict=True)
            ]
        return found

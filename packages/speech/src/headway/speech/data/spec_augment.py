"""SpecAugment."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.systems import system


@system(
    id=None,
    name="SpecAugment",
    paper="https://arxiv.org/abs/1904.08779",
    claim="bands of frequency and stretches of time are masked, never more than a share of the length",
    test="packages/speech/tests/test_features.py",
)
class SpecAugment:
    """Masks bands of frequency and stretches of time of one recording's features.

    The stretches are relative to the recording's own length, so a short one keeps most of itself, and
    padding (which comes later) is never what is masked. Masked positions take the mean of the features.

    Args:
        bands: Number of masked bands.
        band_width: Largest width of a band, in mel bands.
        stretches: Number of masked stretches of time.
        stretch_share: Largest length of a stretch, as a share of the frames.

    Source:
        Park et al. 2019, https://arxiv.org/abs/1904.08779; stretches relative to the length: Park et al.
        2020, https://arxiv.org/abs/1912.05533, section 2.
    """

    def __init__(
        self,
        *,
        bands: int = 2,
        band_width: int = 27,
        stretches: int = 5,
        stretch_share: float = 0.05,
    ) -> None:
        if min(bands, band_width, stretches) < 0 or not 0 <= stretch_share <= 1:
            raise UserError(
                f"bands {bands}, band_width {band_width} and stretches {stretches} must not be "
                f"negative, stretch_share {stretch_share} lies in 0..1"
            )
        self.bands, self.band_width = bands, band_width
        self.stretches, self.stretch_share = stretches, stretch_share

    def __call__(self, features: Tensor) -> Tensor:
        """Returns a masked copy; draws from torch's generator.

        Shape:
            features: (T, F). Output: the same.
        """
        frames, mels = features.shape
        hidden_time = _masked(frames, int(frames * self.stretch_share), self.stretches)
        hidden_band = _masked(mels, min(self.band_width, mels), self.bands)
        return features.masked_fill(hidden_time[:, None] | hidden_band, features.mean().item())


def _masked(size: int, widest: int, number: int) -> Tensor:
    """Returns (size,) bool with ``number`` stretches of random width up to ``widest``."""
    hidden = torch.zeros(size, dtype=torch.bool)
    if widest < 1:
        return hidden
    for _ in range(number):
        width = int(torch.randint(0, widest + 1, ()))
        start = int(torch.randint(0, size - width + 1, ()))
        hidden[start : start + width] = True
    return hidden

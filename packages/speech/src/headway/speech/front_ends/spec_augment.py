"""SpecAugment."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.systems import system
from headway.speech.layers.padding import mask_of, zero_beyond


@system(
    id=None,
    name="SpecAugment",
    paper="https://arxiv.org/abs/1904.08779",
    claim="bands of frequency and stretches of time are masked, never more than a share of the length",
    test="packages/speech/tests/test_features.py",
)
class SpecAugment:
    """Masks bands of frequency and stretches of time of the features of recordings.

    The stretches are relative to the recording's own length, so a short one keeps most of itself, and
    padding is never what is masked. Masked positions take the mean of the recording's features.

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

    def __call__(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns masked copies; draws from torch's generator.

        Args:
            features: Padded items.
            lengths: Steps of each.

        Shape:
            features: (B, T, F). lengths: (B,). Output: as features.
        """
        bands = torch.full_like(lengths, features.shape[2])
        widest = bands.clamp_max(self.band_width)
        longest = (lengths * self.stretch_share).long()
        hidden_time = _masked(features.shape[1], lengths, longest, self.stretches)
        hidden_band = _masked(features.shape[2], bands, widest, self.bands)
        real = mask_of(lengths, features.shape[1])[:, :, None]
        count = lengths * features.shape[2]
        mean = zero_beyond(features, lengths).sum(dim=(1, 2)) / count
        hidden = (hidden_time[:, :, None] | hidden_band[:, None]) & real
        return torch.where(hidden, mean[:, None, None], features)


def _masked(size: int, ends: Tensor, widest: Tensor, number: int) -> Tensor:
    """Returns (B, size) bool with ``number`` stretches of random width and place in each row.

    Args:
        size: Places of a row.
        ends: Real places of each row, (B,); stretches lie inside.
        widest: Largest width of a stretch of each row, (B,).
        number: Stretches of a row.
    """
    shape = (len(ends), number)
    width = (torch.rand(shape, device=ends.device) * (widest[:, None] + 1)).long()
    start = (torch.rand(shape, device=ends.device) * (ends[:, None] - width + 1)).long()
    places = torch.arange(size, device=ends.device)
    inside = (places >= start[..., None]) & (places < (start + width)[..., None])
    return inside.any(dim=1)

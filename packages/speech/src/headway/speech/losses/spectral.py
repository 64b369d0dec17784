"""How far two sounds are apart by their spectra."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.speech.front_ends import LogMel
from headway.speech.layers.padding import mask_of

# Of powers, so that silence is not infinitely far from a whisper.
FLOOR = 1e-8


class MelDistance(Module):
    """The mean absolute difference of log-mel features, over windows of several sizes.

    Args:
        sample_rate: Samples per second.
        sizes: Samples of the windows; a step is a quarter of a window.
        mels: Bands of each.

    Shape:
        found, wanted: (B, S). Output: ().

    Raises:
        UserError: If there are not as many sizes as numbers of bands.

    Source:
        One size: Kong et al. 2020 (HiFi-GAN). Several: Kumar et al. 2023, https://arxiv.org/abs/2306.06546.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 22050,
        sizes: Sequence[int] = (256, 512, 1024, 2048),
        mels: Sequence[int] = (20, 40, 80, 160),
    ) -> None:
        super().__init__()
        if len(sizes) != len(mels) or not sizes:
            raise UserError(f"{len(sizes)} sizes and {len(mels)} numbers of bands; give as many")
        self.views = nn.ModuleList(
            LogMel(sample_rate=sample_rate, mels=count, size=size, hop=size // 4, normalise="none")
            for size, count in zip(sizes, mels, strict=True)
        )

    def forward(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Compares two batches of sounds of the same length."""
        losses = [
            (view.features(found) - view.features(wanted)).abs().mean()
            for view in self.views
            if isinstance(view, LogMel)
        ]
        return torch.stack(losses).mean()


def log_spectral_distance(
    found: Tensor,
    wanted: Tensor,
    lengths: Tensor | None = None,
    *,
    size: int = 2048,
    lowest: float = 0.0,
) -> Tensor:
    """Returns the distance of the logarithms of powers, in the unit of ten decibels, (B,).

    Args:
        found: Samples.
        wanted: Samples of the recordings.
        lengths: Samples of each; all of them if None.
        size: Samples of a window; a step is a quarter of it.
        lowest: Frequencies below are left out, as a share of half the sample rate.

    Shape:
        found, wanted: (B, S). lengths: (B,).

    Source:
        Gray and Markel 1976, as papers on super-resolution have it: root over frequencies, mean over steps.
    """
    powers = []
    for sound in (found, wanted):
        window = torch.hann_window(size).to(sound)
        spectrum = torch.stft(
            sound, size, size // 4, window=window, return_complex=True, pad_mode="constant"
        )
        powers.append((spectrum.real.square() + spectrum.imag.square()).clamp_min(FLOOR).log10())
    first = round(lowest * (powers[0].shape[1] - 1))
    apart = (powers[0] - powers[1])[:, first:].square().mean(dim=1).sqrt()
    if lengths is None:
        return apart.mean(dim=1)
    real = mask_of(lengths // (size // 4) + 1, apart.shape[1])
    return (apart * real).sum(dim=1) / real.sum(dim=1)

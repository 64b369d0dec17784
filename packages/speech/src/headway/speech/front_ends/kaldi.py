"""Kaldi's log-mel features."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.speech.front_ends.spectral import Normalise, SpectralFrontEnd, refuse_empty

WINDOW_MS, HOP_MS = 25, 10
LOWEST = 20.0  # Hz
PREEMPHASIS = 0.97
SCALE = 2.0**15
# Powers of Hann's window.
WINDOWS = {"povey": 0.85, "hanning": 1.0}


class KaldiFbank(SpectralFrontEnd):
    """Log-mel features as Kaldi computes them, without dither.

    Windows of 25 ms every 10 ms, whole ones only, on samples of the 16-bit scale: each without its mean,
    with pre-emphasis of .97, under Povey's window; triangles of equal width on the mel scale from 20 Hz.

    Args:
        sample_rate: Samples per second.
        mels: Mel bands.
        normalise: As of every ``SpectralFrontEnd``.
        window: ``"povey"``, or ``"hanning"``.
        scale: What samples in -1..1 are multiplied by.

    Raises:
        UserError: If there are more bands than the spectrum can tell apart.

    Source:
        Kaldi, feature-mel; its values are those of ``torchaudio.compliance.kaldi.fbank``.
    """

    may_be_empty: ClassVar[bool] = False
    """Whether a band may hold no frequency; it says the same of everything then."""
    banks: Tensor
    taper: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        mels: int = 80,
        normalise: Normalise = "global",
        window: Literal["povey", "hanning"] = "povey",
        scale: float = SCALE,
    ) -> None:
        super().__init__(sample_rate=sample_rate, bands=mels, normalise=normalise)
        if window not in WINDOWS:
            raise UserError(f"window {window!r} is not one of {', '.join(WINDOWS)}")
        if not 0 < scale < float("inf"):
            raise UserError(f"scale is {scale}; it must be above 0")
        self.window, self.scale = window, scale
        self.width = sample_rate * WINDOW_MS // 1000
        self.hop = sample_rate * HOP_MS // 1000
        self.size = 1 << (self.width - 1).bit_length()
        self.register_constants()
        if not self.may_be_empty:
            refuse_empty(self._made_constants()["banks"], self.size, sample_rate)

    def constants(self) -> dict[str, Tensor]:
        """Returns the window and the weights of the bands."""
        hann = torch.hann_window(self.width, periodic=False, dtype=torch.float64)
        return {
            "taper": hann.pow(WINDOWS[self.window]).float(),
            "banks": kaldi_banks(self.mels, self.size, self.sample_rate),
        }

    @property
    def rate(self) -> float:
        """Frames per second."""
        return 1000 / HOP_MS

    @property
    def least(self) -> int:
        """Samples of a window."""
        return self.width

    @property
    def reach(self) -> tuple[int, int] | None:
        """A window from its first sample on, if no step is normalised by the whole recording."""
        return None if self.normalise == "utterance" else (0, self.width - 1)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many whole windows there are."""
        windows = torch.div(lengths - self.width, self.hop, rounding_mode="floor") + 1
        return windows.clamp_min(0)

    def features(self, waveforms: Tensor) -> Tensor:
        """Returns log-mel features before normalisation."""
        x = (waveforms * self.scale).unfold(1, self.width, self.hop)
        x = x - x.mean(dim=2, keepdim=True)
        before = torch.cat((x[..., :1], x[..., :-1]), dim=2)
        x = (x - PREEMPHASIS * before) * self.taper.to(x)
        power = torch.fft.rfft(F.pad(x, (0, self.size - self.width))).abs().square()
        # The least number that float32 tells from 1 is Kaldi's floor.
        return (power @ self.banks.to(power)).clamp_min(torch.finfo(torch.float32).eps).log()


def kaldi_banks(mels: int, size: int, sample_rate: int) -> Tensor:
    """Returns the weights of frequencies in mel bands, (size / 2 + 1, mels).

    Args:
        mels: Bands, of equal width on the mel scale between 20 Hz and half the sample rate.
        size: Points of the Fourier transform; the highest frequency has no weight.
        sample_rate: Samples per second.
    """

    def mel(frequency: Tensor) -> Tensor:
        return 1127.0 * (1.0 + frequency / 700.0).log()

    lowest, highest = (1127.0 * math.log(1.0 + edge / 700.0) for edge in (LOWEST, sample_rate / 2))
    edges = lowest + (highest - lowest) / (mels + 1) * torch.arange(mels + 2, dtype=torch.float64)
    places = mel(torch.arange(size // 2 + 1, dtype=torch.float64) * sample_rate / size)[:, None]
    rising = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    weights = torch.minimum(rising, falling).clamp_min(0)
    weights[-1] = 0
    return weights.float()

"""The log-mel features that synthesisers write and vocoders read."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.speech.front_ends.mel_filters import slaney_filters
from headway.speech.front_ends.spectral import Normalise, SpectralFrontEnd, refuse_empty

FLOOR = 1e-5


class LogMel(SpectralFrontEnd):
    """Logarithms of mel bands of the amplitudes, one step for each ``hop`` samples, silence beyond both ends.

    The defaults are those of vocoders at 22,050 Hz; for telephone speech halve size and hop.

    Args:
        sample_rate: Samples per second.
        mels: Mel bands, on Slaney's scale.
        size: Samples of a window, which is Hann's.
        hop: Samples between two steps.
        highest: Where the last band ends, in Hz; half the sample rate if None.
        lowest: Where the first band begins, in Hz.
        logarithm: ``"natural"``, or ``"decimal"`` as in ESPnet and SpeechT5.
        normalise: As of every ``SpectralFrontEnd``.

    Raises:
        UserError: If a window is shorter than its hop, or there are more bands than it can tell apart.

    Source:
        Kong et al. 2020 (HiFi-GAN), https://arxiv.org/abs/2010.05646; it reflects the ends of a recording.
    """

    window: Tensor
    banks: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 22050,
        mels: int = 80,
        size: int = 1024,
        hop: int = 256,
        highest: float | None = None,
        lowest: float = 0.0,
        logarithm: Literal["natural", "decimal"] = "natural",
        normalise: Normalise = "global",
    ) -> None:
        super().__init__(sample_rate=sample_rate, bands=mels, normalise=normalise)
        if not 1 <= hop <= size or (size - hop) % 2 or size % 2:
            raise UserError(
                f"size is {size} and hop {hop}; both are even, and a window is not shorter than its hop"
            )
        if logarithm not in ("natural", "decimal"):
            raise UserError(f"logarithm is {logarithm!r}; it is 'natural' or 'decimal'")
        self.size, self.hop, self.lowest = size, hop, lowest
        self.unit = 1.0 if logarithm == "natural" else math.log(10)
        self.highest = sample_rate / 2 if highest is None else highest
        self.register_constants()
        refuse_empty(self._made_constants()["banks"], size, sample_rate)

    def constants(self) -> dict[str, Tensor]:
        """Returns the window and the weights of the bands."""
        banks = slaney_filters(
            self.mels,
            bins=self.size // 2 + 1,
            sample_rate=self.sample_rate,
            highest=self.highest,
            lowest=self.lowest,
        )
        return {"window": torch.hann_window(self.size), "banks": banks.float()}

    @property
    def rate(self) -> float:
        """Steps per second."""
        return self.sample_rate / self.hop

    @property
    def least(self) -> int:
        """Samples of a step."""
        return self.hop

    @property
    def reach(self) -> tuple[int, int] | None:
        """A window around the hop, if no step is normalised by the whole recording."""
        edge = (self.size - self.hop) // 2
        return None if self.normalise == "utterance" else (edge, self.size - 1 - edge)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns one step for each whole hop."""
        return torch.div(lengths, self.hop, rounding_mode="floor")

    def features(self, waveforms: Tensor) -> Tensor:
        """Returns the bands before normalisation."""
        edge = (self.size - self.hop) // 2
        x = F.pad(waveforms, (edge, edge)).unfold(1, self.size, self.hop)
        amplitudes = torch.fft.rfft(x * self.window.to(x)).abs()
        return self._logarithms(amplitudes @ self.banks.to(x))

    def amplitudes(self, features: Tensor) -> Tensor:
        """Returns the bands themselves: neither normalised nor logarithms.

        Raises:
            UserError: If recordings were normalised each by itself: what was taken away is not known.
        """
        if self.normalise == "utterance":
            raise UserError(
                "features that were normalised by recording cannot become sound; normalise globally"
            )
        if self.normalise == "global":
            features = features * self.std + self.mean
        return (features * self.unit).exp()

    def of_amplitudes(self, bands: Tensor) -> Tensor:
        """Returns the features of mel bands that another front end of the same bands measured."""
        features = self._logarithms(bands)
        if self.normalise == "global":
            features = (features - self.mean) / self.std
        return features

    def check_same_bands(self, other: "LogMel") -> None:
        """Raises if the bands of another front end are not these.

        Raises:
            UserError: It names what differs.
        """
        for name in ("sample_rate", "mels", "size", "hop", "lowest", "highest"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise UserError(
                    f"{name} of the mel bands is {theirs:g}, and the vocoder was made for {mine:g}; train it "
                    "with the front end of the voice"
                )

    def _logarithms(self, bands: Tensor) -> Tensor:
        return bands.clamp_min(FLOOR).log() / self.unit

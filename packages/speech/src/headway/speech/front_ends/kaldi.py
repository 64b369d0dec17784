"""Kaldi's log-mel features."""

import math
from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.speech.front_ends.front_end import Features, FrontEnd, whole_lengths
from headway.speech.front_ends.waveform import normalised
from headway.speech.layers.stem import zero_beyond

WINDOW_MS, HOP_MS = 25, 10
LOWEST = 20.0  # Hz
PREEMPHASIS = 0.97
SCALE = 2.0**15
Normalise = Literal["global", "utterance", "none"]
# Powers of Hann's window.
WINDOWS = {"povey": 0.85, "hanning": 1.0}


class KaldiFbank(FrontEnd):
    """Log-mel features as Kaldi computes them, without dither.

    Windows of 25 ms every 10 ms, whole ones only, on samples of the 16-bit scale: each without its mean,
    with pre-emphasis of .97, under Povey's window; triangles of equal width on the mel scale from 20 Hz.

    Args:
        sample_rate: Samples per second.
        mels: Mel bands.
        normalise: ``"global"`` by mean and deviation of each band over the training recordings, which
            ``measure`` finds and the weights hold, ``"utterance"`` by those of each recording, or
            ``"none"``.
        window: ``"povey"``, or ``"hanning"``.
        scale: What samples in -1..1 are multiplied by.

    Attributes:
        frames: Frames that mean and deviation were measured on; 0 while they wait for it.

    Raises:
        UserError: If there are more bands than the spectrum can tell apart.

    Source:
        Kaldi, feature-mel; its values are those of ``torchaudio.compliance.kaldi.fbank``.
    """

    may_be_empty: ClassVar[bool] = False
    """Whether a band may hold no frequency; it says the same of everything then."""
    frames: Tensor
    mean: Tensor
    std: Tensor
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
        super().__init__(sample_rate=sample_rate)
        if window not in WINDOWS:
            raise UserError(f"window {window!r} is not one of {', '.join(WINDOWS)}")
        if not 0 < scale < float("inf"):
            raise UserError(f"scale is {scale}; it must be above 0")
        if normalise not in ("global", "utterance", "none"):
            raise UserError(f"normalise {normalise!r} is not one of global, utterance, none")
        if not 1 <= mels <= 1024:
            raise UserError(f"mels is {mels}; it lies between 1 and 1,024")
        self.bands = mels
        self.normalise: Normalise = normalise
        self.window, self.scale = window, scale
        self.width = sample_rate * WINDOW_MS // 1000
        self.hop = sample_rate * HOP_MS // 1000
        self.size = 1 << (self.width - 1).bit_length()
        if normalise == "global":
            self.register_buffer("frames", torch.zeros((), dtype=torch.int64))
            self.register_buffer("mean", torch.zeros(mels))
            self.register_buffer("std", torch.ones(mels))
        self.register_constants()
        empty = int((self._made_constants()["banks"].sum(dim=0) == 0).sum())
        if empty and not self.may_be_empty:
            raise UserError(
                f"{empty} of {mels} mel bands hold no frequency of a spectrum of {self.size} points at "
                f"{sample_rate} Hz; take fewer mels"
            )

    def constants(self) -> dict[str, Tensor]:
        """Returns the window and the weights of the bands."""
        assert self.bands is not None
        hann = torch.hann_window(self.width, periodic=False, dtype=torch.float64)
        return {
            "taper": hann.pow(WINDOWS[self.window]).float(),
            "banks": kaldi_banks(self.bands, self.size, self.sample_rate),
        }

    @property
    def rate(self) -> float:
        """Frames per second."""
        return 1000 / HOP_MS

    @property
    def complete(self) -> bool:
        """Whether mean and deviation are known, where they are needed."""
        return self.normalise != "global" or int(self.frames) > 0

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many whole windows there are."""
        windows = torch.div(lengths - self.width, self.hop, rounding_mode="floor") + 1
        return windows.clamp_min(0)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Features:
        """Computes the features.

        Raises:
            UserError: If a recording is shorter than one window, or mean and deviation are not known.
        """
        lengths = whole_lengths(waveforms, lengths)
        steps = self.checked_frames(lengths)
        x = self._features(zero_beyond(waveforms, lengths))
        if self.normalise == "global":
            x = (x - self.mean) / self.std
        x = zero_beyond(x, steps)
        if self.normalise == "utterance":
            x = normalised(x, steps, eps=1e-7)
        return Features(x, steps)

    def checked_frames(self, lengths: Tensor) -> Tensor:
        """Returns the whole windows of recordings.

        Raises:
            UserError: If one has none, or mean and deviation are not known.
        """
        steps = KaldiFbank.output_lengths(self, lengths)
        if not torch.compiler.is_compiling():
            if bool((steps < 1).any()):
                raise UserError(
                    f"{int(lengths.min())} samples at {self.sample_rate} Hz are shorter than one window "
                    f"of {WINDOW_MS} ms"
                )
            if not self.complete:
                raise UserError(
                    "global normalisation needs mean and deviation of the training recordings; "
                    "measure(recordings) finds them"
                )
        return steps

    @torch.no_grad()
    def measure(self, recordings: Iterable[Tensor]) -> None:
        """Sets mean and deviation to those over all frames of the recordings.

        Raises:
            UserError: If there is none that is long enough.
        """
        if self.normalise != "global":
            return
        count, total, squares = (
            0,
            torch.zeros_like(self.mean).double(),
            torch.zeros_like(self.mean).double(),
        )
        for waveform in recordings:
            if len(waveform) < self.width:
                continue
            features = self._features(waveform[None].to(self.mean))[0].double()
            count += len(features)
            total += features.sum(dim=0)
            squares += features.square().sum(dim=0)
        if not count:
            raise UserError("there is no recording to measure mean and deviation on")
        mean = total / count
        self.frames.fill_(count)
        self.mean.copy_(mean)
        self.std.copy_((squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3))

    def _features(self, waveforms: Tensor) -> Tensor:
        """Returns log-mel features before normalisation, (B, S) to (B, T, mels)."""
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

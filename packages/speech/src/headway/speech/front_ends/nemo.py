"""NeMo's log-mel features."""

from typing import Literal

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.front_ends.front_end import Features, FrontEnd, whole_lengths
from headway.speech.front_ends.mel_filters import slaney_filters
from headway.speech.layers.padding import zero_beyond

# What keeps the logarithm and the division finite in NeMo.
LEAST_POWER, LEAST_STD = 2.0**-24, 1e-5


class NeMoMel(FrontEnd):
    """Log-mel features as NeMo computes them for its published models, without dither.

    Pre-emphasis, windows of 25 ms every 10 ms around each hop (zeros beyond the ends), Slaney's mel bands
    of unit area, and each band of a recording normalised by its mean and deviation (or not, as NeMo's
    models that stream have it).

    Args:
        sample_rate: Samples per second.
        mels: Mel bands.
        size: Points of the Fourier transform.
        window: Samples of a window.
        hop: Samples between windows.
        preemphasis: Share of the sample before that is taken away; 0 for none.
        normalise: ``"utterance"``, or ``"none"``.

    Raises:
        UserError: If the window is longer than the transform, or a mel band holds no frequency.

    Source:
        NeMo, AudioToMelSpectrogramPreprocessor; its values are those of transformers'
        ``ParakeetFeatureExtractor``.
    """

    banks: Tensor
    hann: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        mels: int = 80,
        size: int = 512,
        window: int = 400,
        hop: int = 160,
        preemphasis: float = 0.97,
        normalise: Literal["utterance", "none"] = "utterance",
    ) -> None:
        super().__init__(sample_rate=sample_rate)
        if not 1 <= hop <= window <= size:
            raise UserError(f"hop {hop}, window {window} and size {size} must rise, from 1 on")
        if not 1 <= mels <= 1024 or not 0 <= preemphasis < 1:
            raise UserError(
                f"mels {mels} lie in 1 to 1,024 and preemphasis {preemphasis} in 0 to 1"
            )
        if normalise not in ("utterance", "none"):
            raise UserError(f"normalise {normalise!r} is not one of utterance, none")
        self.bands, self.normalise = mels, normalise
        self.size, self.window, self.hop, self.preemphasis = size, window, hop, preemphasis
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the window and the weights of the bands."""
        assert self.bands is not None
        return {
            "hann": torch.hann_window(self.window, periodic=False),
            "banks": slaney_filters(
                self.bands,
                bins=self.size // 2 + 1,
                sample_rate=self.sample_rate,
                highest=self.sample_rate / 2,
            ).float(),
        }

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    @property
    def reach(self) -> tuple[int, int] | None:
        """A window around the hop and the sample before it, if bands are not normalised by recording."""
        if self.normalise == "utterance":
            return None
        # The window lies in the middle of the transform, whose middle is the hop.
        before = self.size // 2 - (self.size - self.window) // 2
        return before + 1, self.window - 1 - before

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns one frame for each whole hop."""
        return lengths // self.hop

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Features:
        """Computes the features.

        Raises:
            UserError: If a recording is shorter than one hop.
        """
        lengths = whole_lengths(waveforms, lengths)
        steps = self.output_lengths(lengths)
        if not torch.compiler.is_compiling() and bool((steps < 1).any()):
            raise UserError(
                f"{int(lengths.min())} samples at {self.sample_rate} Hz are shorter than a hop of {self.hop}"
            )
        x = zero_beyond(waveforms, lengths)
        x = torch.cat([x[:, :1], x[:, 1:] - self.preemphasis * x[:, :-1]], dim=1)
        # The sample behind the end would see the last one.
        x = zero_beyond(x, lengths)
        spectrum = torch.stft(
            x,
            self.size,
            hop_length=self.hop,
            win_length=self.window,
            window=self.hann.to(x),
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.abs().square().transpose(1, 2)
        # The last window begins at the end.
        power = power[:, : waveforms.shape[1] // self.hop]
        x = zero_beyond((power @ self.banks.to(power) + LEAST_POWER).log(), steps)
        if self.normalise == "none":
            return Features(x, steps)
        count = steps[:, None, None]
        mean = x.sum(1, keepdim=True) / count
        spread = zero_beyond((x - mean).square(), steps).sum(1, keepdim=True)
        deviation = (spread / (count - 1).clamp_min(1)).sqrt()
        return Features(zero_beyond((x - mean) / (deviation + LEAST_STD), steps), steps)

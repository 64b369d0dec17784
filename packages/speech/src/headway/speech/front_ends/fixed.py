"""Log-mel features of a fixed number of steps."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.speech.front_ends.front_end import Features, whole_lengths
from headway.speech.front_ends.kaldi import KaldiFbank
from headway.speech.layers.padding import zero_beyond


class FixedFbank(KaldiFbank):
    """Kaldi's log-mel features as the Audio Spectrogram Transformer hears them.

    Under Hann's window, on samples as they are, cut or filled up with zeros to ``steps``, and then less one
    mean and divided by twice one deviation, for all bands. What a recording was filled up with is heard,
    as published: all ``steps`` count.

    Args:
        sample_rate: Samples per second.
        mels: Mel bands.
        steps: Frames of every recording.
        mean: Of the features; measured on training recordings if None.
        std: Their deviation; measured if None.

    Attributes:
        measured: Frames that mean and deviation were measured on; 0 while they wait for it.

    Raises:
        UserError: If only one of ``mean`` and ``std`` is given, or a number is outside its range.

    Source:
        Gong et al. 2021, https://arxiv.org/abs/2104.01778, section 2.1; the mean and the deviation
        are those of AudioSet. Its values are those of transformers' ``ASTFeatureExtractor``.
    """

    # One of the 128 bands of AudioSet's models is.
    may_be_empty: ClassVar[bool] = True
    measured: Tensor
    level: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        mels: int = 128,
        steps: int = 1024,
        mean: float | None = -4.2677393,
        std: float | None = 4.5689974,
    ) -> None:
        super().__init__(
            sample_rate=sample_rate, mels=mels, normalise="none", window="hanning", scale=1.0
        )
        if (mean is None) != (std is None):
            raise UserError("give mean and std, or neither, which measures both")
        if std is not None and not std > 0:
            raise UserError(f"std is {std}; it must be above 0")
        if not 1 <= steps <= 10**6:
            raise UserError(f"steps is {steps}; it lies between 1 and 1,000,000")
        self.steps = steps
        self.known = None if mean is None or std is None else (mean, std)
        if self.known is None:
            self.register_buffer("measured", torch.zeros((), dtype=torch.int64))
            self.register_buffer("level", torch.tensor([0.0, 1.0]))

    @property
    def complete(self) -> bool:
        """Whether mean and deviation are known."""
        return self.known is not None or int(self.measured) > 0

    @property
    def reach(self) -> tuple[int, int] | None:
        """None: what a recording is filled up with depends on its length."""
        return None

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns ``steps`` for every recording of at least one window."""
        windows = super().output_lengths(lengths)
        return torch.where(windows > 0, self.steps, 0)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Features:
        """Computes the features.

        Raises:
            UserError: If a recording is shorter than one window, or mean and deviation are not known.
        """
        lengths = whole_lengths(waveforms, lengths)
        steps = self.checked_lengths(lengths)
        frames = super().output_lengths(lengths)
        heard = waveforms[:, : self.width + (self.steps - 1) * self.hop]
        x = self.features(zero_beyond(heard, lengths))
        x = zero_beyond(x, frames)
        x = F.pad(x, (0, 0, 0, self.steps - x.shape[1]))
        mean, std = self.level.unbind() if self.known is None else self.known
        return Features((x - mean) / (2 * std), steps)

    @torch.no_grad()
    def measure(self, recordings: Iterable[Tensor]) -> None:
        """Sets mean and deviation to those over all frames of the recordings.

        Raises:
            UserError: If there is none that is long enough.
        """
        if self.known is not None:
            return
        parts = [
            self.features(waveform[None].to(self.level))[0].double()
            for waveform in recordings
            if len(waveform) >= self.least
        ]
        if not parts:
            raise UserError("there is no recording to measure mean and deviation on")
        whole = torch.cat(parts)
        self.measured.fill_(len(whole))
        self.level.copy_(torch.stack([whole.mean(), whole.std(correction=0).clamp_min(1e-3)]))

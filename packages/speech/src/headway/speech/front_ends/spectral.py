"""Front ends that make bands of a spectrum."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.front_ends.front_end import Features, FrontEnd, whole_lengths
from headway.speech.front_ends.waveform import normalised
from headway.speech.layers.padding import zero_beyond

Normalise = Literal["global", "utterance", "none"]


class SpectralFrontEnd(FrontEnd):
    """Makes bands of a spectrum, normalised or not; a subclass says which bands.

    Args:
        sample_rate: Samples per second.
        bands: Bands of a step.
        normalise: ``"global"`` by mean and deviation of each band over the training recordings, which
            ``measure`` finds and the weights hold, ``"utterance"`` by those of each recording, or
            ``"none"``.

    Attributes:
        frames: Frames that mean and deviation were measured on, 1 where they were given; 0 while they wait.

    Raises:
        UserError: If an argument is outside its range.
    """

    frames: Tensor
    mean: Tensor
    std: Tensor
    mels: int

    def __init__(self, *, sample_rate: int, bands: int, normalise: Normalise) -> None:
        super().__init__(sample_rate=sample_rate)
        if normalise not in ("global", "utterance", "none"):
            raise UserError(f"normalise {normalise!r} is not one of global, utterance, none")
        if not 1 <= bands <= 1024:
            raise UserError(f"mels is {bands}; it lies between 1 and 1,024")
        self.mels = self.bands = bands
        self.normalise: Normalise = normalise
        if normalise == "global":
            self.register_buffer("frames", torch.zeros((), dtype=torch.int64))
            self.register_buffer("mean", torch.zeros(bands))
            self.register_buffer("std", torch.ones(bands))

    @property
    @abstractmethod
    def least(self) -> int:
        """Samples of the shortest recording that gives a step."""

    @abstractmethod
    def features(self, waveforms: Tensor) -> Tensor:
        """Returns the bands before normalisation.

        Shape:
            waveforms: (B, S), zeros behind the end. Output: (B, T, bands).
        """

    def steps_of(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Returns the same; override it where the end of a recording is heard.

        Shape:
            waveforms: (B, S), zeros behind the end. lengths: (B,). Output: (B, T, bands).
        """
        return self.features(waveforms)

    @property
    def complete(self) -> bool:
        """Whether mean and deviation are known, where they are needed."""
        return self.normalise != "global" or int(self.frames) > 0

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Features:
        """Computes and normalises the bands.

        Raises:
            UserError: If a recording is too short for a step, or mean and deviation are not known.
        """
        lengths = whole_lengths(waveforms, lengths)
        steps = self.checked_lengths(lengths)
        x = self.steps_of(zero_beyond(waveforms, lengths), lengths)
        if self.normalise == "global":
            x = (x - self.mean) / self.std
        x = zero_beyond(x, steps)
        if self.normalise == "utterance":
            x = normalised(x, steps, eps=1e-7)
        return Features(x, steps)

    def checked_lengths(self, lengths: Tensor) -> Tensor:
        """Returns ``output_lengths``.

        Raises:
            UserError: If a recording is too short for a step, or mean and deviation are not known.
        """
        steps = self.output_lengths(lengths)
        if not torch.compiler.is_compiling():
            if bool((steps < 1).any()):
                raise UserError(
                    f"{int(lengths.min())} samples at {self.sample_rate} Hz are shorter than one window "
                    f"of {1000 * self.least / self.sample_rate:g} ms"
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
        total, squares = (torch.zeros_like(self.mean).double() for _ in range(2))
        count = 0
        for waveform in recordings:
            if len(waveform) < self.least:
                continue
            features = self.features(waveform[None].to(self.mean))[0].double()
            count += len(features)
            total += features.sum(dim=0)
            squares += features.square().sum(dim=0)
        if not count:
            raise UserError("there is no recording to measure mean and deviation on")
        mean = total / count
        self._take(mean, (squares / count - mean.square()).clamp_min(0).sqrt(), count)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Takes mean and deviation that were measured elsewhere.

        Shape:
            mean, std: (bands,).

        Raises:
            UserError: If this front end does not normalise by them, or they are of other bands.
        """
        if self.normalise != "global":
            raise UserError(
                f"statistics are for normalise 'global', and this front end has {self.normalise!r}"
            )
        if mean.shape != self.mean.shape or std.shape != self.std.shape:
            raise UserError(
                f"mean {tuple(mean.shape)} and deviation {tuple(std.shape)} are given for {self.bands} bands"
            )
        if not bool(mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise UserError("a mean is not finite, or a deviation is not above 0")
        self._take(mean, std, 1)

    def _take(self, mean: Tensor, std: Tensor, count: int) -> None:
        self.frames.fill_(count)
        self.mean.copy_(mean)
        self.std.copy_(std.clamp_min(1e-3))


def refuse_empty(banks: Tensor, size: int, sample_rate: int) -> None:
    """Raises if mel bands hold no frequency: they would say the same of everything.

    Args:
        banks: Weights of frequencies in bands, (frequencies, bands).
        size: Points of the Fourier transform.
        sample_rate: Samples per second.

    Raises:
        UserError: It says how many.
    """
    empty = int((banks.sum(dim=0) == 0).sum())
    if empty:
        raise UserError(
            f"{empty} of {banks.shape[1]} mel bands hold no frequency of a spectrum of {size} points at "
            f"{sample_rate} Hz; take fewer mels"
        )

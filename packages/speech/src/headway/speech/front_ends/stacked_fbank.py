"""Log-mel features of several frames side by side."""

from typing import Literal

from torch import Tensor

from headway.core.errors import UserError
from headway.speech.front_ends.front_end import Features, whole_lengths
from headway.speech.front_ends.kaldi import HOP_MS, KaldiFbank
from headway.speech.front_ends.waveform import normalised
from headway.speech.layers.padding import zero_beyond


class StackedFbank(KaldiFbank):
    """Kaldi's log-mel features, each band by mean and deviation of the recording, and frames side by side.

    Frames that fill no step are heard by mean and deviation alone.

    Args:
        sample_rate: Samples per second.
        mels: Mel bands of a frame.
        stack: Frames of a step, at least 2.
        normalise: ``"utterance"`` by mean and deviation of each recording, or ``"none"``.

    Raises:
        UserError: If ``stack`` is no number of frames, or ``normalise`` another word.

    Source:
        Barrault et al. 2023, https://arxiv.org/abs/2308.11596, section 4.1.1 (w2v-BERT 2.0); its values are
        those of transformers' ``SeamlessM4TFeatureExtractor``.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        mels: int = 80,
        stack: int = 2,
        normalise: Literal["utterance", "none"] = "utterance",
    ) -> None:
        super().__init__(sample_rate=sample_rate, mels=mels, normalise="none")
        if not 2 <= stack <= 100:
            raise UserError(f"stack is {stack}; it lies between 2 and 100 frames")
        if normalise not in ("utterance", "none"):
            raise UserError(f"normalise is 'utterance' or 'none' here, got {normalise!r}")
        self.stack, self.by_utterance = stack, normalise == "utterance"
        self.bands = stack * mels

    @property
    def rate(self) -> float:
        """Steps per second."""
        return 1000 / HOP_MS / self.stack

    @property
    def least(self) -> int:
        """Samples of the shortest recording that gives a step."""
        return self.width + (self.stack - 1) * self.hop

    @property
    def reach(self) -> None:
        """None: a recording is normalised by all of it; StackedFrames is for speech that still comes."""
        return None

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many steps are full."""
        return super().output_lengths(lengths) // self.stack

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Features:
        """Computes, normalises and stacks the frames.

        Raises:
            UserError: If a recording is too short for a step.
        """
        lengths = whole_lengths(waveforms, lengths)
        steps = self.checked_lengths(lengths)
        frames = super().output_lengths(lengths)
        x = zero_beyond(self.features(zero_beyond(waveforms, lengths)), frames)
        if self.by_utterance:
            x = normalised(x, frames, eps=1e-7, unbiased=True)
        whole = x.shape[1] // self.stack
        x = x[:, : whole * self.stack].reshape(len(x), whole, self.stack * self.mels)
        return Features(zero_beyond(x, steps), steps)

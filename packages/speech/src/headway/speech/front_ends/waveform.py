"""Samples as they are, or normalised."""

from typing import Literal

from torch import Tensor

from headway.core.errors import UserError
from headway.speech.front_ends.front_end import Features, FrontEnd, whole_lengths
from headway.speech.layers.padding import zero_beyond


class Waveform(FrontEnd):
    """Hands the samples on, each recording by its own mean and deviation.

    Args:
        sample_rate: Samples per second.
        normalise: ``"utterance"`` by mean and deviation of each recording, or ``"none"``.

    Source:
        The feature extractor of wav2vec 2.0, Baevski et al. 2020, https://arxiv.org/abs/2006.11477.
    """

    hop = 1

    def __init__(
        self, *, sample_rate: int = 16000, normalise: Literal["utterance", "none"] = "utterance"
    ) -> None:
        super().__init__(sample_rate=sample_rate)
        if normalise not in ("utterance", "none"):
            raise UserError(
                f"normalise is 'utterance' or 'none' for a waveform, which has no bands; got {normalise!r}"
            )
        self.normalise = normalise

    @property
    def rate(self) -> float:
        """Samples per second."""
        return float(self.sample_rate)

    @property
    def reach(self) -> tuple[int, int] | None:
        """A sample itself, if it is not normalised by the whole recording."""
        return None if self.normalise == "utterance" else (0, 0)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns the lengths."""
        return lengths

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Features:
        """Normalises."""
        lengths = whole_lengths(waveforms, lengths)
        inputs = zero_beyond(waveforms, lengths)
        if self.normalise == "none":
            return Features(inputs, lengths)
        # The constant is that of Hugging Face's feature extractor.
        return Features(normalised(inputs, lengths, eps=1e-7), lengths)


def normalised(x: Tensor, lengths: Tensor, *, eps: float, unbiased: bool = False) -> Tensor:
    """Returns items with mean 0 and deviation 1 in each band over their own steps, zeros behind.

    Args:
        x: The items.
        lengths: Steps of each.
        eps: Added to the variance.
        unbiased: Whether the variance divides by one less than the steps.

    Shape:
        x: (B, T) or (B, T, bands), zeros behind the end. lengths: (B,). Output: as x.
    """
    count = lengths.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
    mean = x.sum(dim=1, keepdim=True) / count
    centred = zero_beyond(x - mean, lengths)
    variance = centred.square().sum(dim=1, keepdim=True) / (count - 1 if unbiased else count)
    return centred / (variance + eps).sqrt()
